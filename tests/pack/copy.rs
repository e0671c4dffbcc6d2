//! Rule 24 and law 8: `copy`, by the names of `docker cp`.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use untar_in_root::{Copied, Copy, Error, ErrorKind, EventKind};

use crate::support::privilege::{need_mount, need_root};
use crate::support::run::{program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};

fn put(root: &Path, files: &[&str], links: &[(&str, &str)]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        match file.ends_with('/') {
            true => fs::create_dir_all(path).expect("directory"),
            false => fs::write(path, file).expect("file"),
        }
    }
    for (link, target) in links {
        symlink(target, root.join(link)).expect("link");
    }
}

/// Two roots; what is said of names here is of these.
fn roots(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let (from, to) = (scratch.dir("from"), scratch.dir("to"));
    put(&from, &["f", "d/x", "d/sub/y", "e/"], &[("dl", "d"), ("fl", "/f"), ("gone", "nowhere"), ("d/l", "../f")]);
    fs::hard_link(from.join("d/x"), from.join("d/sub/z")).expect("link");
    put(&to, &["old", "dir/k", "full/d", "full/f/", "up/"], &[]);
    for (link, target) in
        [("tod", "/dir"), ("tof", "up/../old"), ("ton", "/dir/made"), ("far", "none/made"), ("me", "me")]
    {
        symlink(target, to.join(link)).expect("link");
    }
    (from, to)
}

/// What is below, with what files hold.
fn listed(dir: &Path, prefix: &str, all: &mut Vec<String>) {
    let entries = fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry"));
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    for name in names {
        let (path, name) = (dir.join(&name), format!("{prefix}{name}"));
        let kind = fs::symlink_metadata(&path).expect("stat").file_type();
        if kind.is_dir() {
            all.push(format!("{name}/"));
            listed(&path, &format!("{name}/"), all);
        } else if kind.is_symlink() {
            all.push(format!("{name}->{}", fs::read_link(&path).expect("link").display()));
        } else {
            all.push(format!("{name}={}", fs::read_to_string(&path).expect("file")));
        }
    }
}

fn tree(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    listed(dir, "", &mut all);
    all
}

fn copy(from: &Path, to: &Path, source: &str, destination: &str, follow: bool) -> Result<Copied, Error> {
    let copy = Copy::open(from, to).expect("roots").program(program());
    copy.source(source).destination(destination).follow(follow).run()
}

/// What is new in the destination, with blanks between; or the kind of the error, and nothing is new.
#[track_caller]
fn outcome(source: &str, destination: &str, follow: bool) -> String {
    let scratch = Scratch::new();
    let (from, to) = roots(&scratch);
    let (before, origin) = (tree(&to), Tree::read(&from));
    let copied = copy(&from, &to, source, destination, follow);
    assert_same("the source", &Tree::read(&from), &origin, &[]);
    let after = tree(&to);
    let new: Vec<String> = after.iter().filter(|name| !before.contains(name)).cloned().collect();
    match copied {
        Ok(_) => new.join(" "),
        Err(error) => {
            assert!(new.is_empty(), "{source} {destination}: {error}: {new:?}");
            format!("{:?}: {error}", error.kind())
        }
    }
}

/// Each row of docker's own page, and those of links.
#[test]
fn pack_rule_24_names_are_those_of_docker_cp() {
    for (source, destination, want) in [
        // A file: DST missing, the same with a slash, a file, a directory.
        ("f", "new", "new=f"),
        ("/f", "/dir/new", "dir/new=f"),
        ("f", "old", "old=f"),
        ("f", "dir", "dir/f=f"),
        ("f", "dir/", "dir/f=f"),
        ("f", "dir/.", "dir/f=f"),
        ("f", "", "f=f"),
        ("d/sub/../../f", "new", "new=f"),
        // A directory: DST missing, a directory; its content alone.
        ("d", "new", "new/ new/l->../f new/sub/ new/sub/y=d/sub/y new/sub/z=d/x new/x=d/x"),
        ("d", "new/", "new/ new/l->../f new/sub/ new/sub/y=d/sub/y new/sub/z=d/x new/x=d/x"),
        ("d/", "dir", "dir/d/ dir/d/l->../f dir/d/sub/ dir/d/sub/y=d/sub/y dir/d/sub/z=d/x dir/d/x=d/x"),
        ("d/.", "dir", "dir/l->../f dir/sub/ dir/sub/y=d/sub/y dir/sub/z=d/x dir/x=d/x"),
        ("d/.", "new", "new/ new/l->../f new/sub/ new/sub/y=d/sub/y new/sub/z=d/x new/x=d/x"),
        ("e", "/", "e/"),
        ("e/.", "dir", ""),
        // A link itself, what it leads to under its name.
        ("fl", "new", "new->/f"),
        ("fl", "dir", "dir/fl->/f"),
        ("dl", "dir", "dir/dl->d"),
        ("gone", "old", "old->nowhere"),
        ("dl/", "dir", "dir/dl/ dir/dl/l->../f dir/dl/sub/ dir/dl/sub/y=d/sub/y dir/dl/sub/z=d/x dir/dl/x=d/x"),
        ("dl/.", "new", "new/ new/l->../f new/sub/ new/sub/y=d/sub/y new/sub/z=d/x new/x=d/x"),
        ("dl/x", "dir", "dir/x=d/x"),
        // DST a link: its target inside, of which the last component may be missing.
        ("f", "tod", "dir/f=f"),
        ("f", "tod/new", "dir/new=f"),
        ("f", "tof", "old=f"),
        ("f", "ton", "dir/made=f"),
        ("e", "ton", "dir/made/"),
        ("e", "tod", "dir/e/"),
    ] {
        assert_eq!(outcome(source, destination, false), want, "{source} {destination}");
    }
    for (source, destination, want) in [
        ("fl", "dir", "dir/fl=f"),
        ("fl", "new", "new=f"),
        ("dl", "new", "new/ new/l->../f new/sub/ new/sub/y=d/sub/y new/sub/z=d/x new/x=d/x"),
        ("d/l", "dir", "dir/l=f"),
        ("f", "new", "new=f"),
    ] {
        assert_eq!(outcome(source, destination, true), want, "{source} {destination}, followed");
    }
}

#[test]
fn pack_rule_24_what_docker_cp_refuses_is_refused() {
    for (source, destination, follow, kind) in [
        // A file for a directory that is not there, or is a file.
        ("f", "new/", false, "Entry"),
        ("f", "old/", false, "Entry"),
        ("fl", "new/", false, "Entry"),
        ("f", "none/new", false, "Entry"),
        ("f", "none/new/", false, "Entry"),
        ("f", "old/new", false, "Entry"),
        ("f", "new/.", false, "Entry"),
        // A directory onto a file, and the reverse.
        ("d", "old", false, "Refused"),
        ("d/.", "old", false, "Refused"),
        ("d", "tof", false, "Refused"),
        ("d", "full", false, "Refused"),
        ("f", "full", false, "Refused"),
        // Behind a link more than the last component is missing; links without an end.
        ("f", "far", false, "Entry"),
        ("d", "far", false, "Entry"),
        ("f", "me", false, "Entry"),
        ("f", "me/x", false, "Entry"),
        // No directory, nothing at all.
        ("f/", "dir", false, "Entry"),
        ("f/.", "dir", false, "Entry"),
        ("fl/", "dir", false, "Entry"),
        ("gone/", "dir", false, "Entry"),
        ("gone", "dir", true, "Entry"),
        ("missing", "dir", false, "Entry"),
    ] {
        let said = outcome(source, destination, follow);
        assert!(said.starts_with(&format!("{kind}: ")), "{source} {destination}: {said}");
    }
}

#[test]
fn pack_rule_24_owners_are_kept_or_one_and_links_stay_links() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (from, to) = roots(&scratch);
    for (path, id) in [("d", 7), ("d/x", 8), ("d/sub", 9)] {
        chown(from.join(path), Some(id), Some(id + 10)).expect("owner");
    }
    copy(&from, &to, "d", "kept", false).expect("a copy");
    assert_same("kept", &Tree::read(&to.join("kept")), &Tree::read(&from.join("d")), &[]);
    let stat = |path: &str| fs::metadata(to.join(path)).expect("stat");
    assert_eq!(stat("kept/x").ino(), stat("kept/sub/z").ino(), "hardlinks are one file");
    let mut copy = Copy::open(&from, &to).expect("roots").program(program()).source("d").destination("given");
    copy.packing_mut().owner = untar_in_root::PackOwner::Forced { uid: 5, gid: 6 };
    let copied = copy.run().expect("a copy");
    assert_eq!((stat("given/x").uid(), stat("given/sub").gid()), (5, 6));
    assert_eq!((copied.packed.entries.total(), copied.report.entries.total()), (6, 6));
    // What content goes into stays what it is.
    let before = stat("dir");
    self::copy(&from, &to, "d/.", "dir", false).expect("a copy");
    assert_eq!((stat("dir").uid(), stat("dir").mode()), (before.uid(), before.mode()));
}

#[test]
fn law_8_a_copy_is_packed_and_then_unpacked_and_the_source_stays() {
    use super::generate;
    if !need_root() {
        return;
    }
    for seed in 1..=4 {
        let scratch = Scratch::new();
        let (from, to) = (generate::tree(&scratch, "from", seed), scratch.dir("to"));
        let before = Tree::read(&from);
        let copied = copy(&from, &to, "/", "made", false).expect("a copy");
        let (archive, _) = super::pack(&from, super::plain);
        let unpacked = super::unpacked(&archive, &scratch, "unpacked");
        assert_same("the source", &Tree::read(&from), &before, &[]);
        assert_same("packed and unpacked", &Tree::read(&to.join("made")), &Tree::read(&unpacked), &[]);
        assert_eq!(copied.packed.entries.files, copied.report.entries.files);
    }
}

/// Of two errors the one that led to the other.
#[test]
fn the_error_that_ends_a_copy_is_told_and_not_what_it_led_to() {
    let scratch = Scratch::new();
    let (from, to) = roots(&scratch);
    File::create(from.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a large file");
    let large = |copy: &mut Copy| {
        copy.packing_mut().dense = true;
    };
    let limited = |change: fn(&mut Copy)| {
        let mut copy = Copy::open(&from, &to).expect("roots").program(program()).source("large").destination("dir");
        large(&mut copy);
        change(&mut copy);
        copy.run().expect_err("a limit")
    };
    // The packer's own.
    let error = limited(|copy| copy.packing_mut().limits.total_bytes = 10 << 20);
    assert_eq!(
        (error.kind(), error.failure().map(|failure| failure.stage)),
        (ErrorKind::Limit, Some(untar_in_root::Stage::Walk))
    );
    // Who applies it leaves, and nobody reads any more.
    let error = limited(|copy| copy.options_mut().limits.total_bytes = 10 << 20);
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert_ne!(error.failure().map(|failure| failure.stage), Some(untar_in_root::Stage::Walk), "{error}");
    if need_mount() {
        let small = scratch.tmpfs("to/small", 1 << 20).expect("tmpfs");
        let copy = Copy::open(&from, &small).expect("roots").program(program());
        let mut copy = copy.source("large").destination("/");
        large(&mut copy);
        let error = copy.run().expect_err("a full disk");
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(28)), "{error}");
    }
    // Cancelled before it begins.
    let copy = Copy::open(&from, &to).expect("roots").program(program()).source("large");
    copy.canceller().cancel();
    assert_eq!(copy.run().expect_err("cancelled").kind(), ErrorKind::Cancelled);
}

/// Both are heard, however much each has to say.
#[test]
fn events_of_both_sides_are_told_and_hold_nobody_up() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (from, to) = (scratch.dir("from"), scratch.dir("to"));
    for number in 0..3000 {
        let fifo = from.join(format!("fifo{number}"));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("FIFO");
        rustix::fs::lsetxattr(&fifo, "trusted.x", b"y", rustix::fs::XattrFlags::empty()).expect("attribute");
        drop(std::os::unix::net::UnixListener::bind(from.join(format!("socket{number}"))).expect("socket"));
    }
    let mut copy = Copy::open(&from, &to).expect("roots").program(program());
    copy.packing_mut().trusted_xattrs = true;
    copy.options_mut().trusted_xattrs = true;
    let copied = copy.run().expect("a copy");
    assert_eq!((copied.packed.event_count, copied.report.event_count), (3000, 3000));
    assert!(copied.packed.events.iter().all(|event| event.what == EventKind::SocketSkipped));
}

/// The destination is in the source: what the copy makes is not copied once more.
#[test]
fn what_is_copied_into_itself_comes_to_an_end() {
    let scratch = Scratch::new();
    for (source, destination, deep) in [
        ("d", "d/zz", "d/zz/d/zz/d/a"),
        ("d/.", "d/zz/new", "d/zz/new/zz/new/a"),
        ("/", "d/zz/all", "d/zz/all/d/zz/all/d"),
    ] {
        let root = scratch.dir(deep);
        put(&root, &["d/zz/"], &[]);
        // More than is read ahead or lies in the pipe.
        for number in 0..3000 {
            let content = format!("{number:0>2000}");
            fs::create_dir_all(root.join("d/a")).expect("directory");
            fs::write(root.join(format!("d/a/{number}")), content).expect("file");
        }
        let copied = copy(&root, &root, source, destination, false).expect("an end");
        assert!(copied.packed.entries.files < 6001, "{source} {destination}: {:?}", copied.packed.entries);
        assert!(root.join(destination).is_dir() && !root.join(deep).exists(), "{source} {destination}");
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(program_path()).args(words).output().expect("the program")
}

#[test]
fn copy_at_the_command_line() {
    let scratch = Scratch::new();
    let (from, to) = roots(&scratch);
    let at = |root: &Path, path: &str| format!("{}:{path}", root.display());
    let copies = |options: &[&str], source: &str, destination: &str| {
        let (source, destination) = (at(&from, source), at(&to, destination));
        run(&[&["copy"], options, &[&*source, &*destination]].concat())
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = copies(&[], "d", "new");
    assert_eq!((said.status.code(), text(&said.stderr).as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(to.join("new/sub/y")).expect("file"), "d/sub/y");
    let said = copies(&["-v", "--follow-link"], "fl", "dir");
    assert_eq!((said.status.code(), text(&said.stderr).as_str()), (Some(0), "fl\n"));
    assert_eq!(fs::read_to_string(to.join("dir/fl")).expect("file"), "f");
    let said = copies(&["--json", "--timeout=60", "--changes=fail", "--unreadable=fail"], "f", "old");
    let value: serde_json::Value = serde_json::from_slice(&said.stderr).expect("one object");
    assert_eq!((&value["ok"], &value["report"]["applied"]["entries"]["files"]), (&true.into(), &1.into()), "{value}");
    assert_eq!(value["report"]["packed"]["entries"]["files"], 1, "{value}");
    let (beside, nowhere) = ("remove what is there first", "no such directory");
    for (source, destination, want) in [
        ("missing", "dir", "ENOENT"),
        ("d", "old", beside),
        ("f", "full", beside),
        ("f", "none/x", nowhere),
        ("f", "newer/", nowhere),
        ("f", "far", nowhere),
        ("f", "old/x", "not a directory"),
        ("f", "me", "symlinks"),
    ] {
        let said = copies(&[], source, destination);
        assert_eq!(said.status.code(), Some(1), "{source} {destination}: {}", text(&said.stderr));
        assert!(text(&said.stderr).contains(want), "{source} {destination}: {}", text(&said.stderr));
        assert!(!text(&said.stderr).contains("meanwhile"), "{}", text(&said.stderr));
    }
    assert_eq!(run(&["copy", "nocolon", "a:b"]).status.code(), Some(2));
    assert_eq!(run(&["copy", "/nonexistent:a", "/nonexistent:b"]).status.code(), Some(3));
    assert_eq!(copies(&["--quiet", "--progress"], "f", "dir").status.code(), Some(2));
    // What fingers type.
    assert_eq!(copies(&["-a"], "f", "habit").status.code(), Some(0));
    assert_eq!(copies(&["-rL"], "fl", "habit").status.code(), Some(0));
    let id = rustix::process::geteuid().as_raw();
    assert_eq!(copies(&["--chown", &format!("{id}:{id}")], "f", "dir").status.code(), Some(0));
}

/// A colon ends a ROOT; one with a colon in its name is given in another way, which is said.
#[test]
fn a_root_with_a_colon_in_its_name() {
    let scratch = Scratch::new();
    let (_, to) = roots(&scratch);
    put(&scratch.dir("a:b:c"), &["f"], &[]);
    let run = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(program_path()).arg(&to).current_dir(scratch.path()).output().expect("sh")
    };
    let said = run("exec \"$0\" copy a:b:c:f \"$1\":new");
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(2), "{words}");
    assert!(words.contains("a:b:c can be given as /dev/fd/3"), "{words}");
    assert!(words.contains("Usage: untar-in-root copy"), "{words}");
    for line in ["exec \"$0\" copy /dev/fd/3:f \"$1\":new 3<a:b:c", "cd a:b:c && exec \"$0\" copy .:f \"$1\":newer"] {
        let said = run(line);
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    }
    assert_eq!(fs::read_to_string(to.join("new")).expect("file"), "f");
    // Where nothing of that name is there it is the first one that is not.
    assert_eq!(run("exec \"$0\" copy x:y:z \"$1\":new").status.code(), Some(3));
}

/// What the one side may send the other takes; a limit is of both.
#[test]
fn both_sides_of_a_copy_have_the_same_limits() {
    use untar_in_root::{Limit, Limits};
    let scratch = Scratch::new();
    let (from, to) = (scratch.dir("from"), scratch.dir("to"));
    put(&from, &["a/b/c/f", "long-name"], &[]);
    for number in 0..300 {
        let name = format!("user.{number}");
        rustix::fs::setxattr(from.join("long-name"), name, b"", rustix::fs::XattrFlags::empty()).expect("attribute");
    }
    let copies = |change: fn(&mut Limits), source: &str, destination: &str| {
        let mut limits = untar_in_root::PackOptions::default().limits;
        change(&mut limits);
        let copy = Copy::open(&from, &to).expect("roots").program(program()).limits(limits);
        copy.source(source).destination(destination).run()
    };
    // As deep as may be packed, below the name that it has on its way; with the longest name, which becomes a longer one.
    copies(|limits| limits.depth = 4, "/", "all").expect("a copy");
    copies(|limits| limits.name_bytes = 9, "long-name", &"long".repeat(60)).expect("a copy");
    let error = copies(|limits| limits.depth = 3, "/", "less").expect_err("a limit");
    crate::support::expected::Expected::Limit(Limit::Depth).assert_of(&error);
    let (source, destination) = (format!("{}:/", from.display()), format!("{}:cli", to.display()));
    for option in
        ["--max-depth=3", "--max-entries=1", "--max-total-bytes=1K", "--max-file-bytes=1", "--max-name-bytes=3"]
    {
        let said = run(&["copy", option, &source, &destination]);
        let (words, option) = (String::from_utf8_lossy(&said.stderr), option.split('=').next().expect("a name"));
        assert!(said.status.code() == Some(1) && words.contains(option), "{option}: {words}");
    }
    let said = run(&[
        "copy",
        "--unmapped-ids=nobody",
        "--max-hardlinks=1",
        "--max-events=1",
        "--max-memory=1G",
        &source,
        &destination,
    ]);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
}

/// The roots are entered: what leads out of them leads nowhere.
#[test]
fn neither_side_of_a_copy_leaves_its_root() {
    let scratch = Scratch::new();
    let (from, to) = roots(&scratch);
    scratch.file("secret", "of the host");
    symlink("../secret", from.join("out")).expect("link");
    symlink("../../secret", to.join("out")).expect("link");
    symlink(scratch.path(), to.join("host")).expect("link");
    let error = copy(&from, &to, "out", "dir", true).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Entry, "{error}");
    copy(&from, &to, "f", "out", false).expect("inside");
    assert_eq!(fs::read_to_string(to.join("secret")).expect("inside"), "f");
    let error = copy(&from, &to, "f", "host/secret", false).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Entry, "{error}");
    assert_eq!(fs::read_to_string(scratch.join("secret")).expect("file"), "of the host");
    assert_eq!(copy(&from, &to, "../../secret", "dir", false).expect_err("nothing there").kind(), ErrorKind::Entry);
}
