//! File systems on which the inode number of a directory changes once nobody holds it: an overlayfs over several others,
//! FUSE, vfat, CIFS. What was left there is held by its path alone (`O_PATH`), as far as descriptors go, and is opened
//! again through that, whoever has moved it. Beyond them it is looked at anew: an inode number would say nothing, so it
//! must have the owner and the mode that it was left with, which nobody else can give it.

use crate::helper::fault::{Attempt, Result, on};
use crate::helper::sys::fstat;
use crate::report::{Call, Descriptor};
use nix::sys::stat::FileStat;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// `f_type` of `statfs(2)`.
const RENUMBERING: [u64; 9] = [
    0x794c_7630, // overlayfs
    0x6173_7566, // aufs
    FUSE,
    0x4d44,      // vfat, msdos
    0x2011_bab0, // exFAT
    0x0102_1997, // 9p
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x786f_4256, // vboxsf
];

/// virtiofs, too.
const FUSE: u64 = 0x6573_5546;

/// What a directory was given, to be told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    owner: (u32, u32),
    mode: u32,
}

impl Given {
    pub(super) fn of(stat: &FileStat) -> Given {
        Given { owner: (stat.st_uid, stat.st_gid), mode: stat.st_mode }
    }
}

/// The directories that are held so, the one left longest ago first.
#[derive(Default)]
pub(super) struct Anchors {
    list: VecDeque<u32>,
    most: usize,
    /// What is known of each file system by its device number: a run sees few.
    known: Vec<(u64, bool)>,
}

impl Anchors {
    pub(super) fn bound(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes one in; the one that has to go for it, and false if there may be none at all.
    pub(super) fn take(&mut self, id: u32) -> (Option<u32>, bool) {
        if self.most == 0 {
            return (None, false);
        }
        let oldest = if self.list.len() >= self.most { self.list.pop_front() } else { None };
        self.list.push_back(id);
        (oldest, true)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.list.retain(|id| keep(*id));
    }

    /// Whether inode numbers change there; asked once for each file system.
    pub(super) fn renumbers(&mut self, handle: &OwnedFd, device: u64) -> bool {
        if let Some((_, renumbers)) = self.known.iter().find(|(known, _)| *known == device) {
            return *renumbers;
        }
        let renumbers = rustix::fs::fstatfs(handle).is_ok_and(|stat| RENUMBERING.contains(&kind(&stat)));
        self.known.push((device, renumbers));
        renumbers
    }
}

/// Whether it lies on FUSE.
pub(crate) fn is_fuse(handle: &OwnedFd) -> bool {
    rustix::fs::fstatfs(handle).is_ok_and(|stat| kind(&stat) == FUSE)
}

/// The field has another type on each architecture; the numbers have 32 bits.
fn kind(stat: &rustix::fs::StatFs) -> u64 {
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "it is signed on some")]
    let kind = stat.f_type as u64;
    kind & 0xffff_ffff
}

/// Of an open directory.
pub(super) fn look(handle: &OwnedFd) -> Result<FileStat> {
    fstat(handle).call(Call::Fstat, || on(Descriptor::Directory).with("<stat>"))
}
