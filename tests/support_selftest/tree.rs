//! `tree` sees each kind of difference.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, compare, compare_but};

/// Two equal trees, one of which the test changes.
fn plant(root: &Path) {
    let at = |name| root.join(name);
    fs::create_dir(at("d")).expect("dir");
    fs::write(at("d/file"), "text").expect("file");
    fs::write(at("other"), "text").expect("file");
    symlink("d", at("link")).expect("link");
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001);
    for name in ["d/file", "other"] {
        fs::File::open(at(name)).and_then(|f| f.set_modified(then)).expect("time");
    }
}

/// What a change leads to, the times of directories and of links left out.
#[track_caller]
fn differs(change: impl FnOnce(&Path), want: &[&str]) {
    let scratch = Scratch::new();
    let (a, b) = (scratch.dir("a"), scratch.dir("b"));
    plant(&a);
    plant(&b);
    change(&b);
    let quiet = [But::Of("dir", "mtime"), But::Of("symlink", "mtime")];
    assert_eq!(compare_but(&Tree::read(&a), &Tree::read(&b), &quiet), want);
}

#[test]
fn equal_trees_have_no_difference() {
    differs(|_| {}, &[]);
}

#[test]
fn each_kind_of_difference_is_found() {
    let mode = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    let remove = |path| fs::remove_file(path).expect("remove");
    let file = |root: &Path| fs::OpenOptions::new().write(true).open(root.join("d/file")).expect("open");
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001);
    differs(|b| mode(b.join("d/file"), 0o600), &["d/file: mode 0644 / 0600"]);
    differs(|b| mode(b.join("d"), 0o1755), &["d: mode 0755 / 1755"]);
    differs(
        |b| file(b).set_modified(then + Duration::from_nanos(1)).expect("time"),
        &["d/file: mtime 1.000000001 / 1.000000002"],
    );
    differs(
        |b| {
            fs::write(b.join("d/file"), "texT").expect("write");
            file(b).set_modified(then).expect("time");
        },
        &["d/file: content text / texT"],
    );
    differs(
        |b| {
            file(b).set_len(8192).expect("size");
            file(b).set_modified(then).expect("time");
        },
        &[
            "d/file: content text / sha256:9897a6b045cc6669890168749a00518d2f613926fd60f32d51e7171498f03e7d",
            "d/file: holes none / 0+4096",
            "d/file: size 4 / 8192",
        ],
    );
    differs(|b| remove(b.join("other")), &["other: only in the first (file)"]);
    differs(|b| fs::write(b.join("new"), "").expect("write"), &["new: only in the second (file)"]);
    differs(
        |b| {
            remove(b.join("other"));
            fs::hard_link(b.join("d/file"), b.join("other")).expect("link");
        },
        &["d/file: link none / d/file", "other: link none / d/file"],
    );
    differs(
        |b| {
            remove(b.join("link"));
            symlink("e", b.join("link")).expect("link");
        },
        &["link: target d / e"],
    );
    differs(
        |b| {
            remove(b.join("link"));
            fs::create_dir(b.join("link")).expect("dir");
        },
        &["link: type symlink / dir"],
    );
}

#[test]
fn owners_devices_and_xattrs_differ() {
    if !need_root() {
        return;
    }
    let run = |tool: &str, args: &[&str], path: &Path| {
        let status = Command::new(tool).args(args).arg(path).status();
        assert!(status.expect(tool).success(), "{tool}");
    };
    differs(|b| run("chown", &["-h", "7:8"], &b.join("link")), &["link: gid 0 / 8", "link: uid 0 / 7"]);
    let acl = "xattr.system.posix_acl_access none / \
               \\x02\\x00\\x00\\x00\\x01\\x00\\x06\\x00\\xff\\xff\\xff\\xff\\x02\\x00\\x04\\x00\\x01\\x00\\x00\\x00\\x04\\x00\\x04\\x00\
               \\xff\\xff\\xff\\xff\\x10\\x00\\x04\\x00\\xff\\xff\\xff\\xff\\x20\\x00\\x04\\x00\\xff\\xff\\xff\\xff";
    differs(|b| run("setfacl", &["-m", "u:1:r"], &b.join("d/file")), &[&format!("d/file: {acl}")]);
    for name in ["user.a", "trusted.a"] {
        let want = format!("d: xattr.{name} none / v");
        differs(|b| run("setfattr", &["-n", name, "-v", "v"], &b.join("d")), &[&want]);
    }
    let want = "link: xattr.trusted.a none / v";
    differs(|b| run("setfattr", &["-h", "-n", "trusted.a", "-v", "v"], &b.join("link")), &[want]);
    let scratch = Scratch::new();
    let dir = scratch.dir("d");
    assert!(Command::new("mknod").arg(dir.join("n")).args(["c", "1", "300"]).status().expect("mknod").success());
    assert_eq!(Tree::read(&dir).get("n", "rdev"), "1,300");
}

#[test]
fn names_and_depth_do_not_matter() {
    let scratch = Scratch::new();
    let dir = scratch.dir("d");
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"a b\\\xff\n")), "").expect("file");
    scratch.chain("d/deep", "deep-and-deeper", 600);
    let tree = Tree::read(&dir);
    assert!(tree.has("a\\x20b\\\\\\xff\\x0a"), "{:?}", tree.paths().first());
    assert_eq!(tree.paths().len(), 1 + 1 + 1 + 600 + 1, "root, odd name, deep, 600, end");
    assert!(tree.paths().iter().any(|path| path.len() > 4096 && path.ends_with("/end")));
    assert_eq!(compare(&tree, &Tree::read(&dir)), Vec::<String>::new());
}
