//! Containers as docker and Kubernetes make them: uid 0 with fourteen capabilities, where neither mounts nor namespaces
//! can be made. What is there is taken, and told.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use nix::libc;
use rustix::io::Errno;
use untar_in_root::{Advice, Call, Cause, ErrorKind, RootSwitch};

use crate::support::child::Said;
use crate::support::container::Contained;
use crate::support::privilege::{need_root, need_tools};
use crate::support::setting::Setting;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

impl Setting {
    fn run_as(&self, who: &Contained, options: &str) -> Said {
        self.run(&who.prefix(), &format!("{options} {}", who.words()))
    }

    /// Exit status, standard output and standard error of the command line.
    fn says(&self, who: &Contained, arguments: &[&str]) -> (i32, String, String) {
        let output = who.command(&self.scratch, arguments).output().expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // libtest talks first.
        let out = text(output.stdout);
        let out = out.strip_prefix("\nrunning 1 test\n").unwrap_or(&out).to_owned();
        (output.status.code().expect("an exit status"), out, text(output.stderr))
    }

    fn dest(&self) -> &str {
        self.dest.to_str().expect("UTF-8")
    }

    fn archive(&self) -> &str {
        self.archive.to_str().expect("UTF-8")
    }
}

fn owned() -> Tarball {
    Tarball::new()
        .dir("d")
        .with(|e| _ = e.uid(7).gid(8))
        .file("d/f", "1")
        .with(|e| _ = e.uid(5).gid(6).mode(0o4755))
        .symlink("d/s", "f")
        .with(|e| _ = e.uid(9))
}

const TREE: &str = "d/ d/f=1 d/s->f";

fn can_be_tried() -> bool {
    need_root() && need_tools(&["setpriv"])
}

#[test]
fn in_an_ordinary_container_it_is_the_chroot_with_owners_and_all() {
    if !can_be_tried() {
        return;
    }
    for isolation in ["", "chroot"] {
        let setting = Setting::new(&owned());
        let report = setting.run_as(&Contained::root(), isolation).leads_to(TREE);
        let confinement = report.confinement;
        assert_eq!((confinement.root, confinement.user_namespace), (RootSwitch::Chroot, None), "{isolation}");
        let fallback = confinement.fallback.expect("told");
        assert_eq!((fallback.operation.call, fallback.errno), (Call::Unshare, Some(libc::EPERM)));
        assert!(confinement.landlock_paths && confinement.seccomp && report.events.is_empty());
        let tree = Tree::read(&setting.dest);
        assert_eq!(["uid", "gid", "mode"].map(|field| tree.get("d/f", field)), ["5", "6", "4755"]);
        assert_eq!((tree.get("d", "uid"), tree.get("d/s", "uid")), ("7", "9"));
    }
}

/// A chroot takes no capability but its own.
#[test]
fn a_chroot_needs_no_other_capability_than_its_own() {
    if !can_be_tried() {
        return;
    }
    let plain = Tarball::new().file("f", "1");
    for (without, isolation) in [("chown", ""), ("setfcap", ""), ("setuid", "chroot"), ("mknod", "")] {
        let report = Setting::new(&plain).run_as(&Contained::root_but(&[without]), isolation).leads_to("f=1");
        assert_eq!(report.confinement.root, RootSwitch::Chroot, "without {without}");
    }
    // No filter, but nobody may map uid 0 without this capability.
    let setting = Setting::new(&plain);
    let who = Contained::root_but(&["setfcap"]);
    let said = setting.run(&who.prefix(), "");
    assert_eq!(said.leads_to("f=1").confinement.root, RootSwitch::Chroot);
}

#[test]
fn what_was_asked_for_and_cannot_be_had_is_refused_with_what_is_wanting() {
    if !can_be_tried() {
        return;
    }
    for (options, call) in [("pivot", Call::Unshare), ("single", Call::Unshare), ("pivot never", Call::Unshare)] {
        let failed = Setting::new(&owned()).run_as(&Contained::root(), options).fails(ErrorKind::Root);
        failed.because((call, Errno::PERM));
    }
    let failed = Setting::new(&owned()).run_as(&Contained::root_but(&["sys_chroot"]), "").fails(ErrorKind::Root);
    assert_eq!(failed.because((Call::Unshare, Errno::PERM)).advice(), Some(Advice::AllowUserNamespaces));
}

/// The kernel reads `trusted.*` of nobody there, and a mount with `userxattr` reads these.
#[test]
fn overlay_marks_are_those_that_can_be_set() {
    if !can_be_tried() {
        return;
    }
    let layer = Tarball::new().dir("d").opaque("d").whiteout("gone").file("d/f", "1");
    let setting = Setting::new(&layer);
    setting.run_as(&Contained::root(), "overlay").succeeds();
    let tree = Tree::read(&setting.dest);
    assert_eq!(tree.get("d", "xattr.user.overlay.opaque"), "y");
    let gone = fs::symlink_metadata(setting.dest.join("gone")).expect("a whiteout");
    assert!(gone.file_type().is_char_device());
}

#[test]
fn a_lower_directory_is_refused_by_name() {
    if !can_be_tried() {
        return;
    }
    let setting = Setting::new(&owned());
    let lower = setting.scratch.dir("lower");
    let lower = lower.to_str().expect("UTF-8");
    let arguments = ["--overlay", "--lower", lower, setting.dest(), setting.archive()];
    let (code, _, err) = setting.says(&Contained::root(), &arguments);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("a lower directory is held only in a mount namespace"), "{err}");
    assert_eq!(fs::read_dir(&setting.dest).expect("upper").count(), 0);
    let failed = Cause::LowersNotHeld(libc::EPERM);
    println!("{failed:?}: {err}");
}

/// To root, "run it as root" is of no use.
#[test]
fn the_command_line_says_in_one_line_what_it_is_confined_by() {
    if !can_be_tried() {
        return;
    }
    let who = Contained::root();
    let setting = Setting::new(&owned());
    let (code, out, err) = setting.says(&who, &[setting.dest(), setting.archive()]);
    assert_eq!((code, &*out, err.lines().count()), (0, "", 1), "{err}");
    assert!(err.contains("confined by chroot only, because unshare(CLONE_NEWNS) = -1 EPERM"), "{err}");
    let setting = Setting::new(&owned());
    let (code, out, _) = setting.says(&who, &["--json", setting.dest(), setting.archive()]);
    assert!(code == 0 && out.contains("\"root\":\"chroot\""), "{out}");
    let (code, out, err) = setting.says(&who, &["-t", setting.archive()]);
    assert!(code == 0 && out.lines().count() == 3 && out.contains(" d/s -> f"), "{out}{err}");
    let (code, out, err) = setting.says(&who, &["check", setting.dest()]);
    assert!(code == 0 && out.contains("root switch: chroot"), "{out}{err}");
    assert!(!out.contains("as root"), "{out}");
    for arguments in [&["--isolation", "pivot", setting.dest(), setting.archive()][..], &["check", setting.dest()]] {
        let (code, out, err) = setting.says(&Contained::root_but(&["sys_chroot"]), arguments);
        assert_eq!(code, 3, "{out}{err}");
        assert!(!format!("{out}{err}").contains("as root"), "{out}{err}");
    }
}
