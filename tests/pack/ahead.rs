//! Law 5 and rules 3 and 10: who has read a file is to be seen neither from the archive nor from what is told.
//!
//! `UNTAR_PACK_TREES` (8) random trees, the first of seed `UNTAR_PACK_SEED` (1).

use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroU32;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, XattrFlags, mknodat, setxattr};
use untar_in_root::{Error, Event, EventKind, Limit, PackOptions, SourceChange, Tolerance};

use super::generate::{Random, large_tree};
use super::laws::setting;
use super::{entries, pack, packer, try_pack};
use crate::support::expected::Expected;
use crate::support::privilege::{need_root, need_tools};
use crate::support::scratch::Scratch;

const READERS: [u32; 3] = [1, 2, 8];

fn with(readers: u32, change: impl Fn(&mut PackOptions)) -> impl Fn(&mut PackOptions) {
    move |options| {
        change(options);
        options.readers = NonZeroU32::new(readers);
    }
}

/// What each number of readers makes of it, which must be the same.
#[track_caller]
fn same(root: &Path, change: impl Fn(&mut PackOptions) + Copy) -> (Vec<u8>, Result<Vec<Event>, Error>) {
    let mut made = READERS.map(|readers| match try_pack(root, with(readers, change)) {
        Ok((archive, packed)) => (archive, format!("{:?}", packed.entries), Ok(packed.events)),
        Err((error, archive)) => (archive, error.to_string(), Err(error)),
    });
    for (other, readers) in made[1..].iter().zip(&READERS[1..]) {
        assert!(other.0 == made[0].0, "{readers} readers: other bytes, {} and {}", other.0.len(), made[0].0.len());
        assert_eq!(other.1, made[0].1, "{readers} readers");
        assert_eq!(other.2.as_ref().ok(), made[0].2.as_ref().ok(), "{readers} readers: other events");
    }
    let (archive, _, outcome) = std::mem::replace(&mut made[0], (Vec::new(), String::new(), Ok(Vec::new())));
    (archive, outcome)
}

#[test]
fn law_5_the_same_bytes_and_events_with_any_number_of_readers() {
    if !need_root() {
        return;
    }
    let first = setting("UNTAR_PACK_SEED", 1);
    for seed in first..first + setting("UNTAR_PACK_TREES", 8) {
        let scratch = Scratch::new();
        let root = large_tree(&scratch, "root", seed, 600);
        let sockets = tell_of_some(&root, seed);
        let (_, told) = same(&root, |_| ());
        let told = told.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(told.len() > 20, "seed {seed}: {} events", told.len());
        drop(sockets);
        _ = same(&root, |options| options.exclude = vec!["*a*".into(), "*/b1?".into()]);
        _ = same(&root, |options| (options.dense, options.limits.events) = (true, 3));
    }
}

/// Sockets and attributes that are left out with an event, here and there.
fn tell_of_some(root: &Path, seed: u64) -> Vec<UnixListener> {
    let (mut dirs, mut random, mut sockets) = (vec![root.to_owned()], Random::new(seed), Vec::new());
    while let Some(dir) = dirs.pop() {
        let entries = fs::read_dir(&dir).expect("directory").map(|entry| entry.expect("entry"));
        for entry in entries.collect::<Vec<_>>() {
            let kind = entry.file_type().expect("type");
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() && random.below(8) == 0 {
                let claim = setxattr(entry.path(), "user.containers.override_stat", b"0:0:0644", XattrFlags::empty());
                claim.expect("attribute");
            }
        }
        // The path of a socket has an end.
        if random.below(3) == 0 && dir.as_os_str().len() < 80 {
            sockets.extend(UnixListener::bind(dir.join("c.sock")));
        }
    }
    sockets
}

/// A directory with so many files, `0000` and on, with their numbers in them.
fn many(scratch: &Scratch, count: usize) -> std::path::PathBuf {
    let root = scratch.dir("root");
    for number in 0..count {
        fs::write(root.join(format!("{number:04}")), number.to_string()).expect("file");
    }
    root
}

#[test]
fn pack_rule_03_what_fails_is_the_first_in_the_archive() {
    let scratch = Scratch::new();
    let root = many(&scratch, 900);
    for number in [250, 251, 700] {
        fs::write(root.join(format!("{number:04}")), "long content").expect("file");
    }
    let (_, outcome) = same(&root, |options| options.limits.file_bytes = 5);
    let error = outcome.expect_err("a limit");
    Expected::Limit(Limit::FileBytes).assert_of(&error);
    let entry = error.failure().and_then(|failure| failure.entry.clone()).expect("an entry");
    assert_eq!((&entry.path[..], entry.index), (&b"0250"[..], Some(251)));
}

#[test]
fn pack_rule_10_of_two_names_of_one_file_the_earlier_in_the_archive_is_the_file() {
    let scratch = Scratch::new();
    let root = many(&scratch, 400);
    for number in (0..400).step_by(3) {
        let name = root.join(format!("{number:04}"));
        fs::create_dir_all(root.join(format!("dir{}", number % 7))).expect("directory");
        fs::hard_link(&name, root.join(format!("dir{}/{number}", number % 7))).expect("link");
        fs::hard_link(&name, root.join(format!("{number:04}-again"))).expect("link");
    }
    let (archive, told) = same(&root, |_| ());
    assert_eq!(told.expect("packed"), []);
    for seen in entries(&archive).iter().filter(|seen| seen.kind != b'5') {
        let name = String::from_utf8_lossy(&seen.name).into_owned();
        let first = name.len() == 4;
        assert_eq!(seen.kind, if first { b'0' } else { b'1' }, "{name}");
        assert!(first || seen.link.len() == 4, "{name} leads to {:?}", seen.link);
    }
}

/// Behind a large file, which the pipe and the encoder do not hold, and behind all that is read before it is its turn.
#[test]
fn pack_rule_17_changes_are_told_whoever_reads() {
    for readers in READERS {
        let scratch = Scratch::new();
        let root = many(&scratch, 3000);
        let large = root.join("0100");
        File::create(&large).and_then(|file| file.set_len(64 << 20)).expect("a large file");
        let change = |options: &mut PackOptions| options.dense = true;
        let mut packing = packer(&root, with(readers, change)).spawn().expect("a helper");
        let mut archive = vec![0; 400 << 10];
        packing.read_exact(&mut archive).expect("the beginning");
        for number in [2000, 2001, 2002, 2003, 2004] {
            fs::remove_file(root.join(format!("{number}"))).expect("remove");
        }
        mknodat(CWD, root.join("2001"), FileType::Fifo, 0o644.into(), 0).expect("fifo");
        symlink("2000", root.join("2002")).expect("link");
        fs::create_dir(root.join("2003")).expect("directory");
        fs::write(root.join("2004"), "another file").expect("file");
        packing.read_to_end(&mut archive).expect("the archive");
        let packed = packing.finish().expect("the report");
        let told: Vec<_> = packed
            .events
            .iter()
            .map(|event| (event.entry.as_ref().map(|entry| &entry.path[..]).unwrap_or_default(), &event.what))
            .collect();
        let (vanished, changed) = (EventKind::Source(SourceChange::Vanished), EventKind::Source(SourceChange::Changed));
        let want: [(&[u8], &EventKind); 5] =
            [(b"2000", &vanished), (b"2001", &changed), (b"2002", &changed), (b"2003", &changed), (b"./", &changed)];
        assert_eq!(told, want, "{readers} readers");
        let all = entries(&archive);
        assert_eq!(all.len(), 3001 - 4, "{readers} readers");
        let body = |name: &[u8]| &all.iter().find(|seen| seen.name == name).expect("an entry").body;
        assert_eq!((&body(b"2004")[..], &body(b"2999")[..]), (&b"another file"[..], &b"2999"[..]));
    }
}

#[test]
fn pack_rule_17_a_tree_at_rest_has_no_events_with_readers_either() {
    let scratch = Scratch::new();
    let root = many(&scratch, 1500);
    for readers in READERS {
        let (archive, packed) = pack(&root, with(readers, |options| options.changes = Tolerance::Fail));
        assert_eq!((packed.event_count, packed.entries.files, entries(&archive).len()), (0, 1500, 1501));
    }
}

/// The program says how many threads it starts.
fn threads_of(root: &Path, readers: &str) -> usize {
    let program = env!("CARGO_BIN_EXE_untar-in-root");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=clone,clone3", program, "pack", readers]).arg(root);
    let output = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let output = output.spawn().and_then(std::process::Child::wait_with_output).expect("strace");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CLONE_THREAD") && !line.contains("resumed>") && !line.contains("ENOSYS"))
        .count()
}

#[test]
fn few_files_and_one_reader_start_no_thread() {
    if !need_root() || !need_tools(&["strace"]) {
        return;
    }
    let (few, more) = (Scratch::new(), Scratch::new());
    let (few, more) = (many(&few, 30), many(&more, 1000));
    assert_eq!(threads_of(&few, "--readers=1"), threads_of(&few, "--readers=8"), "few files");
    let one = threads_of(&more, "--readers=1");
    let two = threads_of(&more, "--readers=2");
    assert_eq!(two, one + 1);
}
