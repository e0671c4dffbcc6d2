//! Rules 16 and 17: a tree that changes while it is packed.
//!
//! A file that is larger than what the pipe and the encoder hold keeps the helper waiting behind it, until the test has
//! changed what comes later: nothing here depends on time.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, mknodat};
use untar_in_root::{Cause, ErrorKind, EventKind, PackOptions, Packed, Packing, SourceChange, Tolerance};

use super::{Seen, entries, events, packer, try_pack};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;

/// More than is held anywhere on its way.
const LARGE: u64 = 64 << 20;

/// A tree in which `a` is large, and the helper has begun with it.
struct Live {
    scratch: Scratch,
    root: PathBuf,
    packing: Packing,
    archive: Vec<u8>,
}

impl Live {
    fn begin(make: impl FnOnce(&Path), change: impl FnOnce(&mut PackOptions)) -> Live {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
        make(&root);
        let mut packing = packer(&root, |o| {
            o.dense = true;
            change(o);
        })
        .spawn()
        .expect("a helper");
        let mut archive = vec![0; 4096];
        packing.read_exact(&mut archive).expect("the beginning");
        Live { scratch, root, packing, archive }
    }

    fn end(mut self) -> (Vec<Seen>, Packed) {
        self.packing.read_to_end(&mut self.archive).expect("the archive");
        let packed = self.packing.finish().expect("the report");
        drop(self.scratch);
        (entries(&self.archive), packed)
    }
}

/// What was told of this path.
fn told(packed: &Packed, path: &str) -> Vec<EventKind> {
    let of = |event: &&untar_in_root::Event| event.entry.as_ref().is_some_and(|entry| entry.path == path.as_bytes());
    packed.events.iter().filter(of).map(|event| event.what.clone()).collect()
}

fn only(what: SourceChange) -> Vec<EventKind> {
    vec![EventKind::Source(what)]
}

#[test]
fn pack_rule_16_what_shrinks_is_filled_with_zeros_and_told() {
    let live = Live::begin(|root| drop(fs::write(root.join("b"), "b")), |_| ());
    File::options().write(true).open(live.root.join("a")).and_then(|file| file.set_len(5)).expect("shorter");
    let (seen, packed) = live.end();
    let told = told(&packed, "a");
    assert!(matches!(told[..], [EventKind::Source(SourceChange::Shrank { at })] if at < LARGE), "{told:?}");
    assert_eq!((seen[1].size, seen[1].body.len() as u64), (LARGE, LARGE));
    assert!(seen[1].body.iter().all(|byte| *byte == 0));
    assert_eq!((&seen[2].name[..], &seen[2].body[..]), (&b"b"[..], &b"b"[..]), "the rest of the archive is right");
}

#[test]
fn pack_rule_16_what_grows_is_cut_and_told() {
    let live = Live::begin(|_| (), |_| ());
    let file = OpenOptions::new().append(true).open(live.root.join("a")).expect("file");
    file.write_all_at(b"more", LARGE).expect("more");
    let (seen, packed) = live.end();
    assert_eq!(told(&packed, "a"), only(SourceChange::Grew { size: LARGE }));
    assert_eq!(seen[1].body.len() as u64, LARGE);
}

#[test]
fn pack_rule_17_what_changes_is_told_once() {
    let live = Live::begin(|_| (), |_| ());
    let file = OpenOptions::new().write(true).open(live.root.join("a")).expect("file");
    file.write_all_at(b"other", LARGE - 5).expect("content");
    let (_, packed) = live.end();
    assert_eq!(told(&packed, "a"), only(SourceChange::Changed));
}

#[test]
fn pack_rule_17_a_new_name_of_a_file_counts() {
    let live = Live::begin(|_| (), |_| ());
    fs::hard_link(live.root.join("a"), live.scratch.join("outside")).expect("link");
    let (_, packed) = live.end();
    assert_eq!(told(&packed, "a"), only(SourceChange::Changed));
}

#[test]
fn pack_rule_17_what_is_gone_or_another_is_left_out() {
    let names = ["b", "c", "d", "e", "f", "g"];
    let live = Live::begin(
        |root| {
            names[..4].iter().for_each(|name| fs::write(root.join(name), name).expect("file"));
            fs::create_dir(root.join("f")).expect("directory");
            symlink("somewhere", root.join("g")).expect("link");
        },
        |_| (),
    );
    let outside = live.scratch.file("secret", "of the host");
    for name in ["b", "c", "d", "e", "g"] {
        fs::remove_file(live.root.join(name)).expect("remove");
    }
    fs::remove_dir(live.root.join("f")).expect("remove");
    mknodat(CWD, live.root.join("c"), FileType::Fifo, 0o644.into(), 0).expect("fifo");
    symlink(&outside, live.root.join("d")).expect("link");
    fs::create_dir(live.root.join("e")).expect("directory");
    symlink(live.scratch.path(), live.root.join("f")).expect("link");
    fs::write(live.root.join("g"), "a file").expect("file");
    let (seen, packed) = live.end();
    assert_eq!(told(&packed, "b"), only(SourceChange::Vanished));
    for name in &names[1..] {
        assert_eq!(told(&packed, name), only(SourceChange::Changed), "{name}");
    }
    // The directory has changed, too.
    assert_eq!(told(&packed, "./"), only(SourceChange::Changed));
    let names: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.name).into_owned()).collect();
    assert_eq!(names.join(" "), "./ a");
    assert_eq!(packed.entries.skipped, 6);
}

/// Which the root's mount does not open.
#[test]
fn pack_rule_17_a_file_that_became_a_device_is_left_out_as_any_other() {
    if !need_root() {
        return;
    }
    let live = Live::begin(|root| fs::write(root.join("b"), "file").expect("file"), |_| ());
    let place = live.root.join("b");
    fs::remove_file(&place).expect("remove");
    mknodat(CWD, &place, FileType::CharacterDevice, 0o644.into(), rustix::fs::makedev(1, 3)).expect("device");
    let (seen, packed) = live.end();
    assert_eq!(told(&packed, "b"), only(SourceChange::Changed));
    assert_eq!(seen.len(), 2, "./ and a");
}

#[test]
fn pack_rule_17_changes_are_failures_where_that_is_asked_for() {
    let live = Live::begin(|root| drop(fs::write(root.join("b"), "b")), |o| o.changes = Tolerance::Fail);
    fs::remove_file(live.root.join("b")).expect("remove");
    let mut live = live;
    live.packing.read_to_end(&mut live.archive).expect_err("a failure");
    let error = try_read(&live.archive);
    assert!(error.is_err(), "it is not whole");

    let mut live = Live::begin(|_| (), |o| o.changes = Tolerance::Fail);
    File::options().write(true).open(live.root.join("a")).and_then(|file| file.set_len(5)).expect("shorter");
    let failed = live.packing.read_to_end(&mut live.archive).expect_err("a failure");
    let error =
        failed.get_ref().and_then(|error| error.downcast_ref::<untar_in_root::Error>()).expect("the error inside");
    assert_eq!(error.kind(), ErrorKind::Entry);
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert!(matches!(cause, Some(Cause::Source(SourceChange::Shrank { .. }))), "{cause:?}");
    assert!(live.packing.read(&mut [0; 10]).is_err(), "and goes on failing");
}

fn try_read(archive: &[u8]) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        std::io::copy(&mut entry?, &mut std::io::sink())?;
    }
    Ok(())
}

#[test]
fn pack_rule_17_a_tree_at_rest_has_no_events() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for number in 0..50 {
        scratch.file(format!("root/{number}"), "x".repeat(number * 100));
    }
    let (_, packed) = try_pack(&root, |o| o.changes = Tolerance::Fail).expect("at rest");
    assert!(events(&packed).is_empty());
}

#[test]
fn pack_rule_26_a_directory_that_is_moved_away_is_changed_and_leads_nowhere() {
    let live = Live::begin(
        |root| {
            fs::create_dir_all(root.join("b/c/d")).expect("directories");
            File::create(root.join("b/c/d/a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
            fs::write(root.join("b/z"), "z").expect("file");
        },
        |o| o.include = vec!["b".into()],
    );
    // The helper is in `b/c/d`.
    fs::write(live.scratch.join("secret"), "of the host").expect("file");
    fs::rename(live.root.join("b/c"), live.scratch.join("moved")).expect("rename");
    let (seen, packed) = live.end();
    let names: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.name).into_owned()).collect();
    assert_eq!(names.join(" "), "./ b/ b/c/ b/c/d/ b/c/d/a b/z");
    assert_eq!(told(&packed, "b"), only(SourceChange::Changed));
}

#[test]
fn pack_rule_26_a_lease_is_waited_for() {
    use crate::support::privilege::need_tool;
    use std::io::BufRead;
    if !need_tool("python3") {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let file = scratch.file("root/f", "content");
    // It gives the lease up when it is asked to.
    let holder = "import fcntl,os,signal,sys,time\n\
        fd=os.open(sys.argv[1],os.O_RDWR)\n\
        signal.signal(signal.SIGIO,lambda *_:(time.sleep(.2),fcntl.fcntl(fd,fcntl.F_SETLEASE,fcntl.F_UNLCK)))\n\
        fcntl.fcntl(fd,fcntl.F_SETLEASE,fcntl.F_WRLCK)\n\
        print('held',flush=True)\n\
        sys.stdin.read()\n";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", holder]).arg(&file).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("python3");
    let mut said = String::new();
    std::io::BufReader::new(child.stdout.take().expect("output")).read_line(&mut said).expect("a word");
    assert_eq!(said, "held\n");
    let (archive, packed) = super::pack(&root, super::plain);
    drop(child.stdin.take());
    child.wait().expect("its end");
    assert_eq!((&entries(&archive)[1].body[..], packed.event_count), (&b"content"[..], 0));
}
