//! Packs the tree: `docs/pack-semantics.md`, rule by rule.

mod ahead;
mod archive;
mod attributes;
mod begin;
mod content;
pub(crate) mod dockerignore;
pub(crate) mod encode;
pub(crate) mod header;
mod links;
mod names;
mod open;
mod output;
pub(crate) mod overlay;
mod owners;
mod packer;
#[cfg(test)]
pub(in crate::helper) mod programs;
mod readers;
mod select;
mod start;
mod walk;

use crate::helper::elapsed;
use crate::helper::fault::{Attempt, Fault, Result, on};
use crate::helper::feed::failure;
use crate::helper::jail::confine::Confined;
use crate::helper::jail::limits::Descriptors;
use crate::helper::jail::right::Read;
use crate::helper::journal::Journal;
use crate::helper::look::{self, Inode};
use crate::helper::read::entry::Time;
use crate::helper::read::input::Watch;
use crate::helper::reporter::Reporter;
use crate::helper::sys;
use crate::options::{Mounts, Options, OverlayPrefix, PackOptions};
use crate::report::{BadPattern, Call, Cause, Descriptor, EntryKind, EntryRef, EventKind, Failure};
use crate::report::{MountsBelow, Report, RootSwitch, Stage};
use crate::wire::{PackRequest, Packs};
use archive::{Archive, Failed};
use begin::{Begun, begin};
use dockerignore::{Bad, BadLine, Ignore};
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use open::Opener;
use output::Output;
use overlay::Marks;
use owners::Owners;
use packer::{Between, Packer, Rules, Upper};
use readers::{Readers, Reading};
use select::Select;
use start::{Finder, Found, Start, parts};
use std::io::Write;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Paths that are held open.
const HELD: usize = 64;

/// From the request to the end of the archive.
pub(super) fn work(
    archive: &Arc<OwnedFd>,
    control: OwnedFd,
    request: &PackRequest,
    reporter: &mut Reporter,
    report: &mut Report,
    started: Instant,
) -> Result<(), Box<Failure>> {
    // It is the parent that ends a run, and then the archive gets an end that nobody takes for whole.
    sys::ignore(Signal::SIGTERM, SigHandler::SigIgn);
    let options = &request.options;
    reporter.configure(options.limits.events, options.progress);
    let watch = Watch::new(control, options.jail.limits.timeout_ms()).telling(reporter.line());
    match begin(archive, &watch, request, reporter, report, started) {
        Ok(Begun { confined, marks, files, itself, archive, opener }) => {
            let job = Job { request, confined, marks, files, watch, archive: itself };
            let mark = Instant::now();
            let done = job.run(archive, opener, reporter, report);
            report.times.apply = elapsed(mark);
            done
        }
        Err(failure) => {
            // If that fails there is nothing, as there was.
            let _ = Output::last(Arc::clone(archive), watch).write_all(options.encoding.broken_off());
            Err(failure)
        }
    }
}

/// A request, inside and confined.
struct Job<'a> {
    request: &'a PackRequest,
    confined: Confined<Read>,
    marks: Option<Marks>,
    /// How many descriptors there may be.
    files: usize,
    watch: Watch,
    /// What the archive is written to.
    archive: Option<Inode>,
}

/// A path that was named and is there.
struct Known {
    path: Vec<u8>,
    linked: bool,
    inode: Inode,
    /// Held, unless there are too many of them.
    start: Option<Start>,
}

impl Job<'_> {
    fn run(
        self,
        archive: Archive,
        opener: Opener,
        reporter: &mut Reporter,
        report: &mut Report,
    ) -> Result<(), Box<Failure>> {
        let walking = |fault| failure(Stage::Walk, fault, None);
        let options = &self.request.options;
        let root = &self.confined.root;
        let top = look::of(root).call(Call::Statx, || on(Descriptor::Root).with(look::OPEN)).map_err(walking)?;
        let ignore = options.dockerignore.as_deref().map(ignore).transpose().map_err(walking)?;
        let patterns = patterns(options);
        let mut select = Select::new(&patterns, ignore).map_err(walking)?;
        let (found, opener) = self.found(opener, &top)?;
        found.iter().for_each(|found| select.name(found.path.clone()));
        let rebase = self.rebase(&found);
        let rules = self.rules(top, &rebase, found.len() > 1 && found.iter().any(|found| found.linked));
        let journal = Journal::new(reporter);
        let dealt = self.dealt().map_err(walking)?;
        let readers = self.readers(&dealt, &opener);
        let mut packer = Packer::new(rules, archive, journal, select, opener, readers, self.watch.clone());
        let packed = match &self.request.what {
            Packs::Paths(_) | Packs::Source { .. } => self.all(&mut packer, found, &top, dealt.directories),
            Packs::Upper { .. } | Packs::Between { .. } => self.layer(&mut packer, &top, &dealt),
        };
        let (archive, mut journal, opener, select, lacking) = packer.finish();
        if let Some(errno) = opener.times_change() {
            journal.tell_of(None, EventKind::AccessTimes { errno: errno as i32 });
        }
        if let Some(errno) = archive.lacking().or(lacking) {
            journal.tell_of(None, EventKind::NoThread { errno });
        }
        if self.is_auto() && self.marks == Some(Marks::User) {
            journal.tell_of(None, EventKind::MarksOutOfReach);
        }
        let ended = end(archive, packed, report);
        if ended.is_ok() {
            select.tell_unmatched(&mut journal);
        }
        (report.entries, report.event_count) = (journal.counts, journal.number());
        ended
    }

    /// `linked`: a path of several goes through a link; of one alone nothing contradicts those that it goes through.
    fn rules<'r>(&'r self, top: look::Seen, rebase: &'r [(Vec<u8>, Vec<u8>)], linked: bool) -> Rules<'r> {
        let options = &self.request.options;
        let namespace = self.confined.report.user_namespace.as_ref();
        Rules {
            options,
            owners: Owners::new(&options.owner, options.unmapped_ids, namespace),
            covered: &self.confined.right.covered,
            mounted: self.may_have_mounts(),
            top,
            marks: self.marks,
            by_name: self.confined.report.root != RootSwitch::Beneath,
            rebase,
            strict: !options.rebase.is_empty() || linked,
            // What is copied may be where the copy goes.
            began: matches!(self.request.what, Packs::Source { .. }).then(now),
            archive: self.archive,
        }
    }

    /// Which marks count was to be found out.
    fn is_auto(&self) -> bool {
        matches!(self.request.what, Packs::Upper { prefix: OverlayPrefix::Auto, .. })
    }

    fn paths(&self) -> &[Vec<u8>] {
        match &self.request.what {
            Packs::Paths(paths) => paths,
            Packs::Source { path, .. } => std::slice::from_ref(path),
            Packs::Upper { .. } | Packs::Between { .. } => &[],
        }
    }

    /// What is copied has one name, wherever it was found.
    fn rebase(&self, found: &[Known]) -> Vec<(Vec<u8>, Vec<u8>)> {
        match (&self.request.what, found) {
            (Packs::Source { name, .. }, [found]) => vec![(found.path.clone(), name.clone())],
            _ => self.request.options.rebase.clone(),
        }
    }

    /// Something is mounted below, or may be: nobody could be asked, or others may still do it.
    fn may_have_mounts(&self) -> bool {
        let report = &self.confined.report;
        let known = report.root == RootSwitch::Pivot && report.mounts != MountsBelow::Unknown;
        !known || !report.mounts_below.is_empty()
    }

    fn dealt(&self) -> Result<Descriptors> {
        let lowers = &self.confined.right.lowers;
        let last = lowers.iter().chain([&self.confined.root]).map(|fd| fd.as_raw_fd().unsigned_abs() as usize).max();
        // Each lower one is opened once more, to be read.
        let used = last.unwrap_or(0) + self.paths().len().min(self.held()) + lowers.len() + 8;
        let readers = match self.request.what {
            Packs::Paths(_) | Packs::Source { .. } => {
                threads(self.request.options.readers, self.confined.processors) - 1
            }
            Packs::Upper { .. } | Packs::Between { .. } => 0,
        };
        Descriptors::share(self.files, used, readers)
    }

    fn readers(&self, dealt: &Descriptors, opener: &Opener) -> Readers {
        let (options, namespace) = (&self.request.options, &self.confined.report.user_namespace);
        let reading = || Reading { options: options.clone(), namespace: namespace.clone(), opener: opener.clone() };
        Readers::new(dealt.writers, dealt.directories, reading, self.watch.clone())
    }

    /// How many paths are held open from when they are found until they are packed.
    fn held(&self) -> usize {
        (self.files / 16).min(HELD)
    }

    /// What the paths lead to, before the first byte is written.
    fn found(&self, mut opener: Opener, top: &look::Seen) -> Result<(Vec<Known>, Opener), Box<Failure>> {
        let mut all = Vec::with_capacity(self.paths().len());
        for path in self.paths() {
            let found = self.find(&mut opener, top, path).map_err(|fault| missing(fault, path))?;
            let Found { path, linked, inode, start } = found;
            let start = (all.len() < self.held()).then_some(start);
            all.push(Known { path, linked, inode, start });
        }
        Ok((all, opener))
    }

    /// One path after the other.
    fn all(
        &self,
        packer: &mut Packer<'_>,
        found: Vec<Known>,
        top: &look::Seen,
        directories: usize,
    ) -> Result<(), Box<Failure>> {
        for (Known { path: name, inode, start, .. }, path) in found.into_iter().zip(self.paths()) {
            let start = match start {
                Some(start) => start,
                None => self.again(packer, top, path, inode).map_err(|fault| missing(fault, path))?,
            };
            if self.request.options.parents {
                packer.parents_of(&name, &mut |opener, path| self.finder(opener, top).directory(&parts(path)))?;
            }
            packer.whole(start, directories)?;
        }
        Ok(())
    }

    /// What the root changes of the layers below it.
    fn layer(&self, packer: &mut Packer<'_>, top: &look::Seen, dealt: &Descriptors) -> Result<(), Box<Failure>> {
        let walking = |fault| failure(Stage::Walk, fault, None);
        let start = self.finder(&mut packer.opener, top).find(b"").map_err(walking)?.start;
        let lowers = &self.confined.right.lowers;
        match self.marks {
            Some(marks) => {
                let mut upper = Upper::over(lowers, marks, dealt.lowers).map_err(walking)?;
                packer.tree(start, dealt.directories, &mut upper)
            }
            None => {
                let mut between = Between::new(&self.confined.root, lowers, dealt.lowers).map_err(walking)?;
                packer.tree(start, dealt.directories, &mut between)
            }
        }
    }

    /// Finds what was found before and could not be held; it must be the same.
    fn again(&self, packer: &mut Packer<'_>, top: &look::Seen, path: &[u8], inode: Inode) -> Result<Start> {
        let found = self.find(&mut packer.opener, top, path)?;
        if found.inode == inode { Ok(found.start) } else { Err(Fault::exchanged(path)) }
    }

    fn find(&self, opener: &mut Opener, top: &look::Seen, path: &[u8]) -> Result<Found> {
        let mut finder = self.finder(opener, top);
        match self.request.what {
            Packs::Source { follow: true, directory, .. } => finder.end_of(path, directory),
            _ => finder.find(path),
        }
    }

    fn finder<'f>(&'f self, opener: &'f mut Opener, top: &'f look::Seen) -> Finder<'f> {
        let cross = self.request.options.jail.mounts == Mounts::Cross;
        Finder { root: &self.confined.root, seen: top, opener, cross }
    }
}

/// A moment that is over: what is there was born before it, and what is made from now on after it. A file's clock may be
/// behind by a tick, of 1 to 10 ms.
fn now() -> Time {
    let read = |clock| clock_gettime(clock).unwrap_or(TimeSpec::new(i64::MAX, 0));
    let began = read(ClockId::CLOCK_REALTIME);
    // A clock that is set back, or is none, is not waited for.
    for _ in 0..20 {
        if read(ClockId::CLOCK_REALTIME_COARSE) > began {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    Time { seconds: began.tv_sec(), nanoseconds: u32::try_from(began.tv_nsec()).unwrap_or(0) }
}

/// A path that cannot be packed, told as it was named: folded it could be another that is there.
fn missing(fault: Fault, path: &[u8]) -> Box<Failure> {
    let entry = EntryRef::new(0, 0, path, EntryKind::Unknown);
    failure(Stage::Walk, fault, Some(EntryRef { index: None, offset: None, ..entry }))
}

/// The archive's end, or what keeps it from being taken for whole.
fn end(archive: Archive, packed: Result<(), Box<Failure>>, report: &mut Report) -> Result<(), Box<Failure>> {
    if let Err(failure) = packed {
        report.bytes_tar = archive.position();
        return Err(failure);
    }
    let sums = archive.finish().map_err(|failed| match failed {
        Failed::Walking(fault) => failure(Stage::Walk, fault, None),
        Failed::Writing(fault) => failure(Stage::Write, fault, None),
    })?;
    (report.bytes_tar, report.bytes_in) = (sums.size, sums.blob_size);
    (report.diff_id, report.digest) = (sums.diff_id, sums.digest);
    Ok(())
}

/// How many threads read, the one that walks among them: as many as there are processors, unless the caller says it.
fn threads(wanted: Option<NonZeroU32>, processors: usize) -> usize {
    wanted.map_or(processors, |wanted| usize::try_from(wanted.get()).unwrap_or(1)).clamp(1, 8)
}

/// As the patterns of applying are given.
fn patterns(options: &PackOptions) -> Options {
    let (include, exclude) = (options.include.clone(), options.exclude.clone());
    Options { include, exclude, limits: options.limits, ..Options::default() }
}

fn ignore(file: &[u8]) -> Result<Ignore> {
    Ignore::parse(file).map_err(|BadLine { line, what }| {
        let what = match what {
            Bad::LoneException => BadPattern::LoneException,
            Bad::Class => BadPattern::Class,
            Bad::Escape => BadPattern::DanglingEscape,
        };
        Cause::IgnoreLine { line: line as u64, what }.into()
    })
}
