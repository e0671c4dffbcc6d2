//! Rule 23: two directories, as containerd compares them.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::stat::{Mode as Bits, SFlag, makedev, mknod};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use untar_in_root::{Cause, EventKind, Limit, PackOptions, Refusal};

use super::{applied, archive_of, between, cause, make, mark, shown, white, written};
use crate::pack::names_of;
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;

fn plain(_: &mut PackOptions) {}

/// Two trees that are equal but for what is done to the second; all times have nanoseconds.
fn pair(scratch: &Scratch, names: &str) -> (PathBuf, PathBuf) {
    let (lower, upper) = (make(scratch, "lower", names), scratch.join("upper"));
    assert!(Command::new("cp").arg("-aT").args([&lower, &upper]).status().expect("cp").success());
    (lower, upper)
}

fn date(path: &Path, second: u64, nanosecond: u32) {
    let time = Timespec { tv_sec: second.cast_signed(), tv_nsec: nanosecond.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}

#[test]
fn pack_rule_23_what_is_gone_new_or_another_and_the_directories_above_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let names = "a same d/ d/e/ d/e/f d/e/g d/h/ d/h/i d/z gone/ gone/a gone/b/ gone/b/c kind/ kind/x was";
    let (lower, upper) = pair(&scratch, names);
    fs::remove_dir_all(upper.join("gone")).expect("gone");
    fs::remove_file(upper.join("d/e/f")).expect("gone");
    fs::remove_dir_all(upper.join("kind")).and_then(|()| fs::write(upper.join("kind"), "file")).expect("another");
    fs::remove_file(upper.join("was")).and_then(|()| fs::create_dir(upper.join("was"))).expect("another");
    fs::write(upper.join("was/new"), "new").expect("new");
    fs::write(upper.join("d/z"), "other").expect("other");
    // In the order of names; `d/h` and what did not change are left out.
    let want = "d/ d/e/ d/e/.wh.f d/z=other .wh.gone kind=file was/ was/new=new";
    assert_eq!(shown(between(&lower, &upper, plain)), want);
    let root = scratch.join("root");
    assert!(Command::new("cp").arg("-aT").args([&lower, &root]).status().expect("cp").success());
    applied(&archive_of(between(&lower, &upper, plain)), &root);
    assert_eq!(names_of(&archive_of(between(&root, &upper, |o| o.exclude = vec!["d/z".into()]))), "kind was/ was/new");
}

/// One after the other; each is one entry.
#[test]
fn pack_rule_23_what_makes_a_difference() {
    if !need_root() {
        return;
    }
    type Change = fn(&Path);
    let changes: [(&str, &str, Change); 10] = [
        ("the mode of a file", "f", |at| {
            fs::set_permissions(at.join("f"), fs::Permissions::from_mode(0o600)).expect("mode")
        }),
        ("its owner", "f", |at| chown(at.join("f"), Some(7), None).expect("owner")),
        ("its attributes", "f", |at| mark(&at.join("f"), "user.x", "y")),
        ("its size", "f", |at| {
            let time = fs::metadata(at.join("f")).and_then(|stat| stat.modified()).expect("time");
            fs::write(at.join("f"), "longer").expect("content");
            let times = FileTimes::new().set_modified(time);
            File::options().write(true).open(at.join("f")).and_then(|file| file.set_times(times)).expect("time");
        }),
        ("its nanoseconds", "f", |at| {
            let file = File::options().write(true).open(at.join("f")).expect("file");
            let time = file.metadata().and_then(|stat| stat.modified()).expect("time");
            file.set_times(FileTimes::new().set_modified(time + Duration::from_nanos(1))).expect("time");
        }),
        ("the mode of a directory", "d/", |at| {
            fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o700)).expect("mode")
        }),
        ("its attributes", "d/", |at| mark(&at.join("d"), "user.x", "y")),
        ("the root's", "./", |at| mark(at, "user.x", "y")),
        ("where a link leads", "l", |at| {
            fs::remove_file(at.join("l")).and_then(|()| symlink("elsewhere", at.join("l"))).expect("link");
        }),
        ("which device it is", "null", |at| {
            fs::remove_file(at.join("null")).expect("gone");
            mknod(&at.join("null"), SFlag::S_IFCHR, Bits::S_IRUSR, makedev(1, 4)).expect("device");
            date(&at.join("null"), 5, 5);
        }),
    ];
    for (what, want, change) in changes {
        let scratch = Scratch::new();
        let lower = make(&scratch, "lower", "f d/ d/g");
        symlink("here", lower.join("l")).expect("link");
        mknod(&lower.join("null"), SFlag::S_IFCHR, Bits::S_IRUSR, makedev(1, 3)).expect("device");
        date(&lower.join("null"), 5, 5);
        let upper = scratch.join("upper");
        assert!(Command::new("cp").arg("-aT").args([&lower, &upper]).status().expect("cp").success());
        assert_eq!(archive_of(between(&lower, &upper, plain)), [0; 1024], "{what}");
        change(&upper);
        assert_eq!(names_of(&archive_of(between(&lower, &upper, plain))), want, "{what}");
    }
}

#[test]
fn pack_rule_23_a_directorys_time_alone_is_no_change() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = pair(&scratch, "d/ d/f");
    date(&upper.join("d"), 7, 7);
    date(&upper, 7, 7);
    assert_eq!(archive_of(between(&lower, &upper, plain)), [0; 1024]);
}

#[test]
fn pack_rule_23_where_both_times_have_whole_seconds_content_is_read() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (make(&scratch, "lower", "a=one b=two c=one"), make(&scratch, "upper", "a=one b=owt c=eno"));
    for (name, to) in [("l", "there"), ("m", "there")] {
        symlink(to, lower.join(name)).expect("link");
        symlink(if name == "m" { "where" } else { to }, upper.join(name)).expect("link");
    }
    for dir in [&lower, &upper] {
        ["a", "b", "l", "m"].iter().for_each(|name| date(&dir.join(name), 1_000_000, 0));
        // Nanoseconds that are equal are believed.
        date(&dir.join("c"), 1_000_000, 5);
    }
    assert_eq!(shown(between(&lower, &upper, plain)), "b=owt m->where");
    let large = vec![7; 1 << 20];
    for dir in ["lower", "upper"] {
        let path = scratch.file(format!("{dir}/large"), &large);
        date(&path, 1_000_000, 0);
    }
    assert_eq!(shown(between(&lower, &upper, plain)), "b=owt m->where");
    let mut other = large;
    other[(1 << 20) - 1] = 8;
    date(&scratch.file("upper/large", other), 1_000_000, 0);
    assert_eq!(names_of(&archive_of(between(&lower, &upper, plain))), "b large m");
}

#[test]
fn pack_rule_23_one_inode_is_unchanged() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let lower = make(&scratch, "lower", "f");
    let upper = scratch.dir("upper");
    fs::hard_link(lower.join("f"), upper.join("f")).expect("link");
    assert_eq!(archive_of(between(&lower, &upper, plain)), [0; 1024]);
    assert_eq!(archive_of(between(&lower, &lower, plain)), [0; 1024]);
}

#[test]
fn pack_rule_23_a_changed_file_takes_its_other_names_along() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    // Both names of `a/x` are as they were; `c` is new, and one inode with them. So is a later name.
    let (lower, upper) = pair(&scratch, "a/ a/x b/ b/y e/ e/y");
    for dir in [&lower, &upper] {
        for (from, to) in [("a/x", "b/x"), ("a/x", "e/z")] {
            fs::hard_link(dir.join(from), dir.join(to)).expect("link");
        }
    }
    fs::hard_link(upper.join("a/x"), upper.join("c")).expect("link");
    let want = "c=x a/ a/x=>c b/ b/x=>c e/ e/z=>c";
    assert_eq!(shown(between(&lower, &upper, plain)), want);
    let most = |o: &mut PackOptions| o.limits.hardlinks = 1;
    assert!(matches!(cause(between(&lower, &upper, most)), Cause::Limit { limit: Limit::Hardlinks, value: 1 }));
    // Nothing changed: nothing goes along.
    fs::remove_file(upper.join("c")).expect("gone");
    assert_eq!(archive_of(between(&lower, &upper, plain)), [0; 1024]);
}

#[test]
fn pack_rule_21_no_device_and_no_name_becomes_a_whiteout_by_itself() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = pair(&scratch, "f .wh.old");
    // What is there in both is nobody's affair.
    assert_eq!(archive_of(between(&lower, &upper, plain)), [0; 1024]);
    fs::remove_file(upper.join(".wh.old")).expect("gone");
    assert_eq!(cause(between(&lower, &upper, plain)), Cause::ReservedName);
    fs::write(upper.join(".wh.old"), "other").expect("other");
    assert_eq!(cause(between(&lower, &upper, plain)), Cause::ReservedName);
    fs::remove_file(upper.join(".wh.old")).and_then(|()| fs::remove_file(lower.join(".wh.old"))).expect("gone");
    white(&scratch, "upper/w");
    assert_eq!(cause(between(&lower, &upper, plain)), Cause::Refused(Refusal::ForgedWhiteout));
}

#[test]
fn pack_rule_23_a_socket_takes_the_place_of_what_was_there() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = pair(&scratch, "s");
    fs::remove_file(upper.join("s")).expect("gone");
    let _listening = [UnixListener::bind(upper.join("s")), UnixListener::bind(upper.join("new"))];
    let (archive, packed) = written(between(&lower, &upper, plain)).expect("a layer");
    assert_eq!(names_of(&archive), ".wh.s");
    assert_eq!(crate::pack::events(&packed), [EventKind::SocketSkipped, EventKind::SocketSkipped]);
}

#[test]
fn pack_rule_23_deep_trees_and_many_directories() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    for dir in ["lower", "upper"] {
        scratch.chain(dir, "d", 400);
        scratch.file(format!("{dir}/{}f", "d/".repeat(400)), if dir == "lower" { "one" } else { "other" });
        scratch.file(format!("{dir}/d/z"), if dir == "lower" { "one" } else { "other" });
    }
    let archive = archive_of(between(&lower, &upper, plain));
    let names = names_of(&archive);
    assert_eq!(names.split(' ').filter(|name| name.ends_with('/')).count(), 400, "{}", names.len());
    assert!(names.ends_with(&format!("{}f d/z", "d/".repeat(400))), "{}", names.len());
}
