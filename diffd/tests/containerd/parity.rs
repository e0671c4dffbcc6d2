//! The same images by containerd's own differ and by ours: upper directories and views, field by field.

mod table;

use crate::chroots::{RELEASES, Release};
use crate::docker::Docker;
use crate::images::{archive, sample};
use crate::machine::{Differ, Machine, Running, words};
use crate::support::debian::{debian, debian_image, debian_others};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_tools;
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, compare_but};
use crate::views::View;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Two containerds, side by side: `c` has our differ, `w` its own.
struct Both {
    machine: Machine,
    /// Seconds.
    began: u64,
    _running: [Running; 3],
}

/// What was compared.
#[derive(Default)]
struct Compared {
    images: usize,
    layers: usize,
    entries: usize,
    /// By the line of docs/containerd.md that they stand in.
    known: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

/// What is not the same by design: a whiteout's time and owner, which nobody sees, and the time of the snapshot's own
/// directory.
const BUT: [But; 3] = [But::Of("char", "mtime"), But::Of("char", "uid"), But::Of("char", "gid")];

impl Both {
    fn of(release: Release) -> Option<Both> {
        Machine::start(release).map(Both::on)
    }

    fn on(machine: Machine) -> Both {
        let running =
            [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
        let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Both { machine, began, _running: running }
    }

    fn import(&self, containerd: &str, namespace: &str, archive: &str) -> bool {
        let import = ["images", "import", "--base-name", "localhost/t", archive];
        let output = self.machine.output(&words(&self.machine.ctr(containerd, namespace, &import)));
        if !output.status.success() {
            println!("NOT IMPORTED by {containerd}, {archive}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        output.status.success()
    }

    /// Both have imported it: what they made of it. None where either has failed.
    fn views(&self, namespace: &str, archive: &str, image: &str) -> Option<[View; 2]> {
        let fine = ["c", "w"].map(|containerd| self.import(containerd, namespace, archive));
        fine.iter().all(|fine| *fine).then(|| ["c", "w"].map(|name| View::of(&self.machine, name, namespace, image)))
    }

    fn compare(&self, compared: &mut Compared, namespace: &str, archive: &str, image: &str) {
        let [ours, walking] =
            self.views(namespace, archive, image).unwrap_or_else(|| panic!("{image} is not imported"));
        assert_eq!(ours.layers.len(), walking.layers.len(), "{image}");
        compared.images += 1;
        compared.layers += ours.layers.len();
        for (number, (ours, walking)) in ours.trees().iter().zip(walking.trees()).enumerate() {
            self.trees(compared, &format!("{image}, layer {number}"), ours, &walking);
        }
        let views = [&ours, &walking].map(|view| Tree::read(&view.place));
        self.trees(compared, &format!("{image}, the view"), &views[0], &views[1]);
    }

    fn trees(&self, compared: &mut Compared, what: &str, ours: &Tree, walking: &Tree) {
        compared.entries += ours.paths().len();
        for line in compare_but(ours, walking, &BUT) {
            match self.known(&line, ours, walking) {
                Some(kind) => *compared.known.entry(kind).or_default() += 1,
                None => compared.differences.push(format!("{what}: {line}")),
            }
        }
    }

    /// Which line of docs/containerd.md a difference belongs to, if to any.
    fn known(&self, difference: &str, ours: &Tree, walking: &Tree) -> Option<&'static str> {
        let (path, rest) = difference.split_once(": ")?;
        if rest == "only in the second (char)" && walking.get(path, "rdev") == "0,0" {
            return Some("a whiteout of a missing name");
        }
        let (field, values) = rest.split_once(' ')?;
        let (mine, theirs) = values.split_once(" / ")?;
        let is_dir = walking.get(path, "type") == "dir";
        match field {
            "mtime" if path == "." || (is_dir && self.is_now(theirs)) => {
                Some("the time of a directory that is only implied")
            }
            "mtime" if mine.starts_with('-') && theirs == "0.000000000" => Some("a time before 1970"),
            "holes" if theirs == "none" => Some("holes of a sparse file"),
            _ if field.starts_with("xattr.system.posix_acl") && theirs == "none" => Some("an ACL"),
            "xattr.system.posix_acl_access" if mine == "none" => Some("an ACL inherited within the layer"),
            // The group's bits are the mask of the ACL.
            "mode" if !ours.get(path, "xattr.system.posix_acl_access").is_empty() && group_only(mine, theirs) => {
                Some("an ACL")
            }
            _ => None,
        }
    }

    fn is_now(&self, mtime: &str) -> bool {
        mtime
            .split('.')
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .is_some_and(|seconds: u64| seconds >= self.began)
    }
}

/// Whether two modes, in octal, differ in the bits of the group alone.
fn group_only(mine: &str, theirs: &str) -> bool {
    let bits = |mode| u32::from_str_radix(mode, 8).map(|mode| mode & !0o070);
    matches!((bits(mine), bits(theirs)), (Ok(mine), Ok(theirs)) if mine == theirs)
}

impl Compared {
    #[track_caller]
    fn tell(&self, what: &str, machine: &Machine) {
        let Compared { images, layers, entries, known, differences } = self;
        println!(
            "PARITY | {} | {what} | {images} images, {layers} layers, {entries} entries | {known:?} | {} other differences |",
            machine.version(),
            differences.len()
        );
        assert!(differences.is_empty(), "{:#?}", &differences[..differences.len().min(40)]);
        assert!(*images > 0 && layers >= images && entries >= layers, "too little was compared");
    }
}

#[test]
fn images_made_here_are_the_same_by_both() {
    for release in RELEASES {
        let Some(both) = Both::of(release) else { return };
        let mut compared = Compared::default();
        let four = archive(&both.machine, "sample.tar", &sample());
        both.compare(&mut compared, "sample", &four, "localhost/t:latest");
        compared.tell("made here", &both.machine);
        assert_eq!(both.machine.walked("w"), 4, "containerd's own has applied the layers of its side");
    }
}

/// What other archivers wrote: each as the bottom layer, and as the layer above a directory.
#[test]
fn archives_of_other_programs_are_the_same_by_both() {
    for release in RELEASES {
        let Some(both) = Both::of(release) else { return };
        let (mut compared, mut failed) = (Compared::default(), Vec::new());
        for (name, tar) in fixtures() {
            let base = crate::support::tarball::Tarball::new().dir("base/").file("base/f", b"1");
            let layout =
                Layout::new().bytes(&tar, Packing::Gzip).layer(&base, Packing::Plain).bytes(&tar, Packing::Zstd);
            let path = archive(&both.machine, "fixture.tar", &layout);
            let namespace = name.replace('.', "-");
            if both.import("w", &namespace, &path) {
                both.compare(&mut compared, &namespace, &path, "localhost/t:latest");
            } else {
                assert!(both.import("c", &namespace, &path), "{name}");
                failed.push(name);
            }
        }
        println!("containerd's own does not apply {failed:?}");
        compared.tell("by other archivers", &both.machine);
        assert!(compared.images >= 28, "{} images, and {failed:?}", compared.images);
    }
}

/// Name and content, uncompressed.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let names = fs::read_dir(dir).expect("fixtures").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = names.filter(|path| path.to_string_lossy().contains(".tar")).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let output = Command::new("gzip").arg("-dcf").arg(path).output().expect("gzip");
        (path.file_name().expect("a name").to_string_lossy().into_owned(), output.stdout)
    };
    paths.iter().map(read).collect()
}

/// A directory that is an image layout, as an archive in the machine.
fn pack(machine: &Machine, layout: &Path, name: &str) -> String {
    let path = format!("/var/d/{name}.tar");
    let status = Command::new("tar").arg("-C").arg(layout).arg("-cf").arg(machine.path(&path)).arg(".").status();
    assert!(status.expect("tar").success());
    path
}

/// A stack of layers by one of the builders of tests/builders.
fn built(both: &Both, compared: &mut Compared, builder: &str, tag: &str) {
    let scratch = Scratch::new();
    let script = format!("{}/../tests/builders/{builder}.sh", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash").arg(&script).arg(scratch.path()).output().expect("bash");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let archive = pack(&both.machine, &scratch.join("image"), builder);
    both.compare(compared, builder, &archive, &format!("localhost/t:{tag}"));
}

#[test]
fn stacks_of_buildah_and_umoci_are_the_same_by_both() {
    if !need_tools(&["buildah", "umoci", "setcap", "setfattr"]) {
        return;
    }
    for release in RELEASES {
        let Some(both) = Both::of(release) else { return };
        let mut compared = Compared::default();
        built(&both, &mut compared, "buildah", "four");
        built(&both, &mut compared, "umoci", "x");
        compared.tell("small stacks by buildah and umoci", &both.machine);
    }
}

#[test]
fn a_debian_of_seven_layers_is_the_same_by_both() {
    if !need_tools(&["buildah", "skopeo", "umoci", "setfattr", "setcap", "dpkg-deb", "tar"]) {
        return;
    }
    let Some(both) = Both::of(Release::Forky) else { return };
    let Some(debian) = debian() else { return };
    let image = debian_image(debian);
    let mut compared = Compared::default();
    let archive = pack(&both.machine, &image.join("oci"), "debian");
    both.compare(&mut compared, "gzip", &archive, "localhost/t:gzip");
    both.compare(&mut compared, "zstd", &archive, "localhost/t:zstd");
    compared.tell("Debian packages by buildah, gzip and zstd", &both.machine);
}

#[test]
fn a_docker_archive_by_skopeo_and_layers_by_gnu_tar_are_the_same_by_both() {
    if !need_tools(&["buildah", "skopeo", "umoci", "setfattr", "setcap", "dpkg-deb", "tar"]) {
        return;
    }
    let Some(both) = Both::of(Release::Trixie) else { return };
    let Some(debian) = debian() else { return };
    let mut compared = Compared::default();
    fs::copy(debian_image(debian).join("docker.tar"), both.machine.path("/var/d/docker.tar")).expect("copy");
    both.compare(&mut compared, "skopeo", "/var/d/docker.tar", "localhost/seven:latest");
    let read = |path: PathBuf| fs::read(path).expect("layer");
    let layout = Layout::new().bytes(&read(debian.root("tar")), Packing::Gzip);
    let layout = layout.bytes(&read(debian.layer(1)), Packing::Zstd).bytes(&read(debian.layer(2)), Packing::Plain);
    let path = archive(&both.machine, "gnu.tar", &layout);
    both.compare(&mut compared, "gnu", &path, "localhost/t:latest");
    compared.tell("Debian by skopeo, and by mmdebstrap and GNU tar", &both.machine);
}

const OTHERS: [&str; 6] = ["umoci", "setcap", "dpkg-deb", "tar", "python3", "gzip"];

#[test]
fn a_debian_by_umoci_is_the_same_by_both() {
    if !need_tools(&OTHERS) {
        return;
    }
    let Some(both) = Both::of(Release::Forky) else { return };
    let Some(debian) = debian() else { return };
    let mut compared = Compared::default();
    let archive = pack(&both.machine, &debian_others(debian).join("umoci"), "umoci");
    both.compare(&mut compared, "umoci", &archive, "localhost/t:six");
    compared.tell("Debian packages by umoci", &both.machine);
}

/// `support/kaniko.py` says what its habits are.
#[test]
fn a_debian_as_kaniko_writes_it_is_the_same_by_both() {
    if !need_tools(&OTHERS) {
        return;
    }
    let Some(both) = Both::of(Release::Trixie) else { return };
    let Some(debian) = debian() else { return };
    let mut compared = Compared::default();
    fs::copy(debian_others(debian).join("kaniko.tar"), both.machine.path("/var/d/kaniko.tar")).expect("copy");
    both.compare(&mut compared, "kaniko", "/var/d/kaniko.tar", "localhost/six:latest");
    compared.tell("Debian packages as kaniko writes them", &both.machine);
}

#[test]
fn what_buildkit_builds_is_the_same_by_both() {
    for release in RELEASES {
        let (Some(docker), Some(debian)) = (Docker::of(release), debian()) else { return };
        let context = docker.machine.path("/var/d/context");
        fs::create_dir(&context).expect("context");
        fs::copy(debian.root("tar.gz"), context.join("root.tar.gz")).expect("root");
        fs::write(context.join("Dockerfile"), DOCKERFILE).expect("Dockerfile");
        docker.run(&["build", "--network", "none", "-t", "localhost/t:latest", "/var/d/context"]);
        docker.run(&["save", "-o", "/var/d/built.tar", "localhost/t:latest"]);
        let both = Both::on(docker.ended());
        let mut compared = Compared::default();
        both.compare(&mut compared, "buildkit", "/var/d/built.tar", "localhost/t:latest");
        compared.tell("Debian by BuildKit", &both.machine);
    }
}

const DOCKERFILE: &str = "FROM scratch\n\
    ADD root.tar.gz /\n\
    RUN rm -rf /usr/share/doc /usr/share/locale && mkdir /usr/share/doc && echo 1 > /usr/share/doc/new\n\
    RUN ln -s dash /bin/again && chmod 4711 /usr/bin/env && chown 7:8 /etc/issue && mv /usr/share/man /usr/share/men\n\
    RUN useradd -m user && touch -d '1999-12-31' /home/user/old && rm /bin/again && mkfifo /run/pipe\n\
    COPY --chown=1000:1000 Dockerfile /home/user/\n\
    WORKDIR /srv/work\n";
