//! Rule 26: somebody who owns the tree changes it all the time, as root.
//!
//! `UNTAR_ATTACK_SECONDS` (3) says for how long.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{CWD, FileType, RenameFlags, mknodat, renameat_with};
use untar_in_root::{ErrorKind, Isolation, UserNamespace};

use super::generate::Random;
use super::{entries, try_pack};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;

pub const SECRET: &[u8] = b"what only the host has";

pub fn seconds() -> Duration {
    let text = std::env::var("UNTAR_ATTACK_SECONDS").ok();
    Duration::from_secs(text.and_then(|text| text.parse().ok()).unwrap_or(3))
}

/// One change of many.
pub fn change(root: &Path, outside: &Path, random: &mut Random) {
    let name = |random: &mut Random| root.join(format!("d{}", random.below(4))).join(format!("f{}", random.below(6)));
    let (path, other) = (name(random), name(random));
    let swap = |a: &Path, b: &Path| _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
    match random.below(10) {
        0 => drop(fs::remove_file(&path)),
        1 => {
            let content = vec![7; usize::try_from(random.below(400_000)).expect("small")];
            _ = open(&path, true).and_then(|mut file| file.write_all(&content));
        }
        2 => drop(open(&path, false).and_then(|file| file.set_len(random.below(1000)))),
        3 => drop(symlink(outside.join("secret"), &path)),
        4 => drop(mknodat(CWD, &path, FileType::Fifo, 0o600.into(), 0)),
        5 => drop(mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5))),
        6 => swap(&path, &other),
        7 => swap(&root.join(format!("d{}", random.below(4))), &outside.join("dir")),
        8 => swap(&root.join(format!("d{}", random.below(4))), &root.join("l")),
        _ => drop(open(&path, false).and_then(|file| file.write_all_at(b"x", random.below(9)))),
    }
}

/// Never waiting for who reads a FIFO, never through a link.
fn open(path: &Path, make: bool) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW;
    File::options().write(true).create(make).truncate(make).custom_flags(flags).open(path)
}

#[test]
fn pack_rule_26_a_live_attacker_gets_nothing_from_outside_and_holds_nothing_up() {
    if !need_root() {
        return;
    }
    for (isolation, namespace) in [(Isolation::Pivot, UserNamespace::Never), (Isolation::Chroot, UserNamespace::Never)]
    {
        let scratch = Scratch::new();
        let (root, outside) = (scratch.dir("root"), scratch.dir("outside"));
        fs::write(outside.join("secret"), SECRET).expect("secret");
        fs::create_dir(outside.join("dir")).expect("directory");
        fs::write(outside.join("dir/f0"), "moved in by whoever may").expect("file");
        symlink(&outside, root.join("l")).expect("link");
        (0..4).for_each(|dir| fs::create_dir(root.join(format!("d{dir}"))).expect("directory"));
        let stop = Arc::new(AtomicBool::new(false));
        let attacker = {
            let (stop, root, outside) = (Arc::clone(&stop), root.clone(), outside.clone());
            std::thread::spawn(move || {
                let (mut random, mut changes) = (Random::new(11), 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    change(&root, &outside, &mut random);
                    changes += 1;
                }
                changes
            })
        };
        let (begun, mut runs, mut told) = (Instant::now(), 0, 0);
        while begun.elapsed() < seconds() {
            let packed = try_pack(&root, |o| {
                o.jail.isolation = isolation;
                o.jail.user_namespace = namespace.clone();
                o.jail.limits.timeout = Some(Duration::from_secs(60));
            });
            let archive = match packed {
                Ok((archive, packed)) => {
                    told += packed.event_count;
                    entries(&archive);
                    archive
                }
                Err((error, archive)) => {
                    assert!(matches!(error.kind(), ErrorKind::Entry), "{error}");
                    archive
                }
            };
            assert!(!archive.windows(SECRET.len()).any(|bytes| bytes == SECRET), "run {runs}: it got out");
            runs += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let changes = attacker.join().expect("the attacker");
        println!("packing, {isolation:?}: {runs} runs, {changes} changes, {told} events");
        assert!(runs > 1 && told > 0, "{runs} runs, {told} events");
    }
}
