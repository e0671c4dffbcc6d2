//! The same archive as root, as root of a user namespace, and as an unprivileged user with one id or with many.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use crate::support::child::{Job, Said};
use crate::support::privilege::{need_root, need_tools, need_userns};
use crate::support::scratch::Scratch;
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

struct Setting {
    scratch: Scratch,
    dest: PathBuf,
    archive: PathBuf,
}

impl Setting {
    fn new(archive: &Tarball) -> Setting {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let archive = scratch.file("archive.tar", archive.build());
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).expect("mode");
        Setting { scratch, dest, archive }
    }

    /// The destination is nobody's.
    fn for_nobody(archive: &Tarball) -> Setting {
        let setting = Setting::new(archive);
        chown(&setting.dest, Some(NOBODY), Some(NOBODY)).expect("chown");
        setting
    }

    fn run(&self, prefix: &[&str], options: &str) -> Said {
        Job::new(&self.dest, &self.archive, options).behind(prefix).run(&self.scratch)
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
        said.leads_to(SMALL).has("events", "[]");
        said.has("confinement", if isolation == "chroot" { "root: ChrootInNamespace" } else { "root: Pivot" });
    }
}

#[test]
fn chroot_that_was_asked_for_is_a_fallback_without_an_error_number() {
    if !need_root() {
        return;
    }
    Setting::new(&small()).run(&[], "chroot").leads_to(SMALL).has("confinement", "errno: 0");
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
        said.leads_to(SMALL).has("events", "[]").has("confinement", "no_new_privs: true");
        let maps = said.get("confinement").contains("user_namespace: Some");
        assert_eq!(maps, isolation.contains("single"), "{isolation}: {}", said.0);
    }
}

#[test]
fn as_root_of_a_user_namespace_with_what_it_cannot_do() {
    if !need_userns() {
        return;
    }
    let prefix = ["unshare", "--user", "--map-root-user"];
    let setting = Setting::new(&large());
    setting.run(&prefix, "").has("outcome", "fchown");
    let said = setting.run(&prefix, "skip-devices ignore-owners");
    said.leads_to("c= d/ d/f=1 d/g=2 h==d/f l->/d o= p|").has("events", "OwnerIgnored").has("events", "DeviceSkipped");
}

#[test]
fn as_root_without_the_right_to_mount() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    // With no capability at all: without CAP_SETFCAP nobody may map uid 0 of the outer namespace.
    let setting = Setting::new(&small());
    let none = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    setting.run(&none, "").has("outcome", "kind: Root").has("outcome", "uid_map");
    // With all but CAP_SYS_ADMIN, as in a container.
    let setting = Setting::new(&small());
    let no_admin = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"];
    setting.run(&no_admin, "").leads_to(SMALL);
    let setting = Setting::new(&small());
    setting.run(&no_admin, "chroot never").leads_to(SMALL).has("confinement", "root: Chroot");
    let setting = Setting::new(&small());
    setting.run(&no_admin, "pivot never").has("outcome", "kind: Root").has("outcome", "unshare");
}

#[test]
fn as_a_user_with_one_id() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    for isolation in ["", "pivot", "chroot", "single", "mapped-own"] {
        let setting = Setting::for_nobody(&small());
        let said = setting.run(&AS_NOBODY, isolation);
        said.leads_to(SMALL).has("confinement", "uids: [IdRange { inside: 0, outside: 65534, count: 1 }]");
        said.has("confinement", "no_new_privs: true").has("confinement", "groups_cleared: true");
        assert_eq!(setting.owner("d/f"), ("65534".into(), "65534".into()));
    }
    let setting = Setting::for_nobody(&small());
    setting.run(&AS_NOBODY, "never").has("outcome", "kind: Root");
}

#[test]
fn groups_that_cannot_be_cleared_are_told() {
    if !need_root() {
        return;
    }
    // With one id, setgroups is denied; the supplementary groups stay.
    let setting = Setting::for_nobody(&small());
    let said = setting.run(&["setpriv", "--reuid=65534", "--regid=65534", "--groups=12,34"], "single");
    said.leads_to(SMALL).has("confinement", "groups_cleared: false");
}

#[test]
fn as_a_user_with_one_id_what_it_cannot_do() {
    if !need_root() {
        return;
    }
    let setting = Setting::for_nobody(&large());
    let said = setting.run(&AS_NOBODY, "");
    said.has("outcome", "kind: Entry").has("outcome", "fchown");
    let said = setting.run(&AS_NOBODY, "skip-devices ignore-owners");
    said.leads_to("c= d/ d/f=1 d/g=2 h==d/f l->/d o= p|").has("events", "OwnerIgnored").has("events", "DeviceSkipped");
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
    Setting::for_nobody(&archive).run(&AS_NOBODY, "").has("outcome", "posix_acl_access").has("outcome", "d/f");
    let told = Setting::for_nobody(&only_directory).run(&AS_NOBODY, "");
    told.has("outcome", "posix_acl_access").has("outcome", "fsetxattr(</d>");
    let setting = Setting::for_nobody(&archive);
    setting.run(&AS_NOBODY, "ignore-owners").leads_to("d/ d/f=1").has("events", "XattrUnsupported");
    // What is softened as a directory is left is told, too, and of which.
    let setting = Setting::for_nobody(&only_directory);
    let left = format!("path: {:?}, kind: Directory", b"d");
    setting.run(&AS_NOBODY, "ignore-owners").leads_to("d/").has("events", "XattrUnsupported").has("events", &left);
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
    said.has("outcome", "fsetxattr(</a/bad>").has("outcome", "stage: Finish").has("outcome", "entry: None");
    assert!(!setting.dest.join("d399").exists(), "it was left in the middle");
    let setting = Setting::for_nobody(&archive);
    let said = setting.run(&AS_NOBODY, "ignore-owners");
    said.has("outcome", "ok").has("events", &format!("path: {:?}, kind: Directory", b"a/bad"));
    assert!(setting.dest.join("d399").exists());
}

#[test]
fn a_destination_of_another_user_is_refused_by_the_kernel() {
    if !need_root() {
        return;
    }
    let setting = Setting::new(&small());
    setting.run(&AS_NOBODY, "").has("outcome", "kind: Entry").has("tree", "");
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
    let inner = with_subids(&setting.scratch, uids, gids);
    let words: Vec<&str> =
        ["unshare", "--mount"].into_iter().chain(inner.iter().map(String::as_str)).chain(["sh"]).collect();
    setting.run(&words, options)
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
        said.leads_to("c= d/ d/f=1 d/g=2 h==d/f l->/d o= p|")
            .has("confinement", "outside: 100000")
            .has("confinement", "groups_cleared: true");
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
    said.has("outcome", "ok");
    assert_eq!(setting.owner("o"), ("300001".into(), "300496".into()));
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
        run_with_subids(&setting, uids, gids, "").leads_to(SMALL).has("confinement", "count: 1 }");
    }
}
