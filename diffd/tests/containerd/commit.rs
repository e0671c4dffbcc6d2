//! Layers that are made of snapshots, by the differ under a real containerd: what they come to where they are applied, beside
//! what containerd's own differ makes of the same, and what is left where they are not made.
//!
//! Not with containerd 1.7, which does not say in which namespace: there its own differ makes them (`docker.rs`).

use crate::chroots::Release;
use crate::cri;
use crate::images::{archive, sample};
use crate::interface::diff::DiffRequest;
use crate::interface::diff::diff_client::DiffClient;
use crate::interface::types::Mount;
use crate::machine::{Differ, Machine, Running, signal, socket_of, words};
use crate::support::debian::debian;
use crate::support::layout::{Layout, Packing, digest};
use crate::support::process::{is_gone, wait_until};
use crate::support::tree::{But, Tree, assert_same};
use crate::views::View;
use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

const NAMESPACE: &str = "n";

/// A containerd, and a snapshot on the sample image as a container would have it, mounted.
struct Commit<'a> {
    machine: &'a Machine,
    containerd: &'a str,
    snapshotter: &'static str,
    place: String,
}

/// As a container changes its root, in whole seconds, since a layer has no fractions.
const CHANGES: &str = "cd $0 && mkdir new new/below && echo tool > new/tool && chmod 4755 new/tool && ln new/tool new/same && \
    ln -s tool new/link && mkfifo new/fifo && mknod new/null c 1 3 && chown 7:8 new/tool && rm -r bin && \
    rm -r back && mkdir back && echo 1 > back/again && echo more >> etc/newer && mv deep/er/f deep/er/g && rm sh && mkdir sh && \
    find . -newermt '2020-01-01' ! -path . -exec touch -h -d @1700000000 {} +";

impl Commit<'_> {
    /// # Panics
    /// When it cannot be made.
    fn of<'a>(machine: &'a Machine, containerd: &'a str, snapshotter: &'static str, archive: &str) -> Commit<'a> {
        let commit = Commit::begin(machine, containerd, snapshotter, archive);
        machine.run(&["sh", "-c", CHANGES, &commit.place]);
        commit
    }

    /// Nothing is changed yet.
    fn begin<'a>(machine: &'a Machine, containerd: &'a str, snapshotter: &'static str, archive: &str) -> Commit<'a> {
        let place = format!("/var/d/{containerd}-{snapshotter}");
        let commit = Commit { machine, containerd, snapshotter, place };
        let import =
            ["images", "import", "--local", "--snapshotter", snapshotter, "--base-name", "localhost/t", archive];
        commit.ctr(&import);
        let top = commit.top();
        commit.snapshots(&["prepare", "work", &top]);
        commit.mount("work");
        commit
    }

    fn ctr(&self, all: &[&str]) -> String {
        self.machine.run(&words(&self.machine.ctr(self.containerd, NAMESPACE, all)))
    }

    fn snapshots(&self, all: &[&str]) -> String {
        self.ctr(&[&["snapshots", "--snapshotter", self.snapshotter], all].concat())
    }

    fn mount(&self, key: &str) {
        fs::create_dir_all(self.machine.path(&self.place)).expect("place");
        let command = self.snapshots(&["mounts", &self.place, key]);
        // That of util-linux takes no option of more than 256 bytes.
        self.machine.run(&["sh", "-c", &format!("busybox {command}")]);
    }

    /// Key and parent of each.
    fn list(&self) -> Vec<(String, String)> {
        let list = self.snapshots(&["ls"]);
        let lines = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.map(|w| (w[0].into(), if w.len() > 2 { w[1].into() } else { String::new() })).collect()
    }

    /// The snapshot of the topmost layer.
    fn top(&self) -> String {
        let all = self.list();
        let top = all.iter().find(|(key, _)| all.iter().all(|(_, parent)| parent != key));
        top.expect("a snapshot").0.clone()
    }

    /// That of the bottom layer.
    fn bottom(&self) -> String {
        self.list().into_iter().find(|(_, parent)| parent.is_empty()).expect("a snapshot").0
    }

    fn diff(&self, all: &[&str]) -> Vec<String> {
        let diff = ["snapshots", "--snapshotter", self.snapshotter, "diff"];
        self.machine.ctr(self.containerd, NAMESPACE, &[&diff, all].concat())
    }

    /// The layer that is made, uncompressed.
    #[track_caller]
    fn layer(&self, all: &[&str]) -> Vec<u8> {
        let output = self.machine.output(&words(&self.diff(all)));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(&output.stdout[..]).read_to_end(&mut tar).expect("gzip");
        tar
    }

    /// What is to be mounted for it.
    fn mounts(&self, key: &str) -> Vec<Mount> {
        let command = self.snapshots(&["mounts", &self.place, key]);
        let words: Vec<&str> = command.split_whitespace().collect();
        let ["mount", "-t", kind, source, _, "-o", options] = words[..] else { panic!("{command}") };
        let options = options.split(',').map(Into::into).collect();
        vec![Mount { r#type: kind.into(), source: source.into(), target: String::new(), options }]
    }

    /// The layer that containerd's own differ makes of the same directories, uncompressed: that of another containerd.
    fn walked(&self) -> Vec<u8> {
        let all = self.list();
        let parent = &all.iter().find(|(key, _)| key == "work").expect("a snapshot").1;
        if all.iter().all(|(key, _)| key != "before") {
            // Nothing is changed in it; a view would be collected.
            self.snapshots(&["prepare", "before", parent]);
        }
        let media_type = "application/vnd.oci.image.layer.v1.tar".into();
        let (left, right) = (self.mounts("before"), self.mounts("work"));
        let mut request = tonic::Request::new(DiffRequest { left, right, media_type, ..DiffRequest::default() });
        request.metadata_mut().insert("containerd-namespace", NAMESPACE.parse().expect("a value"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let made = runtime.block_on(async {
            let channel = cri::channel(self.machine, &socket_of("w")).await;
            DiffClient::new(channel).diff(request).await.expect("made").into_inner().diff.expect("a descriptor")
        });
        let hex = made.digest.strip_prefix("sha256:").expect("a digest");
        let blob = format!("/var/d/w/root/io.containerd.content.v1.content/blobs/sha256/{hex}");
        fs::read(self.machine.path(&blob)).expect("the layer")
    }

    fn shown(&self) -> Tree {
        Tree::read(&self.machine.path(&self.place))
    }

    /// Nothing of a layer that was not made: ingests, leases, helpers, mounts.
    #[track_caller]
    fn nothing_is_left(&self, what: &str, differ: &Running, mounts: usize) {
        wait_until("no helper", || differ.helpers().is_empty());
        let ours = |list: String| list.lines().filter(|line| line.contains("untar-in-root")).count();
        wait_until("no ingest", || ours(self.ctr(&["content", "active"])) == 0);
        wait_until("no lease", || ours(self.ctr(&["leases", "ls"])) == 0);
        assert_eq!(self.machine.mounts(), mounts, "mounts after {what}: {}", self.machine.mount_table());
    }
}

/// The sample and this layer, as containerd's own differ applies them.
fn walked(machine: &Machine, name: &str, layer: &[u8]) -> Tree {
    walked_on(machine, sample(), name, layer)
}

/// The same on another image.
fn walked_on(machine: &Machine, image: Layout, name: &str, layer: &[u8]) -> Tree {
    let image = archive(machine, &format!("{name}.tar"), &image.bytes(layer, Packing::Plain));
    let import = machine.ctr("w", name, &["images", "import", "--local", "--base-name", "localhost/t", &image]);
    machine.run(&words(&import));
    Tree::read(&View::of(machine, "w", name, crate::images::NAME).place)
}

/// `walking` makes the directories that a layer does not list anew, and neither keeps nor compares the root's time.
const IMPLIED: [But; 1] = [But::Of("dir", "mtime")];

#[test]
fn a_layer_that_is_made_comes_to_the_snapshot_and_to_what_containerds_own_does() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let image = archive(&machine, "image.tar", &sample());
    let _running =
        [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
    for snapshotter in ["overlayfs", "native"] {
        let commit = Commit::of(&machine, "c", snapshotter, &image);
        let before = machine.made();
        let layer = commit.layer(&["work"]);
        assert_eq!(machine.made() - before, 1, "{}", machine.log("differ"));
        let (own, shown) = (commit.walked(), commit.shown());
        println!("COMMIT | {snapshotter}: {}", names(&layer).join(" "));
        assert_eq!(names(&layer), names(&own), "{snapshotter}");
        assert_eq!(layer, own, "{snapshotter}");
        let applied = walked(&machine, &format!("ours-{snapshotter}"), &layer);
        assert_same(snapshotter, &applied, &shown, &IMPLIED);
    }
}

/// What people do to a root: packages go, accounts come, trees are removed, copied, moved and made anew.
const WORK: &str = "cd $0 && rm -rf usr/share/locale usr/share/doc/[a-m]* && cp -a usr/share/doc srv/doc && mv etc/default etc/moved && \
    chroot . dpkg --purge --force-all tzdata passwd > /dev/null 2>&1; echo a:x:7:7::/home/a:/bin/sh >> etc/passwd && \
    mkdir -p home/a && cp -a etc/skel/. home/a && chown -R 7:7 home/a && chmod -R g+w etc/pam.d && find usr/bin -name 'p*' -exec cp -a {} opt \\; && \
    rm -rf var/log && mkdir var/log && ln -s ../run var/log/run && ln usr/bin/find usr/bin/found && touch etc/hostname && \
    truncate -s 3M var/sparse && echo end >> var/sparse && chmod 4755 usr/bin/id && rm usr/bin/yes && mkdir usr/bin/yes";

/// A Debian root of three layers, and the work of somebody on it.
#[test]
fn a_layer_of_a_debian_root_that_was_worked_on_comes_to_what_is_there() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let Some(debian) = debian() else { return };
    let read = |path: PathBuf| fs::read(path).expect("layer");
    let layout = Layout::new().bytes(&read(debian.root("tar")), Packing::Plain);
    let layout = layout.bytes(&read(debian.layer(1)), Packing::Plain).bytes(&read(debian.layer(2)), Packing::Plain);
    let image = archive(&machine, "image.tar", &layout);
    let _running =
        [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
    let commit = Commit::begin(&machine, "c", "overlayfs", &image);
    machine.run(&["sh", "-c", WORK, &commit.place]);
    machine.run(&["umount", &commit.place]);
    let mount = commit.mounts("work").remove(0);
    let upper = mount.options.iter().find_map(|option| option.strip_prefix("upperdir=")).expect("an upper directory");
    machine.run(&["sh", "-c", "find $0 -mindepth 1 -exec touch -h -d @1700000000 {} +", upper]);
    commit.mount("work");
    let (layer, own, shown) = (commit.layer(&["work"]), commit.walked(), commit.shown());
    let [entries, walked_entries] = [&layer, &own].map(|tar| names(tar).len());
    let more: Vec<_> = names(&layer).into_iter().filter(|name| !names(&own).contains(name)).collect();
    println!("COMMIT | a Debian root: {entries} entries, walking's {walked_entries}, and {more:?} |");
    // Rule 11: no digest depends on how a file system keeps zeros.
    let but = [IMPLIED[0], But::Field("holes")];
    let applied = walked_on(&machine, layout.clone(), "ours", &layer);
    assert_same("ours", &applied, &shown, &but);
    let applied = walked_on(&machine, layout, "own", &own);
    assert_same("walking's", &applied, &shown, &but);
}

/// What docs/containerd.md says of it.
#[test]
fn what_differs_from_containerds_own_layer_is_what_is_said() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let image = archive(&machine, "image.tar", &sample());
    let _running =
        [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
    let commit = Commit::begin(&machine, "c", "overlayfs", &image);
    let nothing = vec![0; 1024];
    assert_eq!((commit.layer(&["work"]), commit.walked()), (nothing.clone(), nothing.clone()));
    let copied_up = "cd $0 && chmod $(stat -c %a etc/newer) etc/newer && touch -d @1600000000 deep";
    machine.run(&["sh", "-c", copied_up, &commit.place]);
    let changed = machine.path(&commit.place).join("back/new");
    rustix::fs::setxattr(changed, "user.said", b"x", rustix::fs::XattrFlags::empty()).expect("attribute");
    let layer = commit.layer(&["work"]);
    assert_eq!(names(&layer), ["back/", "back/PaxHeaders.0/new", "back/new", "deep/", "etc/", "etc/newer"]);
    let applied = walked(&machine, "ours", &layer);
    assert_eq!(applied.get("back/new", "xattr.user.said"), commit.shown().get("back/new", "xattr.user.said"));
    assert!(!applied.get("back/new", "xattr.user.said").is_empty());
    assert_eq!(commit.walked(), nothing);
}

/// Of archives that have only short names.
fn names(tar: &[u8]) -> Vec<String> {
    let (mut all, mut at) = (Vec::new(), 0);
    while tar.get(at).is_some_and(|byte| *byte != 0) {
        let header = &tar[at..at + 512];
        all.push(String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned());
        let size = std::str::from_utf8(&header[124..135]).expect("digits");
        at += 512 + usize::from_str_radix(size, 8).expect("a number").next_multiple_of(512);
    }
    all
}

/// In every way by which containerd asks for one.
#[test]
fn committed_snapshots_bottom_layers_and_other_types_are_made() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let image = archive(&machine, "image.tar", &sample());
    let (differ, _containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::OursThenWalking));
    let commit = Commit::of(&machine, "c", "overlayfs", &image);
    let mounts = machine.mounts();
    let kept = commit.layer(&["--keep", "--ref", "theirs", "--label", "l=v", "work"]);
    // It is there, and that is success.
    let active = commit.layer(&["work"]);
    assert_eq!(kept, active);
    let list = commit.ctr(&["content", "ls"]);
    let line = list.lines().find(|line| line.contains("l=v")).expect("the layer");
    assert!(line.contains(&format!("containerd.io/uncompressed={}", digest(&active))), "{line}");
    for (media_type, magic) in [("+zstd", &[0x28, 0xb5, 0x2f, 0xfd][..]), ("", b"back/")] {
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{media_type}");
        let output = machine.output(&words(&commit.diff(&["--media-type", &media_type, "work"])));
        assert!(output.status.success() && output.stdout.starts_with(magic), "{media_type}: {output:?}");
    }
    let bottom = commit.layer(&[&commit.bottom()]);
    assert!(names(&bottom).contains(&"bin/tool".to_owned()), "{:?}", names(&bottom));
    machine.run(&["umount", &commit.place]);
    commit.snapshots(&["commit", "done", "work"]);
    assert_eq!(commit.layer(&["done"]), active, "committed");
    assert_eq!(machine.made(), 6, "{}", machine.log("differ"));
    // What the one is not of the other and one layer more, containerd's own compares.
    let other = commit.layer(&[&commit.bottom(), "done"]);
    assert!(names(&other).contains(&"new/".to_owned()));
    assert_eq!(machine.made(), 6);
    assert!(machine.log("differ").contains("one layer more"), "{}", machine.log("differ"));
    wait_until("no helper", || differ.helpers().is_empty());
    assert_eq!(machine.mounts(), mounts - 1);
    assert_eq!(commit.ctr(&["content", "active"]).lines().count(), 1);
}

/// A snapshot whose layer takes a while.
fn long<'a>(machine: &'a Machine, image: &str) -> Commit<'a> {
    let commit = Commit::of(machine, "c", "overlayfs", image);
    let many = machine.path(&commit.place).join("many");
    fs::create_dir(&many).expect("directory");
    for number in 0..30_000 {
        fs::write(many.join(format!("f{number}")), [7; 600]).expect("file");
    }
    commit
}

#[test]
fn whatever_ends_a_making_nothing_is_left_of_it() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let image = archive(&machine, "image.tar", &sample());
    let (differ, mut containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::Ours));
    let commit = long(&machine, &image);
    let mounts = machine.mounts();
    for what in ["the helper killed", "the client killed", "containerd killed"] {
        let mut command = machine.command(&words(&commit.diff(&["work"])));
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ctr");
        wait_until("a helper", || !differ.helpers().is_empty());
        let helper = differ.helpers()[0];
        // It does not end by itself.
        signal(helper, Signal::SIGSTOP);
        wait_until("an ingest", || commit.ctr(&["content", "active"]).contains("untar-in-root"));
        match what {
            "the helper killed" => signal(helper, Signal::SIGKILL),
            "the client killed" => end_inside(&mut client),
            _ => signal(containerd.pid, Signal::SIGKILL),
        }
        wait_until("the helper is gone", || is_gone(helper));
        let output = client.wait_with_output().expect("ctr");
        assert!(!output.status.success(), "{what}");
        if what == "containerd killed" {
            containerd.kill();
            containerd = machine.containerd("c", Differ::Ours);
        }
        commit.nothing_is_left(what, &differ, mounts);
    }
    let names = names(&commit.layer(&["work"]));
    assert_eq!(names.iter().filter(|name| name.starts_with("many/f")).count(), 30_000);
    containerd.kill();
}

/// The command itself, and not the one that entered for it.
fn end_inside(client: &mut std::process::Child) {
    let children = format!("/proc/{0}/task/{0}/children", client.id());
    let list = fs::read_to_string(children).expect("children");
    signal(list.split_whitespace().next().expect("a child").parse().expect("a pid"), Signal::SIGKILL);
}

#[test]
fn a_full_content_store_is_told_and_a_running_container_too() {
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let image = archive(&machine, "image.tar", &sample());
    let (differ, _containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::Ours));
    let commit = long(&machine, &image);
    let content = "/var/d/c/root/io.containerd.content.v1.content";
    machine.run(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", content]);
    machine.run(&["mkdir", "-p", &format!("{content}/ingest"), &format!("{content}/blobs/sha256")]);
    let mounts = machine.mounts();
    let plain = ["--media-type", "application/vnd.oci.image.layer.v1.tar", "work"];
    let said = machine.fails(&words(&commit.diff(&plain)));
    assert!(said.contains("no space left on device") && said.contains("writing the layer"), "{said}");
    assert!(machine.log("differ").contains("code=ResourceExhausted"), "{}", machine.log("differ"));
    commit.nothing_is_left("a full store", &differ, mounts);
    machine.run(&["mount", "-o", "remount,size=1g", content]);
    // As a container that nobody has paused.
    let place: PathBuf = machine.path(&commit.place);
    let mut command = machine.command(&words(&commit.diff(&["work"])));
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ctr");
    let mut late = 0;
    while client.try_wait().expect("waited").is_none() {
        late += 1;
        fs::write(place.join(format!("many/late{late}")), "1").expect("file");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let output = client.wait_with_output().expect("ctr");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("pause or stop the container"), "{said}");
    commit.nothing_is_left("a change", &differ, mounts);
    commit.layer(&["work"]);
}
