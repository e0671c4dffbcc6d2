//! The same archive as root, as root of a user namespace, and as an unprivileged user with one id or with many.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use untar_in_root::{
    Call, Descriptor, EntryKind, ErrorKind, Event, EventKind, Failure, IdRange, Operand, Report, RootSwitch, Stage,
};

use crate::support::child::Said;
use crate::support::privilege::{need_root, need_tools, need_userns};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::setting::Setting;
use crate::support::tarball::{Entry, Tarball};
use crate::support::tree::Tree;

const NOBODY: u32 = 65534;
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Everything that one id is enough for.
fn small() -> Tarball {
    Tarball::new()
        .dir("d")
        .with(|e| _ = e.mode(0o500).mtime(5))
        .file("d/f", "1")
        .with(|e| _ = e.mode(0o4755).xattr("user.x", "1"))
        .hardlink("h", "d/f")
        .symlink("l", "/d")
        .file("l/g", "2")
        .fifo("p")
        .dir("./")
        .with(|e| _ = e.mode(0o755))
}

const SMALL: &str = "d/ d/f=1 d/g=2 h==d/f l->/d p|";

/// What needs other ids, a device, a capability.
fn large() -> Tarball {
    let owned = |e: &mut Entry| _ = e.uid(5).gid(500).mode(0o6755);
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    small().file("o", "").with(owned).char_dev("n", 1, 3).file("c", "").with(|e| {
        _ = e.xattr("security.capability", capability);
    })
}

/// What is left of it where neither can be had.
const SOFTENED: &str = "c= d/ d/f=1 d/g=2 h==d/f l->/d o= p|";

/// The owner and the device were told.
#[track_caller]
fn softened(report: &Report) {
    let told = |is: fn(&EventKind) -> bool| report.events.iter().any(|event| is(&event.what));
    assert!(told(|what| matches!(what, EventKind::OwnerIgnored { uid: 5, gid: 500, .. })), "{:?}", report.events);
    assert!(told(|what| matches!(what, EventKind::DeviceSkipped { .. })), "{:?}", report.events);
}

impl Setting {
    /// The destination is nobody's.
    fn for_nobody(archive: &Tarball) -> Setting {
        let setting = Setting::new(archive);
        chown(&setting.dest, Some(NOBODY), Some(NOBODY)).expect("chown");
        setting
    }

    fn owner(&self, path: &str) -> (String, String) {
        let tree = Tree::read(&self.dest);
        (tree.get(path, "uid").to_owned(), tree.get(path, "gid").to_owned())
    }
}

#[test]
fn as_this_user() {
    for isolation in ["", "pivot", "chroot"] {
        if !crate::support::privilege::has_capability(21) && !need_userns() {
            return;
        }
        let said = Setting::new(&small()).run(&[], isolation);
        let report = said.leads_to(SMALL);
        assert_eq!(report.events, []);
        let root = if isolation == "chroot" { RootSwitch::ChrootInNamespace } else { RootSwitch::Pivot };
        assert_eq!(report.confinement.root, root);
    }
}

#[test]
fn chroot_that_was_asked_for_is_a_fallback_without_an_error_number() {
    if !need_root() {
        return;
    }
    let report = Setting::new(&small()).run(&[], "chroot").leads_to(SMALL);
    assert_eq!(report.confinement.fallback.expect("a fallback").errno, None);
}

#[test]
fn as_root_of_a_user_namespace() {
    if !need_userns() {
        return;
    }
    let prefix = ["unshare", "--user", "--map-root-user"];
    for isolation in ["", "pivot", "chroot", "single", "single chroot"] {
        let setting = Setting::new(&small());
        let said = setting.run(&prefix, isolation);
        let report = said.leads_to(SMALL);
        assert!(report.events.is_empty() && report.confinement.no_new_privs, "{report:?}");
        assert_eq!(
            report.confinement.user_namespace.is_some(),
            isolation.contains("single"),
            "{isolation}: {}",
            said.0
        );
    }
}

/// The marks are `user.overlay.*` there, and an overlay that is mounted without `userxattr` would show what they hide.
#[test]
fn root_of_a_user_namespace_is_told_how_to_mount_what_overlay_mode_writes() {
    if !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("a.tar", Tarball::new().dir("d").whiteout("d/f").build());
    let root = scratch.dir("root");
    let says = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(program_path()).args(words).current_dir(scratch.path());
        let output = command.output().expect("the program");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let checked = says(&["check", "root"]);
    let mount = checked.lines().find(|line| line.contains("overlay mount")).expect("tried");
    assert!(mount.starts_with("no") || mount.contains("with user.overlay.* marks (userxattr)"), "{checked}");
    let told = says(&["--overlay", "root", "a.tar"]);
    assert!(told.contains("mount it with userxattr"), "{told}");
    assert!(!says(&["--overlay=user", "root", "a.tar"]).contains("userxattr"), "it was asked for");
    drop((archive, root));
}

#[test]
fn as_root_of_a_user_namespace_with_what_it_cannot_do() {
    if !need_userns() {
        return;
    }
    let prefix = ["unshare", "--user", "--map-root-user"];
    let setting = Setting::new(&large());
    setting.run(&prefix, "").fails(ErrorKind::Entry).because((Call::Fchown, Errno::INVAL));
    softened(&setting.run(&prefix, "skip-devices ignore-owners").leads_to(SOFTENED));
}

#[test]
fn as_root_without_the_right_to_mount() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    // With no capability at all: without CAP_SETFCAP nobody may map uid 0 of the outer namespace.
    let setting = Setting::new(&small());
    let none = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let failed = setting.run(&none, "").fails(ErrorKind::Root);
    let operation = failed.because((Call::Write, Errno::PERM)).operation.as_ref().expect("a call");
    let file = match &operation.on {
        Operand::Descriptor(Descriptor::Path(path)) => &path[..],
        other => panic!("{other:?}"),
    };
    assert!(file.ends_with(b"/uid_map"), "{operation:?}");
    // With all but CAP_SYS_ADMIN, as in a container.
    let setting = Setting::new(&small());
    let no_admin = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"];
    setting.run(&no_admin, "").leads_to(SMALL);
    let setting = Setting::new(&small());
    let report = setting.run(&no_admin, "chroot never").leads_to(SMALL);
    assert_eq!(report.confinement.root, RootSwitch::Chroot);
    let setting = Setting::new(&small());
    setting.run(&no_admin, "pivot never").fails(ErrorKind::Root).because((Call::Unshare, Errno::PERM));
}

#[test]
fn as_a_user_with_one_id() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    for isolation in ["", "pivot", "chroot", "single", "mapped-own"] {
        let setting = Setting::for_nobody(&small());
        let said = setting.run(&AS_NOBODY, isolation);
        let confinement = said.leads_to(SMALL).confinement;
        let maps = confinement.user_namespace.as_ref().expect("a user namespace");
        assert_eq!(maps.uids, [IdRange { inside: 0, outside: NOBODY, count: 1 }]);
        assert!(confinement.no_new_privs && confinement.groups_cleared, "{confinement:?}");
        assert_eq!(setting.owner("d/f"), ("65534".into(), "65534".into()));
    }
    let setting = Setting::for_nobody(&small());
    setting.run(&AS_NOBODY, "never").fails(ErrorKind::Root).because((Call::Chroot, Errno::PERM));
}

#[test]
fn groups_that_cannot_be_cleared_are_told() {
    if !need_root() {
        return;
    }
    // With one id, setgroups is denied; the supplementary groups stay.
    let setting = Setting::for_nobody(&small());
    let said = setting.run(&["setpriv", "--reuid=65534", "--regid=65534", "--groups=12,34"], "single");
    assert!(!said.leads_to(SMALL).confinement.groups_cleared);
}

#[test]
fn as_a_user_with_one_id_what_it_cannot_do() {
    if !need_root() {
        return;
    }
    let setting = Setting::for_nobody(&large());
    setting.run(&AS_NOBODY, "").fails(ErrorKind::Entry).because((Call::Fchown, Errno::INVAL));
    softened(&setting.run(&AS_NOBODY, "skip-devices ignore-owners").leads_to(SOFTENED));
    assert_eq!(Tree::read(&setting.dest).get("o", "mode"), "0755", "no set-id bits for another owner");
}

#[test]
fn an_acl_of_another_id_is_ignored_with_its_owner() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let acl = |e: &mut Entry| _ = e.pax("SCHILY.acl.access", "user::rwx,user:7:r-x,group::r-x,mask::r-x,other::r-x");
    let archive = Tarball::new().dir("d").with(acl).file("d/f", "1").with(acl);
    // The file fails as it is made, the directory when it is left: both are named.
    let only_directory = Tarball::new().dir("d").with(acl);
    let failed = Setting::for_nobody(&archive).run(&AS_NOBODY, "").fails(ErrorKind::Entry);
    let failure = failed.because((Call::Fsetxattr, Errno::INVAL));
    assert_eq!(failure.entry.as_ref().map(|entry| &entry.path[..]), Some(&b"d/f"[..]));
    assert_eq!(acl_on(failure), Operand::Descriptor(Descriptor::File));
    let failed = Setting::for_nobody(&only_directory).run(&AS_NOBODY, "").fails(ErrorKind::Entry);
    let failure = failed.because((Call::Fsetxattr, Errno::INVAL));
    assert_eq!(acl_on(failure), Operand::Descriptor(Descriptor::Path(b"d".to_vec())));
    let setting = Setting::for_nobody(&archive);
    let report = setting.run(&AS_NOBODY, "ignore-owners").leads_to("d/ d/f=1");
    assert_eq!(without_acl(&report), [(&b"d/f"[..], EntryKind::File), (b"d", EntryKind::Directory)]);
    // What is softened as a directory is left is told, too, and of which.
    let setting = Setting::for_nobody(&only_directory);
    let report = setting.run(&AS_NOBODY, "ignore-owners").leads_to("d/");
    assert_eq!(without_acl(&report), [(&b"d"[..], EntryKind::Directory)]);
}

const ACL: &str = "system.posix_acl_access";

/// On what the ACL could not be set.
fn acl_on(failure: &Failure) -> Operand {
    let operation = failure.operation.as_ref().expect("a call");
    assert!(operation.rest.contains(ACL), "{operation:?}");
    operation.on.clone()
}

/// Of which entries the ACL was left out; no other event is there.
fn without_acl(report: &Report) -> Vec<(&[u8], EntryKind)> {
    for Event { what, .. } in &report.events {
        assert!(matches!(what, EventKind::XattrUnsupported { name, .. } if name == ACL.as_bytes()), "{what:?}");
    }
    let entries = report.events.iter().map(|event| event.entry.as_ref().expect("an entry"));
    entries.map(|entry| (&entry.path[..], entry.kind)).collect()
}

/// More directories than are kept open: those that were not used lately are left in the middle of the archive.
#[test]
fn a_directory_that_cannot_be_left_is_told_by_its_own_name() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let acl = |e: &mut Entry| _ = e.pax("SCHILY.acl.access", "user::rwx,user:7:r-x,group::r-x,mask::r-x,other::r-x");
    let archive = (0..400).fold(Tarball::new().dir("a").dir("a/bad").with(acl), |tar, i| tar.dir(format!("d{i}")));
    let setting = Setting::for_nobody(&archive);
    let said = setting.run(&AS_NOBODY, "");
    let failed = said.fails(ErrorKind::Entry);
    let failure = failed.because((Call::Fsetxattr, Errno::INVAL));
    assert_eq!(acl_on(failure), Operand::Descriptor(Descriptor::Path(b"a/bad".to_vec())));
    assert!(failure.stage == Stage::Finish && failure.entry.is_none(), "{failure:?}");
    assert!(!setting.dest.join("d399").exists(), "it was left in the middle");
    let setting = Setting::for_nobody(&archive);
    let said = setting.run(&AS_NOBODY, "ignore-owners");
    assert_eq!(without_acl(&said.succeeds()), [(&b"a/bad"[..], EntryKind::Directory)]);
    assert!(setting.dest.join("d399").exists());
}

#[test]
fn a_destination_of_another_user_is_refused_by_the_kernel() {
    if !need_root() {
        return;
    }
    let setting = Setting::new(&small());
    let said = setting.run(&AS_NOBODY, "");
    said.fails(ErrorKind::Entry).because(Errno::ACCESS);
    assert_eq!(said.answer().tree.as_deref(), Some(""));
    assert_eq!(Tree::read(&setting.dest).paths(), ["."]);
}

/// In a mount namespace where `/etc/subuid` and `/etc/subgid` are these lines, as nobody.
fn with_subids(scratch: &Scratch, uids: &str, gids: &str) -> [String; 3] {
    let (uids, gids) = (scratch.file("subuid", uids), scratch.file("subgid", gids));
    let script = format!(
        "mount --make-rprivate / && mount --bind {} /etc/subuid && mount --bind {} /etc/subgid && exec {} \"$@\"",
        uids.display(),
        gids.display(),
        AS_NOBODY.join(" ")
    );
    ["sh".into(), "-c".into(), script]
}

fn run_with_subids(setting: &Setting, uids: &str, gids: &str, options: &str) -> Said {
    run_behind_subids(setting, uids, gids, options, &[])
}

/// The same, these words before the program.
fn run_behind_subids(setting: &Setting, uids: &str, gids: &str, options: &str, behind: &[&str]) -> Said {
    let inner = with_subids(&setting.scratch, uids, gids);
    let words: Vec<&str> =
        ["unshare", "--mount"].into_iter().chain(inner.iter().map(String::as_str)).chain(["sh"]).collect();
    setting.run(&[&words[..], behind].concat(), options)
}

fn can_have_subids() -> bool {
    need_root()
        && need_tools(&["newuidmap", "newgidmap", "setpriv", "unshare"])
        && (PathBuf::from("/etc/subuid").exists() && PathBuf::from("/etc/subgid").exists()
            || crate::support::privilege::skip("no /etc/subuid"))
}

#[test]
fn as_a_user_with_subordinate_ids() {
    if !can_have_subids() {
        return;
    }
    for isolation in ["", "pivot", "chroot", "mapped"] {
        let setting = Setting::for_nobody(&large());
        let said = run_with_subids(
            &setting,
            "nobody:100000:65536\n",
            "nobody:100000:65536\n",
            &format!("skip-devices {isolation}"),
        );
        let confinement = said.leads_to(SOFTENED).confinement;
        let maps = confinement.user_namespace.as_ref().expect("a user namespace");
        assert!(maps.uids.iter().any(|range| range.outside == 100_000), "{maps:?}");
        assert!(confinement.groups_cleared, "{confinement:?}");
        // 0 is nobody itself; 5 is the fifth of the range, which begins with 1.
        assert_eq!(setting.owner("d/f"), ("65534".into(), "65534".into()));
        assert_eq!(setting.owner("o"), ("100004".into(), "100499".into()));
        let tree = Tree::read(&setting.dest);
        assert_eq!(tree.get("o", "mode"), "6755");
        let capability = tree.get("c", "xattr.security.capability");
        assert!(capability.ends_with("\\xfe\\xff\\x00\\x00"), "version 3, root id 65534: {capability}");
    }
}

#[test]
fn as_a_user_with_several_ranges() {
    if !can_have_subids() {
        return;
    }
    let setting = Setting::for_nobody(&large());
    let ranges = "other:1:1\n# comment\nnobody:200000:3\n65534:300000:1000\n";
    let said = run_with_subids(&setting, ranges, ranges, "skip-devices");
    said.succeeds();
    assert_eq!(setting.owner("o"), ("300001".into(), "300496".into()));
}

/// The ranges are refused, or `no_new_privs` takes the set-uid rights away from the program that maps them.
#[test]
fn what_newuidmap_says_is_told_where_it_maps_nothing() {
    if !can_have_subids() {
        return;
    }
    let usual = "nobody:100000:65536\n";
    for (gids, behind, program) in
        [("nobody:4294967295:10\n", &[][..], "newgidmap"), (usual, &["setpriv", "--no-new-privs"][..], "newuidmap")]
    {
        let setting = Setting::for_nobody(&small());
        let report = run_behind_subids(&setting, usual, gids, "", behind).succeeds();
        let refusal = report.confinement.map_refusal.expect("a refusal");
        assert_eq!((refusal.program.as_str(), refusal.no_new_privs), (program, !behind.is_empty()));
        assert!(refusal.words.starts_with(program), "{refusal:?}");
        // What comes of it says so, and does not send anybody to /etc/subgid.
        let setting = Setting::for_nobody(&Tarball::new().file("o", "").with(|e| _ = e.gid(500)));
        let said = run_behind_subids(&setting, usual, gids, "", behind);
        let failed = format!("{:?}", said.answer().outcome.expect_err("no such id"));
        assert!(failed.contains(&format!("{program} did not map ids")) && !failed.contains("/etc/sub"), "{failed}");
    }
}

#[test]
fn with_ranges_that_are_of_no_use_one_id_is_enough() {
    if !can_have_subids() {
        return;
    }
    // Of uids only; nobody's; overlapping the own id: newuidmap or newgidmap refuse.
    for (uids, gids) in [
        ("nobody:100000:65536\n", ""),
        ("", ""),
        ("nobody:100000:10\n", "nobody:4294967295:10\n"),
        ("nobody:x:y\n", "nobody:1:0\n"),
    ] {
        let setting = Setting::for_nobody(&small());
        let maps = run_with_subids(&setting, uids, gids, "").leads_to(SMALL).confinement.user_namespace;
        assert_eq!(maps.expect("a user namespace").gids, [IdRange { inside: 0, outside: NOBODY, count: 1 }]);
    }
}
