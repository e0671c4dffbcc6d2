//! Rules 1 to 5: root and paths, order, depth, opening, what is there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{CWD, FileType, mknodat};
use untar_in_root::{ErrorKind, EventKind, Limit};

use super::cli::as_nobody;
use super::{entries, events, names_of, pack, pack_paths, packer, plain, try_pack};
use crate::support::container::Contained;
use crate::support::expected::Expected;
use crate::support::privilege::{need_root, need_tools, need_userns};
use crate::support::scratch::Scratch;

#[test]
fn pack_rule_01_paths_are_resolved_inside_the_root() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("secret", "of the host");
    scratch.dir("root/usr/lib");
    scratch.file("root/usr/lib/x", "x");
    symlink("/usr/lib", root.join("lib")).expect("link");
    symlink("../../../../usr", root.join("up")).expect("link");
    symlink("lib/x", root.join("last")).expect("link");
    for (path, want) in [
        ("", "./ last lib up usr/ usr/lib/ usr/lib/x"),
        ("/", "./ last lib up usr/ usr/lib/ usr/lib/x"),
        ("usr", "usr/ usr/lib/ usr/lib/x"),
        ("/usr/", "usr/ usr/lib/ usr/lib/x"),
        ("./usr//lib/x", "usr/lib/x"),
        // Links on the way are followed inside, the last component never.
        ("lib/x", "lib/x"),
        ("up/lib/x", "up/lib/x"),
        ("lib", "lib"),
        ("last", "last"),
        ("../../usr/lib/x", "usr/lib/x"),
        ("usr/lib/..", "usr/ usr/lib/ usr/lib/x"),
    ] {
        assert_eq!(names_of(&pack_paths(&root, &[path], plain)), want, "{path:?}");
    }
}

#[test]
fn pack_rule_01_a_path_that_is_missing_fails_before_the_first_byte() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "f");
    symlink("loop", root.join("loop")).expect("link");
    symlink("/nowhere", root.join("dangling")).expect("link");
    for (path, errno) in [
        ("missing", rustix::io::Errno::NOENT),
        ("f/below", rustix::io::Errno::NOTDIR),
        ("dangling/x", rustix::io::Errno::NOENT),
        ("loop/x", rustix::io::Errno::LOOP),
        ("../secret", rustix::io::Errno::NOENT),
    ] {
        let mut archive = Vec::new();
        let error = packer(&root, plain).path("f").path(path).to(&mut archive).expect_err(path);
        assert_eq!(error.kind(), ErrorKind::Entry, "{path}: {error}");
        Expected::Os(errno).assert_of(&error);
        let named = error.failure().and_then(|failure| failure.entry.as_ref()).map(|entry| entry.path.clone());
        assert_eq!(named.as_deref(), Some(path.as_bytes()), "{error}");
        // What keeps it from being taken for an archive, and nothing of the tree.
        assert!(archive.len() <= 512 && !archive.windows(2).any(|bytes| bytes == b"f\0"), "{path}: {archive:?}");
    }
}

#[test]
fn pack_rule_01_without_its_own_entry_and_with_parents() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.dir("root/a/b");
    scratch.file("root/a/b/f", "f");
    scratch.file("root/a/g", "g");
    assert_eq!(names_of(&pack(&root, |o| o.no_root = true).0), "a/ a/b/ a/b/f a/g");
    assert_eq!(names_of(&pack_paths(&root, &["a/b/f"], |o| o.parents = true)), "./ a/ a/b/ a/b/f");
    let without = |o: &mut untar_in_root::PackOptions| (o.parents, o.no_root) = (true, true);
    assert_eq!(names_of(&pack_paths(&root, &["a/b/f", "a/g"], without)), "a/ a/b/ a/b/f a/g");
    // A parent that is there is not written again where the path itself is named.
    assert_eq!(names_of(&pack_paths(&root, &["a/b/f", "a"], without)), "a/ a/b/ a/b/f a/g");
}

#[test]
fn pack_rule_02_depth_first_by_bytes_and_nothing_twice() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for file in ["a-b", "a/x", "a/y/z", "B", "é", "_"] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(path, file).expect("file");
    }
    assert_eq!(names_of(&pack(&root, plain).0), "./ B _ a/ a/x a/y/ a/y/z a-b é");
    for (paths, want) in [
        (&["a/y", "a", "B"][..], "a/y/ a/y/z a/ a/x B"),
        (&["a", "a/y", "a/y/z"], "a/ a/x a/y/ a/y/z"),
        (&["B", "B"], "B"),
        (&["B", ""], "B ./ _ a/ a/x a/y/ a/y/z a-b é"),
    ] {
        assert_eq!(names_of(&pack_paths(&root, paths, plain)), want, "{paths:?}");
    }
}

#[test]
fn pack_rule_03_beyond_path_max_and_ten_thousand_levels() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.chain("root/top", "d", 10_000);
    let (archive, packed) = pack(&root, plain);
    assert_eq!((packed.entries.directories, packed.entries.files, packed.event_count), (10_002, 1, 0));
    // Back at the top there is more to see.
    fs::write(root.join("top/z"), "z").expect("file");
    let (again, packed) = pack(&root, plain);
    assert_eq!((packed.entries.files, packed.event_count), (2, 0));
    assert!(again.len() > archive.len());
    let (error, _) = try_pack(&root, |o| o.limits.depth = 9_000).expect_err("a limit");
    Expected::Limit(Limit::Depth).assert_of(&error);
}

#[test]
fn pack_rule_03_directories_that_were_given_up_are_found_again() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let mut path = root.clone();
    for level in 0..400 {
        for name in ["a", "z"] {
            fs::write(path.join(name), format!("{level}{name}")).expect("file");
        }
        path.push("m");
        fs::create_dir(&path).expect("directory");
    }
    let (archive, packed) = pack(&root, plain);
    assert_eq!((packed.entries.files, packed.entries.directories, packed.event_count), (800, 401, 0));
    let bodies: Vec<_> = entries(&archive).into_iter().filter(|seen| seen.kind == b'0').map(|seen| seen.body).collect();
    let down = (0..400).map(|level| format!("{level}a"));
    let up = (0..400).rev().map(|level| format!("{level}z"));
    assert_eq!(bodies, down.chain(up).map(String::into_bytes).collect::<Vec<_>>());
}

#[test]
fn pack_rule_03_many_names_in_one_directory() {
    let count: u32 = if std::env::var_os("UNTAR_PACK_TREES").is_some() { 1_000_000 } else { 20_000 };
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    (0..count).for_each(|number| drop(fs::File::create(root.join(format!("{number:07}"))).expect("file")));
    let packed = packer(&root, |o| o.whole_seconds = true).to(std::io::sink()).expect("packed");
    assert_eq!((packed.entries.files, packed.size), (count.into(), 512 * (u64::from(count) + 3)));
}

#[test]
fn pack_rule_04_law_8_nothing_changes_in_the_source_access_times_neither() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.dir("root/d");
    scratch.file("root/d/f", "content");
    symlink("f", root.join("d/l")).expect("link");
    let old = rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps {
        last_access: old,
        last_modification: rustix::fs::Timespec { tv_sec: 2000, tv_nsec: 0 },
    };
    let paths = ["d/f", "d/l", "d", "."].map(|name| root.join(name));
    for path in &paths {
        rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("times");
    }
    pack(&root, plain);
    for path in &paths {
        assert_eq!(fs::symlink_metadata(path).expect("stat").atime(), 1000, "{}", path.display());
    }
}

#[test]
fn pack_rule_04_without_a_clone_changed_access_times_are_told() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "content");
    std::os::unix::fs::chown(root.join("f"), Some(4711), None).expect("owner");
    let root = root.to_str().expect("UTF-8");
    // An ordinary container: nothing can be mounted, and nobody but its owner may keep a file's time of access.
    let said = Contained::root().command(&scratch, &["pack", "--json", root]).output().expect("the program");
    let words = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(0), "{words}");
    assert!(words.contains("access_times"), "{words}");
}

/// There is no flag for a link; of the directories the root is the first.
#[test]
fn pack_rule_04_without_a_clone_directories_keep_their_times_and_a_link_that_is_read_is_told() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    for (link, want) in [(false, false), (true, true)] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        scratch.dir("root/d");
        if link {
            symlink("d", root.join("l")).expect("link");
        }
        let old = rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
        let paths = ["d", "."].map(|name| root.join(name));
        for path in &paths {
            rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty()).expect("times");
        }
        let name = root.to_str().expect("UTF-8");
        let said = Contained::root().command(&scratch, &["pack", "--json", name]).output().expect("the program");
        let words = String::from_utf8_lossy(&said.stderr);
        assert_eq!((said.status.code(), words.contains("access_times")), (Some(0), want), "{words}");
        for path in &paths {
            assert_eq!(fs::metadata(path).expect("stat").atime(), 1000, "{}", path.display());
        }
    }
}

#[test]
fn pack_rule_05_each_type_is_packed_and_a_socket_is_told() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.dir("root/d");
    scratch.file("root/f", "content");
    symlink("target", root.join("l")).expect("link");
    mknodat(CWD, root.join("p"), FileType::Fifo, 0o640.into(), 0).expect("fifo");
    mknod(&root.join("c"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3)).expect("device");
    mknod(&root.join("b"), SFlag::S_IFBLK, Mode::S_IRUSR, makedev(7, 300)).expect("device");
    let _socket = UnixListener::bind(root.join("s")).expect("socket");
    for name in ["f", "d"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o000)).expect("mode");
    }
    let (archive, packed) = pack(&root, plain);
    let kinds: String = entries(&archive).iter().map(|seen| char::from(seen.kind)).collect();
    assert_eq!((names_of(&archive).as_str(), kinds.as_str()), ("./ b c d/ f l p", "5435026"));
    assert_eq!(entries(&archive)[4].body, b"content");
    assert_eq!(events(&packed), [EventKind::SocketSkipped]);
    assert_eq!(packed.events[0].entry.as_ref().map(|entry| &entry.path[..]), Some(&b"s"[..]));
    let c = &packed.entries;
    assert_eq!((c.files, c.directories, c.symlinks, c.fifos, c.devices, c.skipped), (1, 2, 1, 1, 2, 1));
}

#[test]
fn pack_rule_05_what_may_not_be_read_is_an_error_or_an_event() {
    if !need_root() || !need_tools(&["setpriv"]) || !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/a", "a");
    scratch.file("root/closed", "closed");
    scratch.dir("root/dir/below");
    for name in ["closed", "dir"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o000)).expect("mode");
    }
    // Somebody who owns none of it, with no more rights than over what is his.
    let root = root.to_str().expect("UTF-8");
    let words = ["pack", "--userns=single", "--unmapped-ids=nobody", root];
    let said = as_nobody(&scratch, &words);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{words}");
    assert!(words.contains("\"closed\"") && words.contains("EACCES"), "{words}");
    let said = as_nobody(&scratch, &["pack", "--userns=single", "--unmapped-ids=nobody", "--unreadable=tell", root]);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(names_of(&said.stdout), "./ a");
}
