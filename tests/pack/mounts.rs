//! Rule 6: what is mounted below the root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount, mount_bind};
use untar_in_root::{Cause, EventKind, Mounts, PackOptions};

use super::{entries, events, names_of, pack, pack_paths, packer, plain, try_pack};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;

/// A tmpfs, a bind mount of the same file system, a file with another mounted on it, and something else.
fn tree(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("root");
    let tmpfs = scratch.tmpfs("root/tmpfs", 1 << 20).expect("tmpfs");
    fs::write(tmpfs.join("secret"), "of the host").expect("file");
    fs::set_permissions(&tmpfs, fs::Permissions::from_mode(0o1711)).expect("mode");
    chown(&tmpfs, Some(5), Some(6)).expect("owner");
    scratch.dir("other");
    scratch.file("other/inside", "inside");
    scratch.file("file", "of the host");
    scratch.file("root/resolv.conf", "below");
    scratch.file("root/z", "z");
    mount_bind(scratch.join("other"), scratch.dir("root/same")).expect("bind");
    mount_bind(scratch.join("file"), root.join("resolv.conf")).expect("bind");
    root
}

#[test]
fn pack_rule_06_what_is_mounted_is_skipped_with_what_its_mount_point_shows() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (archive, packed) = pack(&root, plain);
    assert_eq!(names_of(&archive), "./ same/ tmpfs/ z");
    assert_eq!(events(&packed), [EventKind::MountSkipped, EventKind::MountNotEntered, EventKind::MountNotEntered]);
    // What lies over it in the jail is root's, and has another mode.
    let tmpfs = entries(&archive).into_iter().find(|seen| seen.name == b"tmpfs/").expect("the mount point");
    assert_eq!((tmpfs.mode, tmpfs.owner), (0o1711, (5, 6)));
    assert_eq!(pack(&root, plain).0, archive, "the same each time");
}

/// Out of sight it is when it comes to be packed; without its ACL the mask would be what the group may.
#[test]
fn pack_rule_06_a_mount_point_has_its_attributes_and_acls() {
    use rustix::fs::{XattrFlags, setxattr};
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let entries_of_acl = [(1, 7, u32::MAX), (2, 7, 1001), (4, 0, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let acl = entries_of_acl.map(|(tag, permissions, id)| entry(tag, permissions, id)).concat();
    let acl = [&2_u32.to_le_bytes()[..], &acl].concat();
    let tmpfs = root.join("tmpfs");
    setxattr(&tmpfs, "system.posix_acl_access", &acl, XattrFlags::empty()).expect("ACL");
    setxattr(&tmpfs, "system.posix_acl_default", &acl, XattrFlags::empty()).expect("ACL");
    setxattr(&tmpfs, "trusted.x", b"y", XattrFlags::empty()).expect("attribute");
    setxattr(root.join("same"), "user.x", b"of a bind mount", XattrFlags::empty()).expect("attribute");
    let (archive, packed) = pack(&root, |o| o.trusted_xattrs = true);
    assert_eq!(events(&packed), [EventKind::MountSkipped, EventKind::MountNotEntered, EventKind::MountNotEntered]);
    let find = |name: &[u8]| entries(&archive).into_iter().find(|seen| seen.name == name).expect("a mount point");
    let text = "user::rwx,user:1001:rwx,group::---,mask::rwx,other::---";
    assert_eq!(find(b"tmpfs/").record("SCHILY.acl.access"), Some(text.as_bytes()));
    assert_eq!(find(b"tmpfs/").record("SCHILY.acl.default"), Some(text.as_bytes()));
    assert_eq!(find(b"tmpfs/").record("SCHILY.xattr.trusted.x"), Some(&b"y"[..]));
    assert_eq!(find(b"same/").record("SCHILY.xattr.user.x"), Some(&b"of a bind mount"[..]));
    let plainly = entries(&pack(&root, plain).0).into_iter().find(|seen| seen.name == b"tmpfs/").expect("it");
    assert_eq!(plainly.record("SCHILY.xattr.trusted.x"), None);
}

#[test]
fn pack_rule_06_what_is_mounted_is_crossed_where_that_is_asked_for() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (archive, packed) = pack(&root, |o| o.jail.mounts = Mounts::Cross);
    assert_eq!(names_of(&archive), "./ resolv.conf same/ same/inside tmpfs/ tmpfs/secret z");
    assert_eq!(events(&packed), [EventKind::MountCrossed, EventKind::MountCrossed, EventKind::MountCrossed]);
    assert_eq!(entries(&archive)[1].body, b"of the host");
}

/// As an engine puts devices into a container.
#[test]
fn pack_rule_06_a_device_that_is_mounted_on_a_file_is_crossed_as_a_device() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/null", "");
    mount_bind("/dev/null", root.join("null")).expect("bind");
    let (archive, packed) = pack(&root, |o| o.jail.mounts = Mounts::Cross);
    let null = entries(&archive).into_iter().find(|seen| seen.name == b"null").expect("it is there");
    assert_eq!(null.kind, b'3');
    assert_eq!(events(&packed), [EventKind::MountCrossed]);
}

#[test]
fn pack_rule_06_what_is_mounted_is_refused_where_that_is_asked_for() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let refuse = |o: &mut PackOptions| o.jail.mounts = Mounts::Refuse;
    let (error, _) = try_pack(&root, refuse).expect_err("a mount");
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!(cause, Some(Cause::MountPoint { directory: false }), "{error}");
    let error = packer(&root, refuse).path("same").to(std::io::sink()).expect_err("a mount");
    assert_eq!(error.failure().map(|failure| failure.cause.clone()), Some(Cause::CrossesMount), "{error}");
    // The root itself may be one.
    assert_eq!(names_of(&pack(&root.join("tmpfs"), refuse).0), "./ secret");
}

/// A path that was named is packed, or it is an error: nothing would be an empty archive.
#[test]
fn pack_rule_06_a_path_that_is_a_mounted_file_is_refused_unless_it_is_crossed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let error = packer(&root, plain).path("z").path("resolv.conf").to(std::io::sink()).expect_err("a mount");
    assert_eq!(
        error.failure().map(|failure| failure.cause.clone()),
        Some(Cause::MountPoint { directory: false }),
        "{error}"
    );
    assert_eq!(error.advice(), Some(untar_in_root::Advice::CrossMounts));
    let cross = |o: &mut PackOptions| o.jail.mounts = Mounts::Cross;
    assert_eq!(names_of(&pack_paths(&root, &["resolv.conf"], cross)), "resolv.conf");
    for follow in [false, true] {
        std::os::unix::fs::symlink("resolv.conf", root.join(format!("link{follow}"))).expect("link");
        let source = if follow { "linktrue" } else { "resolv.conf" };
        let copy =
            untar_in_root::Copy::open(&root, scratch.dir("to")).expect("roots").program(crate::support::run::program());
        let error = copy.source(source).destination("new").follow(follow).run().expect_err("a mount");
        assert_eq!(error.kind(), untar_in_root::ErrorKind::Refused, "{error}");
    }
    // A directory shows itself.
    assert_eq!(names_of(&pack_paths(&root, &["same"], plain)), "same/");
    let name = root.to_str().expect("UTF-8");
    let said =
        std::process::Command::new(crate::support::run::program_path()).args(["pack", name, "resolv.conf"]).output();
    let said = said.expect("the program");
    let words = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{words}");
    assert!(
        words.contains("\"resolv.conf\"") && words.contains("--mounts cross") && !words.contains("skip"),
        "{words}"
    );
}

#[test]
fn pack_rule_06_what_is_skipped_is_told_as_what_becomes_of_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (_, packed) = pack(&root, plain);
    for event in &packed.events {
        let (words, directory) = (event.to_string(), event.what == EventKind::MountNotEntered);
        assert_eq!(words.contains("left out"), !directory, "{words}");
        assert_eq!(words.contains("the directory was packed"), directory, "{words}");
    }
}

#[test]
fn pack_rule_06_a_path_into_a_mount_is_refused_unless_it_is_crossed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let error = packer(&root, plain).path("same/inside").to(std::io::sink()).expect_err("a mount");
    assert_eq!(error.failure().map(|failure| failure.cause.clone()), Some(Cause::CrossesMount), "{error}");
    let cross = |o: &mut PackOptions| o.jail.mounts = Mounts::Cross;
    assert_eq!(names_of(&pack_paths(&root, &["same/inside"], cross)), "same/inside");
}

#[test]
fn pack_rule_06_a_proc_below_leads_nowhere_even_where_mounts_are_crossed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let proc = scratch.dir("root/proc");
    mount("proc", &proc, "proc", MountFlags::empty(), None).expect("proc");
    let cross = |o: &mut PackOptions| o.jail.mounts = Mounts::Cross;
    for path in ["proc/1/root/etc/passwd", "proc/self/fd/0/x", "proc/self/cwd/../../etc/passwd"] {
        let mut archive = Vec::new();
        let error = packer(&root, cross).path(path).to(&mut archive).expect_err(path);
        assert!(error.failure().is_some() && archive.len() <= 512, "{path}: {error}");
    }
    let _ = Path::new("/");
}
