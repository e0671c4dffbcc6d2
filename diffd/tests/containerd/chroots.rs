//! The two Debian roots, made once and kept beside the build: `make` beside this file says what is in them.

use crate::support::privilege::{need_root, need_tools};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Raise it when `make` makes something else.
const VERSION: &str = "1";

/// A Debian, and with it a containerd and a Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// containerd 1.7, Docker 26.
    Trixie,
    /// containerd 2.1 or newer, Docker 28 or newer.
    Forky,
}

pub const RELEASES: [Release; 2] = [Release::Trixie, Release::Forky];

impl Release {
    pub fn name(self) -> &'static str {
        match self {
            Release::Trixie => "trixie",
            Release::Forky => "forky",
        }
    }

    /// What its configuration is written in.
    pub fn config_version(self) -> u8 {
        match self {
            Release::Trixie => 2,
            Release::Forky => 3,
        }
    }
}

/// The root of this release; None (after saying so) where it cannot be had.
///
/// # Panics
/// When making it fails.
pub fn chroot(release: Release) -> Option<PathBuf> {
    if !need_root() || !need_tools(&["unshare", "nsenter", "setpriv"]) {
        return None;
    }
    let root = cache_dir().join(release.name());
    if !is_made(&root) && !need_tools(&["mmdebstrap", "apt-get"]) {
        return None;
    }
    // What has failed once takes as long again, and fails again: each test says so at once.
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(make);
    assert_eq!(*made, Ok(()), "the roots could not be made");
    Some(root)
}

fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target directory").join("containerd")
}

fn is_made(root: &Path) -> bool {
    fs::read_to_string(root.with_extension("made")).is_ok_and(|version| version == VERSION)
}

/// All that lack, at the same time: most of it is waiting for the mirror. Concurrent runs wait for the first.
fn make() -> Result<(), String> {
    let roots = RELEASES.map(|release| (release, cache_dir().join(release.name())));
    if roots.iter().all(|(_, root)| is_made(root)) {
        return Ok(());
    }
    fs::create_dir_all(cache_dir()).expect("directory");
    let lock = File::create(cache_dir().join("lock")).expect("lock file");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    std::thread::scope(|scope| {
        let lacking = roots.iter().filter(|(_, root)| !is_made(root));
        let threads: Vec<_> = lacking.map(|(release, root)| scope.spawn(|| make_one(*release, root))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread"))
    })
}

fn make_one(release: Release, root: &Path) -> Result<(), String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containerd/make");
    let output = Command::new(script).arg(release.name()).arg(root).output().expect("make");
    if !output.status.success() {
        return Err(format!("{}: {}", release.name(), String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(root.with_extension("made"), VERSION).expect("mark");
    Ok(())
}
