//! A packing: the helper writes the archive into our pipe, or into the caller's descriptor.

use super::child::{Child, Ready, Shared, Terms, archive_pipe, set_nonblocking};
use super::opened::name_of_lower;
use super::own::this_program;
use super::root::Root;
use super::start::{PATTERNS, check_jail, length};
use super::verdict::{Known, Outcome, verdict};
use crate::canceller::Canceller;
use crate::error::{Detail, Error, Garbled};
use crate::kind::ErrorKind;
use crate::options::{Encoding, PackOptions};
use crate::plan::{PackPlan, PlanPacks};
use crate::purse::Purse;
use crate::report::{Packed, Progress};
use crate::wire::{Down, PackRequest, Packs};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// Dropped before its end, it kills and reaps the helper.
pub(crate) struct PackRun {
    pub(super) child: Child,
    /// Where the archive comes from, unless it goes into the caller's descriptor.
    pipe: Option<OwnedFd>,
    /// Bytes that came out of it.
    bytes: u64,
    /// All of them passed here.
    counts: bool,
    encoding: Encoding,
    started: Instant,
    /// What the archive goes into, if that is the caller's.
    target: Option<Target>,
}

/// The caller's descriptor, in which something must be that nobody takes for a whole archive.
struct Target {
    file: File,
    /// Where the archive begins; not to be had of a pipe.
    begin: Option<u64>,
}

impl Target {
    fn of(archive: &OwnedFd) -> Option<Target> {
        let mut file = File::from(archive.try_clone().ok()?);
        let begin = file.stream_position().ok();
        Some(Target { file, begin })
    }

    /// Nothing has been written, for sure.
    fn break_off(mut self, encoding: Encoding) {
        // If that fails there is nothing, as there was.
        let _ = self.file.write_all(encoding.broken_off());
    }

    /// A helper that was killed has perhaps written nothing.
    fn break_off_unbegun(mut self, encoding: Encoding) {
        if self.file.stream_position().ok() == self.begin {
            self.break_off(encoding);
        }
    }
}

/// Starts a helper that writes into `archive`, or into a pipe of ours.
pub(crate) fn start_packing(root: Root, plan: PackPlan, archive: Option<OwnedFd>) -> Result<PackRun, Error> {
    let (encoding, target) = (plan.options.encoding, archive.as_ref().and_then(Target::of));
    match start(root, plan, archive) {
        // The end of a pipe is the helper's alone to close.
        Ok(run) => Ok(PackRun { target: target.filter(|target| target.begin.is_some()), ..run }),
        Err(error) => {
            target.into_iter().for_each(|target| target.break_off(encoding));
            Err(error)
        }
    }
}

fn start(root: Root, plan: PackPlan, archive: Option<OwnedFd>) -> Result<PackRun, Error> {
    let started = Instant::now();
    check(&plan.options)?;
    let program = plan.program.map_or_else(this_program, Ok)?;
    let Root::There(root) = root else {
        let text = "what is packed must be there";
        return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
    };
    let (pipe, archive) = match archive {
        Some(archive) => (None, archive),
        None => {
            let (read, write) = archive_pipe()?;
            // Each end has flags of its own: ours never waits, and theirs does.
            set_nonblocking(&read)?;
            (Some(read), waiting(write)?)
        }
    };
    let mut options = plan.options;
    options.progress |= plan.callbacks.progress.is_some();
    options.verbose |= plan.callbacks.listed.is_some();
    let what = packs(&plan.what)?;
    let (terms, encoding) = (Terms::packing(&options), options.encoding);
    let shared = Shared { canceller: plan.canceller, purse: Purse::default() };
    let mut child = Child::spawn(&program, &root, archive, None, terms, plan.callbacks, shared)?;
    child.send(&Down::Pack(Box::new(PackRequest { options, what })));
    let counts = pipe.is_some();
    Ok(PackRun { child, pipe, bytes: 0, counts, encoding, started, target: None })
}

/// What the helper is told of it.
fn packs(what: &PlanPacks) -> Result<Packs, Error> {
    Ok(match what {
        PlanPacks::Paths(paths) if paths.is_empty() => Packs::Paths(vec![Vec::new()]),
        PlanPacks::Paths(paths) => {
            Packs::Paths(paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect())
        }
        PlanPacks::Upper { prefix, lowers } => {
            Packs::Upper { prefix: *prefix, lowers: lowers.iter().map(name_of_lower).collect::<Result<_, _>>()? }
        }
        PlanPacks::Between { lower } => Packs::Between { lower: name_of_lower(lower)? },
        PlanPacks::Source { path, name, follow, directory } => Packs::Source {
            path: path.as_os_str().as_bytes().to_vec(),
            name: name.clone(),
            follow: *follow,
            directory: *directory,
        },
    })
}

/// The end that a helper writes to: it is made for a parent that must not wait.
fn waiting(pipe: OwnedFd) -> Result<OwnedFd, Error> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty()))
        .map_err(|e| Error::io(ErrorKind::Helper, "making a descriptor blocking", e))?;
    Ok(pipe)
}

/// Refuses what contradicts itself, before anything is started.
fn check(options: &PackOptions) -> Result<(), Error> {
    check_jail(&options.jail)?;
    let level = match options.encoding {
        Encoding::None => true,
        Encoding::Gzip { level } => (1..=9).contains(&level),
        Encoding::Zstd { level } => (1..=19).contains(&level),
    };
    let bytes = length(&options.include) + length(&options.exclude) + options.dockerignore.as_ref().map_or(0, Vec::len);
    let plain = |name: &[u8]| name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"." | b".." | b""));
    let whole = |name: &Vec<u8>| name.is_empty() || plain(name) && !name.contains(&0);
    let wrong = if !level {
        "gzip has levels from 1 to 9, and zstd from 1 to 19"
    } else if bytes > PATTERNS {
        "the patterns that select entries are more than 32 MiB"
    } else if !options.rebase.iter().all(|(from, to)| whole(from) && whole(to)) {
        "names are rebased by whole components, without a / at either end, and without . and .."
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Options, Detail::Text(wrong)))
}

impl PackRun {
    pub(crate) fn progress(&self) -> Progress {
        self.child.progress()
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.child.canceller()
    }

    /// Takes note of what the helper has said, without waiting.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        while self.child.pump(Ready::default(), None, PollTimeout::ZERO).heard && !self.child.over() {}
        if self.child.over() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Reads of the archive; 0 where nothing more can come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = self.pipe.as_ref().filter(|_| !buffer.is_empty()) else { return Ok(0) };
        loop {
            match nix::unistd::read(pipe, buffer) {
                Ok(n) => {
                    self.bytes += n as u64;
                    return Ok(n);
                }
                Err(Errno::EINTR) => {}
                // What it has written is in the pipe before it says that it is done.
                Err(Errno::EAGAIN) if self.child.over() => return Ok(0),
                Err(Errno::EAGAIN) => drop(self.child.pump(Ready::SOURCE, Some(pipe.as_fd()), PollTimeout::NONE)),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The pipe, for a task that reads it and has it counted.
    #[cfg(feature = "tokio")]
    pub(super) fn lend_pipe(&mut self) -> Option<OwnedFd> {
        self.pipe.take()
    }

    /// So many bytes came out of a pipe that was lent.
    #[cfg(feature = "tokio")]
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The pipe, for who reads it elsewhere.
    pub(crate) fn take_pipe(&mut self) -> Option<OwnedFd> {
        self.counts = false;
        self.pipe.take()
    }

    /// Waits for the outcome.
    pub(crate) fn finish(mut self) -> Result<Packed, Error> {
        // Nobody reads it any more.
        self.pipe = None;
        self.child.wait_for_reply();
        let (bytes, encoding) = (self.counts.then_some(self.bytes), self.encoding);
        let mut outcome: Outcome = self.child.end();
        let reply = outcome.reply.as_ref();
        let digest = reply.and_then(|reply| reply.report.digest);
        // Who says that it has written what never came has not packed the tree.
        let short = reply.is_some_and(|r| r.failure.is_none() && bytes.is_some_and(|bytes| bytes != r.report.bytes_in));
        if short {
            outcome.garbled = Some(Garbled::Unexpected);
        }
        let total = Duration::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        outcome.known = Known { digest, total, ..outcome.known };
        let target = self.target;
        verdict(outcome).map(|report| Packed::from_report(report, encoding)).inspect_err(|_| {
            target.into_iter().for_each(|target| target.break_off_unbegun(encoding));
        })
    }
}

impl AsFd for PackRun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.socket()
    }
}

impl fmt::Debug for PackRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("PackRun");
        fields.field("bytes", &self.bytes).field("progress", &self.child.progress()).finish_non_exhaustive()
    }
}
