//! Opening what is packed: one name from an open directory, never through a link, never waiting (rule 4).

use crate::helper::fault::{Fault, Result};
use crate::helper::look::{self, Seen};
use crate::helper::open::{self, Way};
use crate::helper::read::input::Watch;
use crate::report::{Cause, Descriptor, SourceChange};
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Between two tries to open what somebody holds a lease on.
const PAUSE: Duration = Duration::from_millis(10);

/// Why something was not opened.
pub(crate) enum Unopened {
    /// It is no longer what was listed.
    Source(SourceChange),
    /// It may not be read.
    Unreadable(Fault),
    Failed(Fault),
}

#[derive(Clone)]
pub(crate) struct Opener {
    watch: Watch,
    /// The mount alone does not keep times of access.
    keeps_times: bool,
    /// What the kernel has answered to that, to whom first.
    times_change: Arc<OnceLock<Errno>>,
    /// How long leases may still be waited for, in all.
    patience: Duration,
}

impl Opener {
    /// `read_only`: on the root's mount nothing changes. `lease`: how long the kernel waits for who holds one.
    pub(crate) fn new(watch: Watch, read_only: bool, lease: Duration) -> Opener {
        Opener { watch, keeps_times: !read_only, times_change: Arc::default(), patience: lease }
    }

    /// Why times of access change, if they do.
    pub(crate) fn times_change(&self) -> Option<Errno> {
        self.times_change.get().copied()
    }

    /// Without waiting for anybody who holds a lease.
    pub(crate) fn file_at_once(&self, dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.try_open(dir, name, false)
    }

    pub(crate) fn directory(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Unopened> {
        self.open(dir, name, true)
    }

    /// Where a link leads.
    pub(crate) fn link(&self, dir: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
        // Nothing but its mount keeps a link's time of access.
        if self.keeps_times {
            self.times_change.get_or_init(|| Errno::EOPNOTSUPP);
        }
        readlinkat(dir, OsStr::from_bytes(name)).map(OsString::into_vec)
    }

    pub(crate) fn file(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Unopened> {
        self.open(dir, name, false)
    }

    fn open(&mut self, dir: &OwnedFd, name: &[u8], directory: bool) -> Result<OwnedFd, Unopened> {
        loop {
            match self.try_open(dir, name, directory) {
                Ok(fd) => return Ok(fd),
                Err(Errno::EINTR) => {}
                Err(Errno::EWOULDBLOCK) => self.wait_for_lease()?,
                Err(Errno::ENOENT) => return Err(Unopened::Source(SourceChange::Vanished)),
                // A link, a socket, a device, something that is no directory.
                Err(Errno::ELOOP | Errno::ENXIO | Errno::ENODEV | Errno::ENOTDIR) => {
                    return Err(Unopened::Source(SourceChange::Changed));
                }
                // No device is opened on the root's mount; one that lies where a file was listed is not that file.
                Err(Errno::EACCES) if !directory && is_no_file(dir, name) => {
                    return Err(Unopened::Source(SourceChange::Changed));
                }
                Err(errno) => return Err(refused(errno, name, directory)),
            }
        }
    }

    fn try_open(&self, dir: &OwnedFd, name: &[u8], directory: bool) -> Result<OwnedFd, Errno> {
        let open = |keep_time| open::by(dir, name, Way::Read { directory, keep_time });
        if !self.keeps_times {
            return open(false);
        }
        match open(true) {
            // Only its owner may say so: CAP_FOWNER is gone.
            Err(errno @ Errno::EPERM) => {
                self.times_change.get_or_init(|| errno);
                open(false)
            }
            opened => opened,
        }
    }

    fn wait_for_lease(&mut self) -> Result<(), Unopened> {
        self.watch.check().map_err(|cause| Unopened::Failed(cause.into()))?;
        self.patience = self.patience.checked_sub(PAUSE).ok_or(Unopened::Source(SourceChange::Busy))?;
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

#[cold]
fn is_no_file(dir: &OwnedFd, name: &[u8]) -> bool {
    look::at(dir, name).is_ok_and(|seen| seen.kind != FileType::RegularFile)
}

#[cold]
fn refused(errno: Errno, name: &[u8], directory: bool) -> Unopened {
    let fault = open::failed(errno, Way::Read { directory, keep_time: false }, Descriptor::Directory, name);
    match errno {
        Errno::EACCES | Errno::EPERM => Unopened::Unreadable(fault),
        _ => Unopened::Failed(fault),
    }
}

/// What was opened must be of the kind that was listed.
pub(crate) fn must_be(seen: &Seen, kind: FileType) -> Result<(), SourceChange> {
    if seen.kind == kind { Ok(()) } else { Err(SourceChange::Changed) }
}

impl From<Fault> for Unopened {
    fn from(fault: Fault) -> Unopened {
        Unopened::Failed(fault)
    }
}

impl From<Cause> for Unopened {
    fn from(cause: Cause) -> Unopened {
        Unopened::Failed(cause.into())
    }
}
