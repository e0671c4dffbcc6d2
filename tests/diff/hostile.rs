//! Rule 26: somebody who owns the upper directory changes it all the time, as root, and forges marks in it.
//!
//! `UNTAR_ATTACK_SECONDS` (3) says for how long.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use untar_in_root::{Cause, Diff, ErrorKind, MarkProblem, PackOptions, Tolerance};

use super::{archive_of, between, cause, make, mark, over, written};
use crate::pack::generate::Random;
use crate::pack::hostile::{SECRET, change, seconds};
use crate::support::privilege::{need_mount, need_root};
use crate::support::scratch::Scratch;

const TARGETS: [&str; 8] =
    ["/d1", "f0", "/d0/f1", "/../outside/secret", "../../outside", "/l/secret", "/fifo", "/d2/f2/.."];

/// One mark of many, or one less.
fn forge(root: &Path, random: &mut Random) {
    let mut at = root.join(format!("d{}", random.below(4)));
    if random.below(2) == 0 {
        at.push(format!("f{}", random.below(6)));
    }
    let mark = ["opaque", "redirect", "metacopy", "whiteout"][usize::try_from(random.below(4)).expect("small")];
    let name = format!("trusted.overlay.{mark}");
    let to = TARGETS[usize::try_from(random.below(8)).expect("small")];
    let value = if mark == "redirect" { to } else { "y" };
    match random.below(4) {
        0 => drop(lsetxattr(&at, &name, value.as_bytes(), XattrFlags::empty())),
        1 => drop(mknod(&at, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))),
        _ => drop(lremovexattr(&at, &name)),
    }
}

/// `forges`: marks, too; a whiteout where there are none is refused, whatever else there is.
fn attacked(what: &str, forges: bool, diff: impl Fn(&Path, &Path) -> Diff) {
    let scratch = Scratch::new();
    let (root, outside) = (scratch.dir("root"), scratch.dir("outside"));
    fs::write(outside.join("secret"), SECRET).expect("secret");
    make(&scratch, "outside/dir", "f0");
    std::os::unix::fs::symlink(&outside, root.join("l")).expect("link");
    let lower = make(&scratch, "lower", "d0/ d0/f0 d0/f1=content d1/ d1/f2 d1/x/ d1/x/y d2/ d2/f3 d3");
    std::os::unix::fs::symlink(&outside, lower.join("l")).expect("link");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, lower.join("fifo"), fifo, 0o600.into(), 0).expect("FIFO");
    (0..4).for_each(|dir| fs::create_dir(root.join(format!("d{dir}"))).expect("directory"));
    let stop = Arc::new(AtomicBool::new(false));
    let attacker = {
        let (stop, root, outside) = (Arc::clone(&stop), root.clone(), outside.clone());
        std::thread::spawn(move || {
            let (mut random, mut changes) = (Random::new(12), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                change(&root, &outside, &mut random);
                if forges {
                    forge(&root, &mut random);
                }
                changes += 1;
            }
            changes
        })
    };
    let (begun, mut runs, mut whole, mut told) = (Instant::now(), 0, 0, 0);
    while begun.elapsed() < seconds() {
        let archive = match written(diff(&lower, &root)) {
            Ok((archive, packed)) => {
                whole += 1;
                told += packed.event_count;
                crate::pack::entries(&archive);
                archive
            }
            Err((error, archive)) => {
                let expected = matches!(error.kind(), ErrorKind::Entry | ErrorKind::Refused);
                assert!(expected, "{error}");
                archive
            }
        };
        assert!(!archive.windows(SECRET.len()).any(|bytes| bytes == SECRET), "{what}, run {runs}: it got out");
        runs += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let changes = attacker.join().expect("the attacker");
    println!("{what}: {runs} runs, {whole} whole, {changes} changes, {told} events");
    assert!(whole > 0 && runs > 1, "{what}: {runs} runs, {whole} whole");
}

fn told(o: &mut PackOptions) {
    o.changes = Tolerance::Tell;
    o.jail.limits.timeout = Some(Duration::from_secs(60));
}

#[test]
fn pack_rule_26_whoever_changes_an_upper_directory_and_forges_marks_gets_nothing_from_outside() {
    if !need_root() {
        return;
    }
    attacked("over a lower directory", true, |lower, root| over(root, &[lower.to_path_buf()], told));
    attacked("over nothing known", true, |_, root| over(root, &[], told));
    attacked("over a lower directory, strictly", true, |lower, root| {
        over(root, &[lower.to_path_buf()], |o| o.jail.limits.timeout = Some(Duration::from_secs(60)))
    });
}

#[test]
fn pack_rule_26_whoever_changes_what_is_compared_gets_nothing_from_outside() {
    if !need_root() {
        return;
    }
    attacked("compared", false, |lower, root| between(lower, root, told));
}

/// Beside a mounted overlay: what that shows of a metacopy is packed, and where it answers EIO the run fails.
#[test]
fn pack_rule_22_a_metacopy_that_overlayfs_refuses_is_refused() {
    if !need_root() || !need_mount() {
        return;
    }
    for (value, whole) in [("", true), ("\0\x04\0\0", true), ("y", false), ("yes", false)] {
        let scratch = Scratch::new();
        let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| scratch.dir(name));
        scratch.file("lower/f", "content");
        fs::File::create(upper.join("f")).and_then(|file| file.set_len(7)).expect("a file");
        mark(&upper.join("f"), "trusted.overlay.metacopy", value);
        let options =
            format!("metacopy=on,lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let status = std::process::Command::new("mount")
            .args(["-t", "overlay", "-o", &options, "overlay"])
            .arg(&merged)
            .status();
        assert!(status.expect("mount").success());
        let shown = fs::read(merged.join("f"));
        rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).expect("unmounting it");
        let packed = over(&upper, &[lower], |_| ());
        // Before 6.6 there were no digests, and overlayfs looked at no value.
        let refuses = shown.is_err();
        assert!(!refuses || shown.is_err_and(|error| error.raw_os_error() == Some(5)), "{value:?}");
        assert!(!(whole && refuses), "{value:?}");
        match whole {
            true => assert_eq!(crate::pack::entries(&archive_of(packed))[1].body, b"content", "{value:?}"),
            false => {
                let problem = MarkProblem::NoMetacopy;
                let want = Cause::OverlayMark { name: "trusted.overlay.metacopy".into(), what: problem };
                assert_eq!(cause(packed), want, "{value:?}");
            }
        }
    }
}
