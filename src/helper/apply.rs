//! Applies checked entries inside the root: `docs/semantics.md`, rule by rule.

pub(super) mod attribute;
mod aufs;
mod create;
pub(super) mod dirs;
mod end;
pub(super) mod files;
mod hide;
mod list;
pub(super) mod lower;
pub(super) mod made;
pub(super) mod metadata;
mod overlay;
mod path;
mod place;
mod policy;
mod purse;
pub(super) mod remove;
mod whiteout;
pub(super) mod writers;

use crate::beginning::Beginning;
use crate::helper::fault::{Fault, Result};
use crate::helper::jail::confine::Confined;
use crate::helper::jail::limits::Descriptors;
use crate::helper::read::entry::{Entry, Reader};
use crate::helper::read::input::Watch;
use crate::helper::read::stream::{Relieve, Stream};
use crate::helper::reporter::Reporter;
use crate::helper::rights::Namespace;
use crate::options::{Durability, Mode, Mounts, Options, Owner};
use crate::report::{Cause, EntryCounts, EntryKind, EntryRef, EventKind, Failure, Limit, Progress, Refusal, Stage};
use crate::wire::Request;
use aufs::Plinks;
use dirs::{Dirs, Due, Implied, Leaving, Missing, NodeId, Unlisted};
use files::Maker;
use list::listed;
use lower::Lowers;
use metadata::{Setter, Softened};
use overlay::Marks;
use place::{Memo, Place, Selection};
use policy::Policy;
use purse::Purse;
use remove::Remover;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use writers::Writers;

/// Applies one archive.
pub(crate) struct Applier<'a> {
    options: &'a Options,
    reporter: &'a mut Reporter,
    root: Arc<OwnedFd>,
    dirs: Dirs,
    /// Overlay mode: there is nothing below the root.
    bottom: bool,
    destination: NodeId,
    policy: Policy,
    maker: Maker,
    writers: Rc<Writers>,
    selection: Selection,
    memo: Memo,
    marks: Marks,
    plinks: Plinks,
    counts: EntryCounts,
    /// What is written is paid from here.
    purse: Purse,
    /// The archive has said what the destination itself is like.
    root_listed: bool,
    /// Softened on the entry at hand, to be told with its name.
    noted: Vec<EventKind>,
    /// The entry that a writer failed on, if that is what failed.
    elsewhere: Option<EntryRef>,
}

impl<'a> Applier<'a> {
    /// Ready to apply, once the destination is entered. `files`: how many descriptors there may be.
    pub(crate) fn new(
        confined: Confined,
        request: &'a Request,
        watch: Watch,
        reporter: &'a mut Reporter,
        files: usize,
    ) -> Result<Applier<'a>> {
        let options = &request.options;
        let setter = Setter {
            own: confined.own,
            ignore_chown_errors: options.ignore_chown_errors,
            xattrs: options.xattrs,
            group_from_directory: confined.group_from_directory && options.owner != Owner::Caller,
            sync: options.durability == Durability::PerFile,
        };
        let root = confined.root.try_clone().map_err(|_| Fault::from(Cause::Os(nix::libc::EMFILE)))?;
        let unfinished = request.lowers_later.then(|| reporter.second_channel()).transpose()?;
        let used = root.as_raw_fd().unsigned_abs() as usize + 1;
        let cross_mounts = options.jail.mounts == Mounts::Cross;
        let dealt = Descriptors::share(files, used, threads(options.writers, confined.processors))?;
        let purse = Purse::new(&options.limits, watch.clone());
        let maker = Maker {
            setter,
            remover: Remover { watch: watch.clone(), cross_mounts, held: dealt.removal },
            no_overwrite_dir_nondir: options.no_overwrite_dir_nondir,
        };
        let writers = Rc::new(Writers::new(dealt.writers, maker.clone()));
        let overlay = matches!(options.mode, Mode::Overlay(_));
        let namespace = Namespace::of(confined.report.user_namespace.as_ref());
        let lowers =
            overlay.then(|| Lowers::new(confined.lowers, unfinished, dealt.lowers, watch.clone())).transpose()?;
        let dirs = Dirs::new(root, cross_mounts, lowers, Rc::clone(&writers), watch)?;
        let made = request.root != Beginning::There;
        Ok(Applier {
            options,
            reporter,
            root: Arc::new(confined.root),
            dirs: dirs.bound(&options.limits, dealt.directories).unlisted(options.mode != Mode::Literal, made),
            bottom: request.root == Beginning::Bottom,
            marks: Marks::new(confined.trusted_marks),
            plinks: Plinks::default(),
            destination: NodeId::ROOT,
            policy: Policy::new(options, confined.own.0, namespace),
            maker,
            writers,
            selection: Selection::new(options)?,
            memo: Memo::default(),
            counts: EntryCounts::default(),
            purse,
            root_listed: false,
            noted: Vec::new(),
            elsewhere: None,
        })
    }

    /// Hands over what waits here to be handed over with more.
    pub(crate) fn relief(&self) -> Relieve {
        let writers = Rc::clone(&self.writers);
        Box::new(move || writers.flush())
    }

    /// Goes to the destination inside the root, which is made where it is missing.
    pub(crate) fn enter_destination(&mut self, destination: &[u8]) -> Result<()> {
        let parts: Vec<&[u8]> = destination.split(|b| *b == b'/').collect();
        if self.options.list {
            return Ok(());
        }
        if let Some(id) = self.resolve(NodeId::ROOT, &parts, Missing::MakeUnlinked)? {
            self.destination = id;
        }
        Ok(())
    }

    /// Applies every entry. What was deferred is done by [`finish`](Applier::finish), after an error too.
    pub(crate) fn run(&mut self, reader: &mut Reader<Stream>) -> Result<(), Box<Failure>> {
        let applied = self.entries(reader);
        // What was handed over is finished, and an earlier entry's failure is told before a later one's.
        match self.settle() {
            Err(fault) => Err(failure(Stage::Apply, fault, self.elsewhere.take())),
            Ok(()) => applied.and_then(|()| self.imply_root().map_err(|fault| failure(Stage::Apply, fault, None))),
        }
    }

    fn entries(&mut self, reader: &mut Reader<Stream>) -> Result<(), Box<Failure>> {
        while !self.writers.failed() {
            let mut entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(fault) => {
                    let failure = read_failure(fault, reader.current());
                    return Err(Box::new(Failure { after: reader.before(), ..*failure }));
                }
            };
            if !reader.source_mut().has_ended() {
                self.reporter.flush();
            }
            let (index, offset, kind) = (entry.index, entry.offset, entry.kind);
            let mut path = std::mem::take(&mut entry.path);
            let result = self.entry(entry, &mut path, reader);
            if !self.noted.is_empty() {
                self.tell(|| Some(EntryRef::new(index, offset, &path, kind)));
            }
            if let Err(failed) = result {
                let named = self.elsewhere.take().unwrap_or_else(|| EntryRef::new(index, offset, &path, kind));
                return Err(match (failed, self.dirs.unleft()) {
                    (Failed::Reading(fault), _) => read_failure(fault, Some(named)),
                    // Not the entry at hand, but a directory of before.
                    (Failed::Applying(fault), Some(path)) => failure(Stage::Finish, fault.of(&path), None),
                    (Failed::Applying(fault), None) => failure(Stage::Apply, fault, Some(named)),
                });
            }
            let (bytes_in, bytes_tar) = reader.source_mut().progress();
            let entries = self.counts.total();
            self.reporter.progress(|| Progress { bytes_in, bytes_tar, entries });
        }
        Ok(())
    }

    fn entry(&mut self, mut entry: Entry, path: &mut Vec<u8>, reader: &mut Reader<Stream>) -> Result<(), Failed> {
        self.bound(&entry)?;
        self.noted.append(&mut entry.events);
        if self.options.list {
            self.list(&entry, path)?;
            return Ok(());
        }
        match entry.kind {
            EntryKind::Other(flag @ (b'V' | b'M' | b'N' | b'A')) => {
                self.event(EventKind::SkippedType(flag));
                self.counts.skipped += 1;
                return Ok(());
            }
            EntryKind::Other(flag) => return Err(refused(Refusal::UnknownType(flag)).into()),
            _ => {}
        }
        self.dirs.implied_at(self.policy.clamp(entry.mtime));
        let place = self.place(path, &entry)?;
        let left_out = matches!(place, Place::Skip | Place::Plink { .. });
        if !left_out {
            self.dirs.begin();
        }
        if self.options.verbose && !left_out {
            self.reporter.listed(listed(&entry, path));
        }
        match place {
            Place::Skip => self.counts.skipped += 1,
            Place::Plink { name } => {
                self.counts.skipped += 1;
                self.keep_plink(entry, &path[name], reader)?;
            }
            Place::Root => self.root_entry(entry)?,
            Place::Whiteout { parent, name } if self.overlay() => self.overlay_whiteout(parent, &path[name])?,
            Place::Whiteout { parent, name } => self.whiteout(parent, &path[name])?,
            Place::Opaque { directory } if self.overlay() => self.overlay_opaque(directory)?,
            Place::Opaque { directory } => self.opaque(directory)?,
            Place::NothingToHide => self.counts.whiteouts += 1,
            Place::At { parent, name } => self.create(entry, parent, path, name, reader)?,
        }
        self.dirs.relieve(&mut leaver(self.maker.setter, self.reporter))?;
        Ok(())
    }

    fn bound(&self, entry: &Entry) -> Result<()> {
        let limits = &self.options.limits;
        if entry.index >= limits.entries {
            return Err(Cause::Limit { limit: Limit::Entries, value: limits.entries }.into());
        }
        self.purse.admit(entry.size)
    }

    fn event(&mut self, what: EventKind) {
        self.noted.push(what);
    }

    fn softened(&mut self, softened: Softened) {
        self.noted.extend(softened);
    }

    /// Tells what was softened on an entry.
    fn tell(&mut self, named: impl Fn() -> Option<EntryRef>) {
        for what in std::mem::take(&mut self.noted) {
            self.reporter.event(named(), what);
        }
    }

    /// Waits until all files handed over are written; fails if one could not be.
    fn settle(&mut self) -> Result<()> {
        let outcome = self.writers.drain();
        self.counts.files += outcome.files;
        for (entry, what) in outcome.softened {
            self.reporter.event(Some(entry), what);
        }
        self.reporter.count_events(outcome.excess);
        match outcome.failure {
            Some((entry, fault)) => {
                self.elsewhere = Some(entry);
                Err(fault)
            }
            None => Ok(()),
        }
    }

    /// A known directory, open. One that was not used lately may be left for it.
    fn open(&mut self, id: NodeId) -> Result<Arc<OwnedFd>> {
        self.dirs.handle(id, &mut leaver(self.maker.setter, self.reporter))
    }

    /// Takes note of an open directory.
    fn add(&mut self, parent: NodeId, name: &[u8], opened: OwnedFd, fresh: bool) -> Result<NodeId> {
        self.dirs.add(parent, name, opened, fresh, &mut leaver(self.maker.setter, self.reporter))
    }

    /// Resolves directories, making what is missing as implied parents are made.
    fn resolve(&mut self, start: NodeId, parts: &[&[u8]], missing: Missing) -> Result<Option<NodeId>> {
        let (setter, policy, marks) = (&self.maker.setter, &self.policy, &self.marks);
        let mut softened = Softened::new();
        let make = &mut |implied: Implied<'_>| {
            let Implied { dir, inherit, name, like, over_whiteout } = implied;
            let meta = like.map_or_else(|| policy.implied(), |like| Ok(like.clone()))?;
            if over_whiteout {
                marks.remove_whiteout(dir, name)?;
            }
            let (made, _) = setter.new_directory(dir, name, &meta, inherit, &mut softened)?;
            if over_whiteout {
                marks.set_opaque(&made)?;
            }
            Ok(made)
        };
        let result = self.dirs.resolve(start, parts, missing, make, &mut leaver(self.maker.setter, self.reporter));
        self.softened(softened);
        result
    }

    fn overlay(&self) -> bool {
        matches!(self.options.mode, Mode::Overlay(_))
    }

    fn literal(&self) -> bool {
        self.options.mode == Mode::Literal
    }
}

/// Sets a directory's metadata as it is left, and tells what was softened with the directory's own name.
fn leaver(setter: Setter, reporter: &mut Reporter) -> impl FnMut(Leaving<'_>) -> Result<()> {
    move |left| {
        let Some(handle) = left.handle else {
            reporter.event(Some(EntryRef::left(&left.path())), EventKind::DirectoryGone);
            return Ok(());
        };
        let softened = match left.due {
            Due::Metadata(metadata) => setter.leave_directory(handle, metadata)?,
            Due::Time(time, unlisted) => setter.date_directory(handle, *time, *unlisted != Unlisted::There)?,
        };
        for what in softened {
            reporter.event(Some(EntryRef::left(&left.path())), what);
        }
        Ok(())
    }
}

/// How many writers: as many as there are processors, within reason, unless the caller says it.
fn threads(wanted: Option<NonZeroU32>, processors: usize) -> usize {
    wanted.map_or(processors.min(8), |wanted| usize::try_from(wanted.get()).unwrap_or(1).min(64))
}

/// Whether the archive or its application failed.
enum Failed {
    Reading(Fault),
    Applying(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Applying(fault)
    }
}

fn refused(refusal: Refusal) -> Fault {
    Cause::Refused(refusal).into()
}

/// A failure on the way from descriptor 0 to an entry.
pub(crate) fn read_failure(fault: Fault, entry: Option<EntryRef>) -> Box<Failure> {
    let stage = match fault.cause {
        Cause::Compressed { .. } => Stage::Decode,
        Cause::Os(_) | Cause::Cancelled => Stage::Read,
        _ => Stage::Parse,
    };
    failure(stage, fault, entry)
}

/// Adds what is known where the fault is caught.
pub(crate) fn failure(stage: Stage, fault: Fault, entry: Option<EntryRef>) -> Box<Failure> {
    Box::new(Failure { stage, entry, after: None, operation: fault.operation, cause: fault.cause })
}
