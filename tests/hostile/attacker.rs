//! A live attacker: a process that moves things about inside the destination, and on the way to it, while
//! archives are applied.
//!
//! `UNTAR_ATTACK_SECONDS` says for how long in all; without it, a few seconds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use untar_in_root::{Error, ErrorKind, Isolation, Options};

use crate::support::privilege::{is_root, need_root};
use crate::support::run::{layer, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn seconds() -> Duration {
    let all = std::env::var("UNTAR_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(all.unwrap_or(6.0) / 4.0)
}

/// What the attacker does, over and over, on a directory that the archive writes to.
type Trick = fn(&Path, &Path, u64);

const TRICKS: &[Trick] = &[to_symlink, out_and_in, to_fifo, to_device, to_another, chmod_to_nothing, fill];

/// The directory becomes a symlink out, and itself again.
fn to_symlink(dir: &Path, outside: &Path, _: u64) {
    let aside = dir.with_extension("aside");
    if fs::rename(dir, &aside).is_ok() {
        _ = symlink(outside, dir);
        thread::yield_now();
        _ = fs::remove_file(dir);
        _ = fs::rename(&aside, dir);
    }
}

/// It is moved out of the destination, and in again.
fn out_and_in(dir: &Path, outside: &Path, round: u64) {
    let away = outside.with_file_name(format!("away-{round}"));
    if fs::rename(dir, &away).is_ok() {
        thread::yield_now();
        if fs::rename(&away, dir).is_err() {
            _ = fs::remove_dir_all(&away);
        }
    }
}

fn to_fifo(dir: &Path, _: &Path, _: u64) {
    for name in ["f0", "f1", "p", "l"] {
        _ = fs::remove_file(dir.join(name));
        _ = nix::unistd::mkfifo(&dir.join(name), Mode::from_bits_truncate(0o666));
    }
}

fn to_device(dir: &Path, _: &Path, _: u64) {
    for name in ["f0", "f2", "c", "l"] {
        _ = fs::remove_file(dir.join(name));
        _ = mknod(&dir.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5));
    }
}

/// Files become symlinks to the canaries.
fn to_another(dir: &Path, outside: &Path, _: u64) {
    for name in ["f0", "f1", "f2", "f3", "p", "d"] {
        let path = dir.join(name);
        if fs::remove_file(&path).is_err() {
            _ = fs::remove_dir_all(&path);
        }
        _ = symlink(outside.join("passwd"), &path);
    }
}

fn chmod_to_nothing(dir: &Path, _: &Path, _: u64) {
    _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o000));
}

fn fill(dir: &Path, _: &Path, round: u64) {
    for i in 0..20 {
        _ = fs::DirBuilder::new().mode(0o700).create(dir.join(format!("n{round}-{i}")));
    }
}

/// An archive that comes by the attacked directories again and again.
fn archive() -> Tarball {
    let mut tar = Tarball::new();
    for round in 0..6 {
        for dir in ["a", "a/b", "a/b/c", "z"] {
            tar = tar.dir(dir).with(|e| _ = e.mode(0o755).xattr("user.round", format!("{round}")));
            for i in 0..4 {
                tar = tar.file(format!("{dir}/f{i}"), "evil".repeat(500)).with(|e| _ = e.mode(0o4755).mtime(9));
            }
            tar = tar.symlink(format!("{dir}/s"), "../../etc").hardlink(format!("{dir}/l"), format!("{dir}/f0"));
            tar = tar.fifo(format!("{dir}/p")).with(|e| _ = e.mode(0o1666)).file(format!("{dir}/d/x"), "");
        }
        tar = tar.opaque("a/b").whiteout("z");
    }
    tar
}

/// Attacks these places while archives are applied; how the runs ended.
fn attack(
    what: &str,
    scratch: &Scratch,
    isolation: Isolation,
    targets: &[&str],
    run: impl Fn(&Path) -> Result<(), Error>,
) {
    // Fast, so that there are many runs.
    scratch.tmpfs("", 256 << 20).expect("tmpfs");
    let guarded = scratch.guarded();
    let dest = guarded.dest();
    let outside = dest.with_file_name("etc");
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicU64::new(0));
    // One trick at a time: an attacker that follows another's symlink would do the damage itself.
    let turn = Arc::new(Mutex::new(()));
    let attackers: Vec<_> = targets
        .iter()
        .map(|target| {
            let (dir, outside, dest) = (dest.join(target), outside.clone(), dest.clone());
            let (stop, rounds, turn) = (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&turn));
            thread::spawn(move || {
                let tricks: Vec<&Trick> = TRICKS
                    .iter()
                    .filter(|t| is_root() || !std::ptr::eq(**t as *const (), to_device as *const ()))
                    .collect();
                while !stop.load(Ordering::Relaxed) {
                    let turn = turn.lock().expect("turn");
                    let round = rounds.fetch_add(1, Ordering::Relaxed);
                    tricks[round as usize % tricks.len()](&dir, &outside, round);
                    if dir != dest {
                        _ = fs::create_dir_all(&dir);
                    }
                    drop(turn);
                    thread::sleep(Duration::from_micros(round % 400));
                }
            })
        })
        .collect();
    let (mut outcomes, mut slowest, mut runs) = (BTreeMap::<String, u64>::new(), Duration::ZERO, 0);
    let begun = Instant::now();
    while begun.elapsed() < seconds() {
        let one = Instant::now();
        let outcome = match run(&dest) {
            Ok(()) => "applied".to_owned(),
            Err(error) => {
                let kinds = [ErrorKind::Entry, ErrorKind::Refused, ErrorKind::Root];
                assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
                format!("{:?}", error.kind())
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
        slowest = slowest.max(one.elapsed());
        runs += 1;
    }
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|attacker| attacker.join().expect("attacker"));
    // What was moved out was the attacker's to move: it is taken away before the canaries are looked at.
    for left in fs::read_dir(dest.parent().expect("around")).expect("around").flatten() {
        if left.file_name().to_string_lossy().starts_with("away-") {
            _ = fs::remove_dir_all(left.path());
        }
    }
    let rounds = rounds.load(Ordering::Relaxed);
    println!("live attack, {what}, {isolation:?}: {runs} runs, {rounds} tricks, slowest {slowest:.2?}, {outcomes:?}");
    let damage: Vec<_> =
        guarded.damage().into_iter().filter(|line| !line.starts_with(". ") && !line.starts_with(".:")).collect();
    assert!(damage.is_empty(), "{what}: {damage:#?}");
    assert!(slowest < PATIENCE, "{what}: {slowest:?}");
}

#[test]
fn a_live_attacker_in_the_destination_changes_nothing_outside() {
    if !need_root() {
        return;
    }
    let archive = archive().build();
    for isolation in [Isolation::Pivot, Isolation::Chroot] {
        let scratch = Scratch::new();
        attack("in the destination", &scratch, isolation, &["a", "a/b", "z"], |dest| {
            let change = |options: &mut Options| {
                layer(options);
                options.jail.isolation = isolation;
            };
            untar(dest, change).apply(&archive[..]).map(drop)
        });
    }
}

#[test]
fn a_live_attacker_on_the_way_to_the_destination_changes_nothing_outside() {
    if !need_root() {
        return;
    }
    let archive = archive().build();
    for isolation in [Isolation::Pivot, Isolation::Chroot] {
        let scratch = Scratch::new();
        attack("on the way to it", &scratch, isolation, &["way", "way/to", "way/to/it"], |dest| {
            let change = |options: &mut Options| {
                layer(options);
                options.jail.isolation = isolation;
            };
            untar(dest, change).destination("way/to/it").apply(&archive[..]).map(drop)
        });
    }
}

/// Everything that an archive could give to one of these names, often.
fn special_files() -> Tarball {
    let with = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o4777).uid(1234).gid(1234).mtime(9);
    (0..200).fold(Tarball::new(), |tar, _| {
        let tar = tar.fifo("p").with(with).symlink("l", "t").with(with).char_dev("c", 1, 3).with(with);
        tar.dir("d").with(with).whiteout("d").file("f", "1").hardlink("h", "f")
    })
}

/// Another user's files, and root's, come to the names of what was just made.
#[test]
fn a_live_attacker_at_the_names_of_special_files_has_nothing_given_away() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    scratch.tmpfs("", 256 << 20).expect("tmpfs");
    let (dest, outside) = (scratch.dir("dest"), scratch.dir("outside"));
    let program = scratch.file("outside/program", "root's");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("victim");
    let fifo = outside.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).expect("victim");
    std::os::unix::fs::chown(&fifo, Some(65_534), Some(65_534)).expect("victim");
    let victims = [program, fifo];
    let before = victims.each_ref().map(|path| given(path));
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (dest, victims, stop) = (dest.clone(), victims.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                for name in ["p", "l", "c", "h"] {
                    let (path, aside) = (dest.join(name), dest.join("aside"));
                    if fs::rename(&path, &aside).is_ok() {
                        swaps += u64::from(fs::hard_link(&victims[swaps as usize % 2], &path).is_ok());
                    }
                }
            }
            swaps
        })
    };
    let archive = special_files().build();
    let (mut outcomes, begun) = (BTreeMap::<String, u64>::new(), Instant::now());
    while begun.elapsed() < seconds() {
        let outcome = match untar(&dest, layer).apply(&archive[..]) {
            Ok(_) => "applied".to_owned(),
            Err(error) => format!("{:?} {:?}", error.kind(), error.raw_os_error()),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapper.join().expect("swapper");
    println!("live attack, at the names of special files: {swaps} swaps, {outcomes:?}");
    assert_eq!(victims.each_ref().map(|path| given(path)), before, "{swaps} swaps, {outcomes:?}");
}

/// All that can be given to a file.
fn given(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let stat = fs::symlink_metadata(path).expect("victim");
    format!("{:o} {}:{} {}.{}", stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.mtime_nsec())
}
