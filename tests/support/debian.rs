//! A real Debian root file system, made once by apt and kept for all tests.
//!
//! It lies in `$UNTAR_FIXTURES`, or in `debian-root/` beside the build; `debian-root.sh` makes it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use super::privilege;

/// Raise it when one of the scripts `debian-*.sh` makes something else: then the cache is made anew.
const VERSION: &str = "2";

/// The archives.
pub struct Debian {
    dir: PathBuf,
}

impl Debian {
    /// The root file system as a tar of this suffix: `tar`, `tar.gz`, `tar.zst` or `tar.xz`.
    pub fn root(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("root.{suffix}"))
    }

    /// Layer 1 or 2 on top of the root, with whiteouts.
    pub fn layer(&self, number: u32) -> PathBuf {
        self.dir.join(format!("layer{number}.tar"))
    }

    /// What is there after that many layers, as a plain tar for GNU tar to unpack.
    /// Times of directories that no layer lists are not the same.
    pub fn expected(&self, layers: u32) -> PathBuf {
        self.dir.join(format!("expected{layers}.tar"))
    }

    /// What a script makes of the root, in a directory of this name.
    fn below(&self, name: &str, script: &str) -> PathBuf {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let lock = File::create(dir.join("lock")).expect("lock file");
        flock(&lock, FlockOperation::LockExclusive).expect("lock");
        if !is_made(&dir) {
            run_script(script, &[&self.root("tar"), &dir]);
            fs::write(dir.join("made"), VERSION).expect("mark");
        }
        dir
    }
}

/// The Debian root file system; None (after saying so) where it cannot be made.
///
/// # Panics
/// When making it fails.
pub fn debian() -> Option<&'static Debian> {
    static MADE: OnceLock<Debian> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Some(made);
    }
    let dir = cache_dir();
    // Made by an earlier run: then no tool and no privilege is needed to use it.
    if !is_made(&dir) && !can_make() {
        return None;
    }
    Some(MADE.get_or_init(|| make(dir)))
}

/// An image of that root and packages on it; `debian-image.sh` says what is where. Its tools must be there.
///
/// # Panics
/// When making it fails.
pub fn debian_image(debian: &Debian) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| debian.below("image", "debian-image.sh")).clone()
}

/// Two more, by other producers; `debian-others.sh` says what is where. Its tools must be there.
///
/// # Panics
/// When making them fails.
pub fn debian_others(debian: &Debian) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| debian.below("others", "debian-others.sh")).clone()
}

fn can_make() -> bool {
    privilege::need_root() && privilege::need_tools(&["mmdebstrap", "apt-get", "tar", "gzip", "zstd", "xz", "getcap"])
}

fn cache_dir() -> PathBuf {
    let beside_build =
        || Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target directory").join("debian-root");
    env::var_os("UNTAR_FIXTURES").map_or_else(beside_build, PathBuf::from)
}

fn is_made(dir: &Path) -> bool {
    fs::read_to_string(dir.join("made")).is_ok_and(|version| version.trim() == VERSION)
}

/// Concurrent tests, and concurrent runs, wait for the first.
fn make(dir: PathBuf) -> Debian {
    // Looking before locking: whoever cannot write here may still use what is there.
    if is_made(&dir) {
        return Debian { dir };
    }
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let lock = File::create(dir.join("lock")).expect("lock file");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    if !is_made(&dir) {
        run_script("debian-root.sh", &[&dir]);
        fs::write(dir.join("made"), VERSION).expect("mark");
    }
    Debian { dir }
}

fn run_script(name: &str, words: &[&Path]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support").join(name);
    let output = Command::new("bash").arg(script).args(words).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.lines().rev().take(20).collect();
    assert!(output.status.success(), "{name}: {}, last words first: {last:#?}", output.status);
}
