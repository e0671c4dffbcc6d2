//! Images without root: as a user with one id or a range of them, and as root of a user namespace with that range.

use super::{flatten, names, open, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

const NOBODY: u32 = 65534;
/// 0 is nobody, 1 to 65,536 are this and what follows.
const FIRST: u32 = 100_000;

/// What can be had without root: owners, modes that shut others out, links, whiteouts, an opaque directory.
fn image() -> Layout {
    let of = |uid: i64, mode: u32| move |e: &mut crate::support::tarball::Entry| _ = e.uid(uid).gid(uid).mode(mode);
    let one = tar()
        .dir("./")
        .dir("d")
        .file("d/own", "0")
        .dir("d/shut")
        .with(of(7, 0o700))
        .file("d/shut/in", "7")
        .with(of(7, 0o4600))
        .file("gone", "g")
        .dir("o")
        .file("o/old", "old");
    let two = tar()
        .dir("./")
        .dir("o")
        .opaque("o")
        .file("o/new", "new")
        .whiteout("gone")
        .hardlink("h", "d/own")
        .symlink("l", "d");
    Layout::new().layer(&one, Packing::Gzip).layer(&two, Packing::Zstd)
}

struct Setting {
    scratch: Scratch,
    /// Nobody's own.
    place: PathBuf,
    program: PathBuf,
}

impl Setting {
    fn new() -> Option<Setting> {
        let tools = ["setpriv", "unshare", "newuidmap", "newgidmap", "mount", "sh"];
        if !need_root() || !need_tools(&tools) {
            return None;
        }
        let scratch = Scratch::new();
        image().write(&scratch.join("oci"));
        let (place, program) = (scratch.dir("place"), scratch.join("untar-in-root"));
        chown(&place, Some(NOBODY), Some(NOBODY)).expect("chown");
        copy_program(&program_path(), &program);
        Some(Setting { scratch, place, program })
    }

    /// A shell script as nobody, which has this range of ids or none; `$P` is the program.
    fn run(&self, range: bool, script: &str) -> Output {
        let text = if range { format!("nobody:{FIRST}:65536\n") } else { String::new() };
        let ids = self.scratch.file("subid", text);
        let become_nobody = "mount --make-rprivate / && mount --bind $IDS /etc/subuid && mount --bind $IDS /etc/subgid \
            && cd place && exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", become_nobody, "sh", script]).current_dir(self.scratch.path());
        command.env("IDS", ids).env("P", &self.program).output().expect("the program")
    }

    #[track_caller]
    fn done(&self, range: bool, script: &str) -> String {
        let output = self.run(range, script);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {err}");
        format!("{}{err}", String::from_utf8_lossy(&output.stdout))
    }

    #[track_caller]
    fn fails(&self, range: bool, script: &str, code: i32, words: &str) {
        let output = self.run(range, script);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{script}: {err}");
        assert!(err.contains(words), "{words:?} is not in {err:?}");
        assert_eq!(names(&self.place), Vec::<String>::new(), "{script}: something is left");
    }

    /// What root gets.
    fn by_root(&self) -> Tree {
        let flat = self.scratch.join("by-root");
        if !flat.exists() {
            flatten(&open(&self.scratch.join("oci")).expect("opened"), &flat).expect("flattened");
        }
        Tree::read(&flat)
    }

    /// The same tree, with ids through the map.
    #[track_caller]
    fn is_mapped(&self, what: &str, got: &Tree) {
        let want = self.by_root();
        assert_same(what, got, &want, &[But::Field("uid"), But::Field("gid")]);
        for path in want.paths() {
            for field in ["uid", "gid"] {
                let outside = match want.get(path, field).parse().expect("an id") {
                    0 => NOBODY,
                    id => FIRST + id - 1_u32,
                };
                assert_eq!(got.get(path, field), outside.to_string(), "{what}: {field} of {path}");
            }
        }
    }
}

#[test]
fn rootless_with_a_range_of_ids_it_is_what_root_gets_through_the_map() {
    let Some(setting) = Setting::new() else {
        return;
    };
    assert_eq!(setting.done(true, "$P image ../oci flat"), "");
    setting.is_mapped("flat", &Tree::read(&setting.place.join("flat")));
    let line = setting.done(true, "$P image ../oci --layers layers -j 2");
    assert!(line.starts_with("lowerdir=/") && line.ends_with(",userxattr\n"), "{line}");
    assert_eq!(names(&setting.place), ["flat", "layers"]);
}

#[test]
fn rootless_with_one_id_what_is_lost_is_told() {
    let Some(setting) = Setting::new() else { return };
    for outcome in ["flat", "--layers layers"] {
        setting.fails(false, &format!("$P image ../oci {outcome}"), 1, "--ignore-chown-errors");
        let told = setting.done(false, &format!("$P image ../oci {outcome} --ignore-chown-errors"));
        let lost: Vec<&str> = told.lines().filter(|line| line.contains("owner 7:7 not set")).collect();
        assert_eq!(lost.len(), 2, "{told}");
        assert!(lost[0].contains("d/shut") && lost[1].contains("d/shut/in"), "{told}");
        if outcome == "flat" {
            let got = Tree::read(&setting.place.join("flat"));
            // No set-user-id bit for an owner that it was not meant for.
            let but = [But::Field("uid"), But::Field("gid"), But::Of("file", "mode")];
            assert_same(outcome, &got, &setting.by_root(), &but);
            assert!(got.paths().iter().all(|path| got.get(path, "uid") == NOBODY.to_string()));
            assert_eq!((got.get("d/shut/in", "mode"), got.get("d/own", "mode")), ("0600", "0644"));
        }
        setting.done(false, "chmod -R u+rwx . && rm -r flat layers 2> /dev/null; true");
    }
}

/// Its directory cannot be moved to its place by who may not write to it.
#[test]
fn rootless_a_top_directory_of_another_id_is_told_and_made_as_root_of_the_range() {
    let Some(setting) = Setting::new() else { return };
    let tar = tar().dir("./").with(|e| _ = e.uid(7).gid(7).mode(0o755)).file("f", "f");
    Layout::new().layer(&tar, Packing::Gzip).write(&setting.scratch.join("sevens"));
    let words = "whose owner is another id (run it in `unshare --map-root-user --map-auto`)";
    setting.fails(true, "$P image ../sevens flat", 5, words);
    setting.done(true, "unshare --user --map-root-user --map-auto $P image ../sevens flat");
    // What is moved is the directory around the layers, the caller's own.
    setting.done(true, "$P image ../sevens --layers layers");
    let got = Tree::read(&setting.place.join("flat"));
    assert_eq!(got.get("f", "uid"), NOBODY.to_string());
    assert_eq!(fs::metadata(setting.place.join("flat")).expect("flat").uid(), FIRST + 6);
    setting.done(true, "unshare --user --map-root-user --map-auto rm -r flat layers");
}

/// What a snapshotter without root does: everything in one user namespace, the mount too.
#[test]
fn rootless_in_a_user_namespace_layers_and_store_are_mounted() {
    let Some(setting) = Setting::new() else { return };
    // Mounted, copied by `cp -a`, of which only the times of directories that no layer lists are its own.
    let inside = |outcome: &str, to: &str| {
        format!(
            "unshare --user --map-root-user --map-auto --mount sh -ec 'o=$($P image ../oci {outcome}); mkdir -p m; \
             mount -t overlay overlay -o \"$o\" m; cp -a m {to}; umount m; rmdir m; echo \"$o\"'"
        )
    };
    for (outcome, to) in [("--layers layers -j 2", "a"), ("--store store", "b"), ("--store store", "c")] {
        let line = setting.done(true, &inside(outcome, to));
        assert!(line.contains("userxattr"), "{line}");
        let want = setting.by_root();
        let got = Tree::read(&setting.place.join(to));
        assert_eq!(got.paths(), want.paths(), "{outcome}");
        // A hardlink to a file of a lower layer is a copy up.
        for path in want.paths() {
            for field in ["type", "mode", "content", "target"] {
                assert_eq!(got.get(path, field), want.get(path, field), "{outcome}: {field} of {path}");
            }
        }
        let owners = |path| (got.get(path, "uid"), got.get(path, "gid"));
        assert_eq!((owners("d/own"), owners("d/shut/in")), (("65534", "65534"), ("100006", "100006")), "{outcome}");
    }
    let verified = setting.done(true, "unshare --user --map-root-user --map-auto $P store verify store");
    assert!(verified.ends_with("2 layers, 0 differences\n"), "{verified}");
    setting
        .done(true, "unshare --user --map-root-user --map-auto sh -ec '$P store forget store $($P store list store)'");
    let removed = setting.done(true, "unshare --user --map-root-user --map-auto $P store gc store");
    assert_eq!(removed.lines().count(), 2, "{removed}");
    assert!(names(&setting.place.join("store/layers")).is_empty());
}

/// It could not read back what others own in it; nothing is made.
#[test]
fn rootless_a_store_wants_a_user_namespace() {
    let Some(setting) = Setting::new() else { return };
    for range in [false, true] {
        setting.fails(range, "$P image ../oci --store store", 2, "unshare --map-root-user --map-auto");
    }
}
