//! Random trees: each type, links among them, holes, attributes, owners, odd names. The same seed makes the same tree.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat};

use crate::support::scratch::Scratch;

/// SplitMix64: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

const SIZES: [u64; 12] = [0, 1, 511, 512, 513, 4096, 131_071, 131_072, 131_073, 262_144, 262_145, 700_001];
const NAMES: [&[u8]; 12] =
    [b"a", b"b", b"long-name", b"-", b"a b", b"\xff\xfe", b"n\nl", b"\\", b"\xc3\xa9", b"%20", b"=", b".wh.x"];

const TARGETS: [&[u8]; 5] = [b"a", b"../../..", b"/etc/passwd", &[b't'; 150], b"\xff"];

/// Makes a tree of this seed below the scratch directory; it takes root.
pub fn tree(scratch: &Scratch, name: &str, seed: u64) -> PathBuf {
    made(scratch, name, seed, 40, &NAMES, &TARGETS)
}

/// One with so many entries.
pub fn large_tree(scratch: &Scratch, name: &str, seed: u64, entries: u64) -> PathBuf {
    made(scratch, name, seed, entries, &NAMES, &TARGETS)
}

/// The same with names that bsdtar does not complain of.
pub fn tree_with_plain_names(scratch: &Scratch, name: &str, seed: u64) -> PathBuf {
    made(scratch, name, seed, 40, &NAMES[..5], &TARGETS[..4])
}

fn made(
    scratch: &Scratch,
    name: &str,
    seed: u64,
    entries: u64,
    names: &'static [&'static [u8]],
    targets: &'static [&'static [u8]],
) -> PathBuf {
    let root = scratch.dir(name);
    let mut making = Making {
        names,
        targets,
        random: Random::new(seed),
        root: root.clone(),
        dirs: vec![root.clone()],
        others: Vec::new(),
    };
    for number in 0..entries {
        making.one(number);
    }
    making.give_all();
    root
}

struct Making {
    names: &'static [&'static [u8]],
    targets: &'static [&'static [u8]],
    random: Random,
    root: PathBuf,
    dirs: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Making {
    fn place(&mut self, number: u64) -> PathBuf {
        let dir = self.random.one(&self.dirs).clone();
        let mut name = self.random.one::<&[u8]>(self.names).to_vec();
        if self.random.below(12) == 0 {
            name = vec![b'x'; 240];
        }
        name.extend(number.to_string().into_bytes());
        dir.join(OsStr::from_bytes(&name))
    }

    fn one(&mut self, number: u64) {
        let path = self.place(number);
        match self.random.below(16) {
            0..=3 => {
                fs::create_dir(&path).expect("directory");
                self.dirs.push(path);
                return;
            }
            4..=8 => self.file(&path),
            9 => self.sparse(&path),
            10 | 11 => {
                symlink(OsStr::from_bytes(self.random.one::<&[u8]>(self.targets)), &path).expect("link");
            }
            12 => mknodat(CWD, &path, FileType::Fifo, 0o600.into(), 0).expect("fifo"),
            13 => {
                let kind = *self.random.one(&[SFlag::S_IFCHR, SFlag::S_IFBLK]);
                let device = makedev(self.random.below(4096), self.random.below(1 << 20));
                mknod(&path, kind, Mode::S_IRUSR, device).expect("device");
            }
            _ if !self.others.is_empty() => {
                let to = self.random.one(&self.others).clone();
                fs::hard_link(to, &path).expect("link");
            }
            _ => self.file(&path),
        }
        self.others.push(path);
    }

    fn file(&mut self, path: &Path) {
        let size = usize::try_from(*self.random.one(&SIZES)).expect("small");
        let byte = u8::try_from(self.random.below(255)).expect("a byte") + 1;
        fs::write(path, vec![byte; size]).expect("file");
    }

    fn sparse(&mut self, path: &Path) {
        let file = File::create(path).expect("file");
        file.set_len(self.random.below(1 << 22)).expect("size");
        for _ in 0..self.random.below(4) {
            let at = self.random.below(1 << 10) * 4096;
            file.write_all_at(&[9; 4096], at).expect("content");
        }
    }

    /// Owners, modes, attributes, times: of directories last, the deepest first.
    fn give_all(&mut self) {
        let paths: Vec<_> = self.others.clone().into_iter().chain(self.dirs.clone().into_iter().rev()).collect();
        for path in &paths {
            self.give(path);
        }
        for path in paths {
            let second = i64::try_from(self.random.below(4_000_000_000)).expect("small");
            let nanosecond = if self.random.below(3) == 0 { 0 } else { self.random.below(1_000_000_000).cast_signed() };
            let time = Timespec { tv_sec: second, tv_nsec: nanosecond };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
        }
    }

    fn give(&mut self, path: &Path) {
        let kind = fs::symlink_metadata(path).expect("stat").file_type();
        let ids = [0, 1000, 65_534, 1 << 21, u32::MAX - 1];
        lchown(path, Some(*self.random.one(&ids)), Some(*self.random.one(&ids))).expect("owner");
        if !kind.is_symlink() {
            let modes = [0o644, 0o755, 0o4755, 0o2711, 0o1777, 0, 0o7777];
            fs::set_permissions(path, fs::Permissions::from_mode(*self.random.one(&modes))).expect("mode");
        }
        if !(kind.is_file() || kind.is_dir()) {
            return;
        }
        for name in ["user.x", "user.a=b", "user.p%25"] {
            if self.random.below(4) == 0 {
                lsetxattr(path, name, b"\0value\n", XattrFlags::empty()).expect("attribute");
            }
        }
        if self.random.below(6) == 0 {
            let acl = super::generate::acl(u32::try_from(self.random.below(5000)).expect("small"));
            lsetxattr(path, "system.posix_acl_access", &acl, XattrFlags::empty()).expect("ACL");
            if kind.is_dir() {
                lsetxattr(path, "system.posix_acl_default", &acl, XattrFlags::empty()).expect("ACL");
            }
        }
        if kind.is_file() && self.random.below(6) == 0 {
            let words = [0x0200_0001_u32, 1, 0, 0, 0];
            let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
            lsetxattr(path, "security.capability", &value, XattrFlags::empty()).expect("capability");
        }
        let _ = &self.root;
    }
}

/// `user::rwx,user:ID:r-x,group::r--,mask::r-x,other::---` as the kernel has it.
pub fn acl(user: u32) -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 5, user), (4, 4, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)];
    let each = entries
        .iter()
        .flat_map(|(tag, bits, id)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    2_u32.to_le_bytes().into_iter().chain(each).collect()
}
