//! Temporary directories that hold hostile trees, and canaries around a destination.

mod memory;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};

use super::tree::{self, Tree};

/// A directory that is gone with the value, whatever was put into it and mounted on it.
pub struct Scratch {
    path: PathBuf,
    /// The place in the temporary directory: the same, or that of a file system in memory with it in.
    place: PathBuf,
}

impl Scratch {
    /// An empty directory, mode 0755: in memory where that can be had, else, or if there is a `$TMPDIR`, there.
    ///
    /// # Panics
    /// When there is no temporary directory to be had.
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("untar-in-root-").tempdir().expect("temporary directory").keep();
        let place = place.canonicalize().expect("temporary directory");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mode of the temporary directory");
        if !memory::is_as_good() {
            return Scratch { path: place.clone(), place };
        }
        memory::mount_at(&place, "mode=0755").expect("tmpfs");
        // Not the mount itself: what is mounted on a scratch directory is a test's own.
        let path = place.join("s");
        fs::create_dir(&path).expect("scratch directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode of the scratch directory");
        Scratch { path, place }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A new directory below it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A new file below it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// A tmpfs of this size below it; an error without the right to mount.
    pub fn tmpfs(&self, name: &str, bytes: u64) -> io::Result<PathBuf> {
        let path = self.dir(name);
        memory::mount_at(&path, &format!("size={bytes},mode=0755"))?;
        Ok(path)
    }

    /// A directory below it on a btrfs in a file in memory, which may hold so many bytes: its quota is enforced.
    ///
    /// # Panics
    /// When it cannot be made: it takes root, `mkfs.btrfs`, `btrfs` and a loop device.
    pub fn with_quota(&self, name: &str, bytes: u64) -> PathBuf {
        let memory = self.tmpfs(&format!("{name}-memory"), 512 << 20).expect("tmpfs");
        let (image, place) = (memory.join("image"), self.dir(format!("{name}-btrfs")));
        fs::File::create(&image).and_then(|file| file.set_len(256 << 20)).expect("image");
        let directory = place.join(name);
        let run = |words: &[&str], last: &[&Path]| {
            let output = Command::new(words[0]).args(&words[1..]).args(last).output().expect("a tool");
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["mkfs.btrfs", "-q"], &[&image]);
        run(&["mount", "-o", "loop"], &[&image, &place]);
        run(&["btrfs", "quota", "enable"], &[&place]);
        run(&["btrfs", "subvolume", "create"], &[&directory]);
        run(&["btrfs", "qgroup", "limit", &bytes.to_string()], &[&directory]);
        directory
    }

    /// Directories of this name in each other, so many, and a file `end` in the last: deeper than any path.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn chain(&self, start: &str, name: &str, depth: usize) -> PathBuf {
        use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
        let top = self.dir(start);
        let mut here = open(&top, OFlags::DIRECTORY, Mode::empty()).expect("start");
        for _ in 0..depth {
            mkdirat(&here, name, Mode::RWXU).expect("mkdir");
            here = openat(&here, name, OFlags::DIRECTORY, Mode::empty()).expect("open");
        }
        openat(&here, "end", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("end");
        top
    }

    /// A destination among things that must not change.
    pub fn guarded(&self) -> Guarded<'_> {
        Guarded::new(self)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for place in mounts_below(&self.place).iter().rev() {
            _ = unmount(place, UnmountFlags::DETACH);
        }
        // What was in memory is gone already, of which a disk takes its time.
        if self.path != self.place && fs::remove_dir(&self.place).is_ok() {
            return;
        }
        // Directories of mode 0000 first, for those who are not root; both tools take any depth.
        run_quietly(Command::new("chmod").args(["-R", "u+rwx", "--"]).arg(&self.place));
        run_quietly(Command::new("rm").args(["-rf", "--"]).arg(&self.place));
    }
}

fn run_quietly(command: &mut Command) {
    _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// What is mounted at or below this directory, outer mounts first.
pub fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|p| PathBuf::from(unescape(p)));
    places.filter(|place| place.starts_with(path)).collect()
}

/// mountinfo writes blanks and backslashes in octal.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The destination `guarded/dest`, with canaries beside it and above it.
pub struct Guarded<'a> {
    scratch: &'a Scratch,
    before: Tree,
}

impl<'a> Guarded<'a> {
    fn new(scratch: &'a Scratch) -> Self {
        scratch.dir("guarded/dest");
        scratch.dir("guarded/etc");
        scratch.dir("guarded/dest-and-more");
        for name in ["victim", "guarded/victim", "guarded/etc/passwd", "guarded/dest-and-more/victim"] {
            put_canary(&scratch.file(name, format!("canary of {name}\n")));
        }
        fs::hard_link(scratch.join("victim"), scratch.join("guarded/hardlink")).expect("canary");
        symlink("victim", scratch.join("guarded/symlink")).expect("canary");
        let before = Self::outside(scratch);
        Guarded { scratch, before }
    }

    /// Where to unpack.
    pub fn dest(&self) -> PathBuf {
        self.scratch.join("guarded/dest")
    }

    /// What has changed outside the destination since; `atime` alone is not looked at.
    pub fn damage(&self) -> Vec<String> {
        tree::compare_all(&Self::outside(self.scratch), &self.before, &[])
    }

    /// Fail if anything has changed.
    #[track_caller]
    pub fn assert_untouched(&self) {
        let damage = self.damage();
        assert!(damage.is_empty(), "outside the destination (now / before): {damage:#?}");
    }

    /// The test's own files at the top of the scratch directory do not count, the canaries do.
    fn outside(scratch: &Scratch) -> Tree {
        let mut tree = Tree::read_except(&scratch.join("guarded"), &["dest"]);
        let top = fs::symlink_metadata(scratch.join("victim"))
            .map_or_else(|e| e.to_string(), |m| format!("{} {:o} {}.{}", m.ino(), m.mode(), m.ctime(), m.ctime_nsec()));
        tree.note("victim-above", &top);
        tree
    }
}

fn put_canary(path: &Path) {
    // Not every file system has user attributes: the canary sings without, too.
    _ = rustix::fs::setxattr(path, "user.canary", b"alive", rustix::fs::XattrFlags::CREATE);
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).expect("canary");
}
