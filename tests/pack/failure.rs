//! Rule 25: after a failure nobody takes what has come for a whole archive.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use untar_in_root::{Encoding, Error, ErrorKind, Limit, PackOptions, Program, Untar};

use super::readers::{READERS, reads};
use super::{pack, packer, plain, try_pack};
use crate::support::expected::Expected;
use crate::support::privilege::need_tool;
use crate::support::process::wait_until;
use crate::support::run::{program, program_after};
use crate::support::scratch::Scratch;

const LARGE: u64 = 64 << 20;

fn tree(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("root");
    for name in ["a", "b", "c"] {
        scratch.file(format!("root/{name}"), name.repeat(1000));
    }
    root
}

/// Each reader refuses it, ours too.
#[track_caller]
pub fn is_not_whole(what: &str, archive: &[u8]) {
    let scratch = Scratch::new();
    let file = scratch.file("archive", archive);
    for reader in READERS {
        assert_ne!(reads(reader, &file), Some(true), "{what}: {reader} takes {} bytes for whole", archive.len());
    }
    let untar = Untar::open(scratch.dir("dest")).expect("destination").program(program());
    assert!(untar.apply(archive).is_err(), "{what}: ours takes {} bytes for whole", archive.len());
}

#[test]
fn pack_rule_25_a_failure_between_two_entries_or_inside_one() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    type Change = fn(&mut PackOptions);
    let limits: [(Limit, Change); 6] = [
        (Limit::Entries, |o| o.limits.entries = 2),
        (Limit::TotalBytes, |o| o.limits.total_bytes = 5_000),
        (Limit::FileBytes, |o| o.limits.file_bytes = 999),
        (Limit::NameBytes, |o| o.limits.name_bytes = 1),
        (Limit::Depth, |o| o.limits.depth = 0),
        (Limit::ExtendedHeaderBytes, |o| o.limits.extended_header_bytes = 0),
    ];
    rustix::fs::setxattr(root.join("b"), "user.x", b"y", rustix::fs::XattrFlags::CREATE).expect("attribute");
    for (limit, change) in limits {
        let (error, archive) = try_pack(&root, change).expect_err("a limit");
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        Expected::Limit(limit).assert_of(&error);
        assert!(!archive.is_empty(), "{limit:?}");
        is_not_whole(&format!("{limit:?}"), &archive);
    }
    for encoding in [Encoding::Gzip { level: 6 }, Encoding::Zstd { level: 3 }] {
        let (_, archive) = try_pack(&root, |o| (o.limits.entries, o.encoding) = (2, encoding)).expect_err("a limit");
        is_not_whole("compressed", &archive);
    }
}

/// Some readers miss no padding, and most no end marker.
#[test]
fn pack_rule_25_a_limit_that_ends_in_padding_or_in_the_end_marker() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (whole, _) = pack(&root, |_| ());
    // The last entry has 24 bytes of padding behind its 1,000.
    for short in [1, 511, 512, 1023, 1024, 1025, 1036, 1047, 1048, 1049] {
        let most = whole.len() as u64 - short;
        for encoding in [Encoding::None, Encoding::Gzip { level: 1 }] {
            let change = |o: &mut PackOptions| (o.limits.total_bytes, o.encoding) = (most, encoding);
            let (error, archive) = try_pack(&root, change).expect_err("a limit");
            Expected::Limit(Limit::TotalBytes).assert_of(&error);
            assert!(!archive.is_empty(), "{short} bytes short, {encoding:?}");
            is_not_whole(&format!("{short} bytes short, {encoding:?}"), &archive);
        }
    }
}

/// What has come of a packing that fails, and the error that was inside.
fn read_to_failure(mut packing: untar_in_root::Packing, mut archive: Vec<u8>) -> (Vec<u8>, Error) {
    let failed = packing.read_to_end(&mut archive).expect_err("never an end of file");
    let error = *failed.into_inner().expect("an error inside").downcast::<Error>().expect("ours");
    (archive, error)
}

#[test]
fn pack_rule_25_a_helper_that_is_killed_is_no_end_of_file() {
    for kill_at in [1, 300_000, 5 << 20, 40 << 20] {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
        // It tells its number before it becomes the helper.
        let told = scratch.join("pid");
        let program = program_after(&scratch, &format!("echo $$ > {}", told.display()));
        let mut packing = packer(&root, |o| o.dense = true).program(program).spawn().expect("a helper");
        let mut archive = vec![0; kill_at];
        packing.read_exact(&mut archive).expect("the beginning");
        let pid = fs::read_to_string(&told).expect("a number").trim().to_owned();
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        let (archive, error) = read_to_failure(packing, archive);
        assert_eq!(error.kind(), ErrorKind::Helper, "{error}");
        assert!((archive.len() as u64) < LARGE);
        is_not_whole("killed", &archive);
    }
}

#[test]
fn pack_rule_25_a_helper_that_ends_without_a_word_is_an_error() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    // It writes what looks whole.
    let (whole, _) = pack(&root, plain);
    let whole = scratch.file("whole", whole);
    let program = program_after(&scratch, &format!("cat {} >&0; exit 0", whole.display()));
    let packing = packer(&root, plain).program(program).spawn().expect("a helper");
    let (_, error) = read_to_failure(packing, Vec::new());
    assert_eq!(error.kind(), ErrorKind::Helper, "{error}");
    let missing = packer(&root, plain).program(Program::at("/nonexistent")).spawn();
    assert_eq!(missing.expect_err("no such program").kind(), ErrorKind::Helper);
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (read.into(), write.into())
}

#[test]
fn pack_rule_25_a_reader_that_leaves_is_an_error() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
    let (read, write) = pipe();
    let leaves = std::thread::spawn(move || drop(File::from(read).read_exact(&mut [0; 100_000])));
    let error = packer(&root, |o| o.dense = true).to_fd(write).expect_err("nobody reads");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Write, Some(32)), "{error}");
    leaves.join().expect("the reader");
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(packer(&root, plain).to(Full).expect_err("a full writer").kind(), ErrorKind::Write);
}

#[test]
fn pack_rule_25_a_reader_that_stalls_is_bounded_by_the_time_limit() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
    let (read, write) = pipe();
    let pack = packer(&root, |o| o.dense = true).timeout(Duration::from_millis(300));
    let error = pack.to_fd(write).expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    Expected::Limit(Limit::Timeout).assert_of(&error);
    drop(read);
}

/// What was packed before may end just where a block of the encoder's does.
#[test]
fn pack_rule_25_the_time_limit_leaves_no_whole_archive_either() {
    if !need_tool("python3") {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/a", vec![b'x'; (256 << 10) - 512]);
    let held = scratch.file("root/b", "content");
    let holder = "import fcntl,os,signal,sys\n\
        fd=os.open(sys.argv[1],os.O_RDWR)\n\
        signal.signal(signal.SIGIO,signal.SIG_IGN)\n\
        fcntl.fcntl(fd,fcntl.F_SETLEASE,fcntl.F_WRLCK)\n\
        print('held',flush=True)\n\
        sys.stdin.read()\n";
    let mut command = Command::new("python3");
    command.args(["-c", holder]).arg(&held).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python3");
    child.stdout.take().expect("output").read_exact(&mut [0; 5]).expect("a word");
    for encoding in [Encoding::None, Encoding::Gzip { level: 1 }, Encoding::Zstd { level: 1 }] {
        let change = |o: &mut PackOptions| (o.encoding, o.no_root, o.whole_seconds) = (encoding, true, true);
        let mut archive = Vec::new();
        let limited = packer(&root, change).timeout(Duration::from_secs(1));
        let error = limited.to(&mut archive).expect_err("a time limit");
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        is_not_whole(&format!("{encoding:?}"), &archive);
    }
    drop(child.stdin.take());
    child.wait().expect("its end");
}

#[test]
fn pack_rule_25_a_full_disk_is_an_error() {
    use crate::support::privilege::need_mount;
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    scratch.file("root/d", [7; 300_000]);
    let small = scratch.tmpfs("small", 64 << 10).expect("tmpfs");
    let file = File::create(small.join("archive")).expect("file");
    let error = packer(&root, plain).to_fd(file).expect_err("full");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Storage, Some(28)), "{error}");
    // The root's file system has room.
    assert_eq!(error.failure().and_then(untar_in_root::Failure::advice), None, "{error}");
    is_not_whole("a full disk", &fs::read(small.join("archive")).expect("what there is"));
}

#[test]
fn pack_rule_25_cancelled_and_dropped() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
    let mut packing = packer(&root, |o| o.dense = true).spawn().expect("a helper");
    packing.read_exact(&mut [0; 1000]).expect("the beginning");
    packing.canceller().cancel();
    let (_, error) = read_to_failure(packing, Vec::new());
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");

    let told = scratch.join("pid");
    let program = program_after(&scratch, &format!("echo $$ > {}", told.display()));
    let mut packing = packer(&root, |o| o.dense = true).program(program).spawn().expect("a helper");
    packing.read_exact(&mut [0; 1000]).expect("the beginning");
    let pid = fs::read_to_string(&told).expect("a number").trim().to_owned();
    drop(packing);
    wait_until("the helper is gone", || !Path::new("/proc").join(&pid).exists());
}

#[test]
fn taken_apart_only_the_outcome_says_that_it_is_whole() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let parts = packer(&root, plain).spawn().expect("a helper").into_parts().expect("parts");
    let mut pending = parts.pending;
    let mut pipe = File::from(parts.pipe);
    let mut archive = Vec::new();
    // It does not wait, so whoever reads must.
    while !pending.is_over() {
        let _ = pipe.read_to_end(&mut archive);
    }
    let _ = pipe.read_to_end(&mut archive);
    let packed = pending.wait().expect("the report");
    assert_eq!((packed.blob_size, &archive), (archive.len() as u64, &pack(&root, plain).0));
}
