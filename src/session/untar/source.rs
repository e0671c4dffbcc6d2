//! Where the archive comes from: the caller's writes, a reader, a descriptor.

use super::{Demand, Untar};
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::report::{Listed, Report};
use crate::session::child::{self, Ready};
use crate::session::{PIECE, Pending, Session};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;

impl Untar {
    /// Starts the helper, to which the caller then writes the archive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be
    /// started. What happens in it is told by [`Session::finish`].
    pub fn spawn(self) -> Result<Session, Error> {
        let (read, write) = child::archive_pipe()?;
        self.start(read, Some(write))
    }

    /// Applies what a reader gives. While the reader blocks, the helper's end is not noticed: where that
    /// matters, use [`apply_fd`](Untar::apply_fd) or a [`Session`]. With
    /// [`Options::stop_at_end`](crate::Options::stop_at_end) nothing is read before the helper needs it, so that a reader
    /// that blocks behind the archive's end is not asked for more; that costs the decoder its own thread.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the reader fails, which comes
    /// before all others.
    pub fn apply(self, mut archive: impl Read) -> Result<Report, Error> {
        let in_step = self.options.stop_at_end;
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            if in_step && !session.child.wait_until_hungry() {
                return session.finish();
            }
            match archive.read(&mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(session.abandon(e)),
            }
        }
    }

    /// Applies what an open file, pipe or socket gives from its present position. The helper reads it
    /// directly, so nothing is copied; if a digest is demanded, the parent reads a regular file beside the
    /// helper (true only if nobody writes to it meanwhile) and pumps anything else itself.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn) and [`Session::finish`]; [`ErrorKind::Read`] if the archive cannot be read.
    pub fn apply_fd(self, archive: impl Into<OwnedFd>) -> Result<Report, Error> {
        self.run(archive.into(), &mut || ())
    }

    /// Lists what an open file, pipe or socket gives from its present position, and applies nothing: the root is
    /// only what the helper is confined to. `entry` is called for each entry, in this thread.
    ///
    /// # Errors
    ///
    /// As [`apply_fd`](Untar::apply_fd); [`ErrorKind::Options`] with [`Untar::atomic`], which makes something.
    pub fn list(mut self, archive: impl Into<OwnedFd>, mut entry: impl FnMut(Listed)) -> Result<Report, Error> {
        self.options.list = true;
        let (tell, told) = mpsc::channel();
        let untar = self.on_listed(move |listed| drop(tell.send(listed)));
        let outcome = untar.run(archive.into(), &mut || told.try_iter().for_each(&mut entry));
        told.try_iter().for_each(&mut entry);
        outcome
    }

    /// Starts to apply what an open file, pipe or socket gives from its present position, without waiting: for
    /// hosts that wait on descriptors. The helper reads it directly; if a digest is demanded, a thread of this
    /// process reads it and hands it on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Untar::spawn). What happens in the helper is told by [`Pending::wait`].
    pub fn start_fd(self, archive: impl Into<OwnedFd>) -> Result<Pending, Error> {
        let archive = archive.into();
        if matches!(self.digest, Demand::None) {
            return Ok(Pending { session: self.start(archive, None)? });
        }
        let mut session = self.spawn()?;
        session.feed(archive).map_err(|e| Error::io(ErrorKind::Helper, "starting a thread", e))?;
        Ok(Pending { session })
    }

    /// `each` is called whenever the helper has been heard.
    fn run(self, archive: OwnedFd, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let archive = File::from(archive);
        if matches!(self.digest, Demand::None) {
            let mut session = self.start(archive.into(), None)?;
            while !session.child.over() {
                session.child.pump(Ready::default(), None, PollTimeout::NONE);
                each();
            }
            return session.finish();
        }
        let start = archive.metadata().ok().filter(|m| m.is_file()).and_then(|_| position(&archive));
        match start {
            Some(start) => self.read_beside(archive, start, each),
            None => self.pump(archive, each),
        }
    }

    /// The helper reads the file; the parent reads it too, for the digest.
    fn read_beside(self, archive: File, start: u64, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let beside = archive.try_clone().map_err(|e| Error::io(ErrorKind::Read, "duplicating a descriptor", e))?;
        let mut session = self.start(archive.into(), None)?;
        let mut buffer = vec![0; PIECE];
        let mut at = start;
        loop {
            match beside.read_at(&mut buffer, at) {
                Ok(0) => return session.finish(),
                Ok(n) => session.count(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(session.abandon(e)),
            }
            at = start + session.bytes_in;
            session.child.pump(Ready::default(), None, PollTimeout::ZERO);
            each();
            if session.child.failed() {
                return session.finish();
            }
        }
    }

    /// The parent reads and writes on, awake to the helper's end while the source is stalled.
    fn pump(self, archive: File, each: &mut dyn FnMut()) -> Result<Report, Error> {
        let mut session = self.spawn()?;
        let mut buffer = vec![0; PIECE];
        loop {
            let ready = session.child.pump(Ready::SOURCE, Some(archive.as_fd()), PollTimeout::NONE);
            each();
            if session.child.over() {
                return session.finish();
            }
            if !ready.source {
                continue;
            }
            match nix::unistd::read(&archive, &mut buffer) {
                Ok(0) => return session.finish(),
                Ok(n) if session.write_all(&buffer[..n]).is_err() => return session.finish(),
                Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(e) => return Err(session.abandon(e.into())),
            }
        }
    }
}

fn position(file: &File) -> Option<u64> {
    u64::try_from(nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekCur).ok()?).ok()
}
