//! Applies checked entries inside the root: `docs/semantics.md`, rule by rule.

pub(super) mod attribute;
mod aufs;
mod copy_up;
mod create;
pub(super) mod dirs;
mod end;
pub(super) mod files;
mod hardlink;
mod hide;
mod landing;
pub(super) mod lower;
pub(super) mod made;
mod marks;
pub(super) mod metadata;
mod mode;
mod overlay;
mod place;
pub(super) mod policy;
mod purse;
pub(super) mod remove;
mod tree;
mod unchangeable;
mod usable;
mod whiteout;
pub(super) mod writers;

use crate::beginning::Beginning;
use crate::helper::fault::{Fault, Result};
use crate::helper::feed::{Failed, Sink};
use crate::helper::jail::confine::Confined;
use crate::helper::jail::limits::Descriptors;
use crate::helper::jail::right::Write;
use crate::helper::journal::Journal;
use crate::helper::read::entry::{Entry, Reader};
use crate::helper::read::input::Watch;
use crate::helper::read::stream::{Relieve, Stream};
use crate::helper::reporter::Reporter;
use crate::helper::rights::Namespace;
use crate::helper::selection::Selection;
use crate::options::{Durability, Mounts, Options, Owner};
use crate::report::{Cause, EntryCounts, EntryKind, EventKind, Failure, Refusal, RootSwitch};
use crate::wire::{Content, Request};
use aufs::Plinks;
use dirs::{Dirs, Implied, Missing, NodeId};
use files::Maker;
use landing::Landing;
use lower::Lowers;
use marks::Marks;
use metadata::{Setter, Softened};
use mode::Mode;
use place::{Memo, Placement};
use policy::Policy;
use purse::Purse;
use remove::Remover;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use tree::Tree;
use writers::Writers;

/// Applies one archive.
pub(crate) struct Applier<'a> {
    options: &'a Options,
    tree: Tree<'a>,
    mode: Mode,
    /// Overlay mode: there is nothing below the root.
    bottom: bool,
    destination: NodeId,
    policy: Policy,
    selection: Selection<'a>,
    memo: Memo,
    plinks: Plinks,
    /// The archive has said what the destination itself is like.
    root_listed: bool,
    /// It is a copy, and the destination says what its names become.
    landing: Option<Landing>,
    /// Only documents are wanted, of at most so many bytes.
    documents: Option<u64>,
}

impl<'a> Applier<'a> {
    /// Ready to apply, once the destination is entered. `files`: how many descriptors there may be.
    pub(crate) fn new(
        confined: Confined<Write>,
        request: &'a Request,
        watch: Watch,
        reporter: &'a mut Reporter,
        files: usize,
    ) -> Result<Applier<'a>> {
        let options = &request.options;
        let root = confined.root.try_clone().map_err(|_| Fault::from(Cause::Os(nix::libc::EMFILE)))?;
        let unfinished = request.lowers_later.then(|| reporter.second_channel()).transpose()?;
        let used = root.as_raw_fd().unsigned_abs() as usize + 1;
        let cross_mounts = options.jail.mounts == Mounts::Cross;
        let dealt = Descriptors::share(files, used, threads(options.writers, confined.processors))?;
        let setter = setter(options, &confined);
        let own = setter.beneath.then_some(confined.right.own.0);
        let mode = Mode::new(options, Marks::new(confined.right.trusted_marks), setter.beneath, || {
            Lowers::new(confined.right.lowers, unfinished, dealt.lowers, watch.clone())
        })?;
        let remover = Remover {
            watch: watch.clone(),
            mounts: options.jail.mounts,
            held: dealt.removal,
            puts_times_back: mode.puts_times_back(),
            marks: mode.marks(),
            untimed: Cell::default(),
            own,
        };
        let maker = Maker { setter, remover, no_overwrite_dir_nondir: options.no_overwrite_dir_nondir };
        let writers = Rc::new(Writers::new(dealt.writers, maker.clone()));
        let namespace = Namespace::of(confined.report.user_namespace.as_ref());
        let purse = Purse::new(&options.limits, watch.clone());
        let dirs = Dirs::new(root, cross_mounts, mode.lowers(), Rc::clone(&writers), watch)?;
        let made = request.root != Beginning::There;
        let dirs = dirs.bound(&options.limits, &dealt).unlisted(mode.puts_times_back(), made).bound_by_modes(own)?;
        let mut journal = Journal::new(reporter);
        if confined.right.marks_fell_back {
            journal.tell_of(None, EventKind::UserMarks);
        }
        Ok(Applier {
            options,
            tree: Tree { root: Arc::new(confined.root), dirs, maker, writers, purse, journal },
            mode,
            bottom: request.root == Beginning::Bottom,
            destination: NodeId::ROOT,
            policy: Policy::new(options, confined.right.own, namespace, setter.beneath),
            selection: Selection::new(options)?,
            memo: Memo::default(),
            plinks: Plinks::default(),
            root_listed: false,
            landing: None,
            documents: request.documents,
        })
    }

    /// Goes to the destination inside the root, which is made where it is missing.
    pub(crate) fn enter_destination(&mut self, destination: &[u8], copy: Option<Content>) -> Result<()> {
        if let Some(content) = copy {
            return self.land(destination, content);
        }
        let parts: Vec<&[u8]> = destination.split(|b| *b == b'/').collect();
        if let Some(id) = self.resolve(NodeId::ROOT, &parts, Missing::MakeUnlinked)? {
            self.destination = id;
        }
        self.tree.dirs.pin(self.destination);
        Ok(())
    }

    fn entry(&mut self, mut entry: Entry, path: &mut Vec<u8>, reader: &mut Reader<Stream>) -> Result<(), Failed> {
        match entry.kind {
            EntryKind::Other(flag @ (b'V' | b'M' | b'N' | b'A')) => {
                self.tree.journal.event(EventKind::SkippedType(flag));
                self.tree.journal.counts.skipped += 1;
                return Ok(());
            }
            EntryKind::Other(flag) => return Err(refused(Refusal::UnknownType(flag)).into()),
            _ => {}
        }
        if let Some(landing) = &mut self.landing {
            landing.rename(entry.kind, path, &mut entry.link)?;
        }
        self.tree.dirs.implied_at(self.policy.clamp(entry.mtime));
        let place = self.place(path, &entry)?;
        let left_out = matches!(place, Placement::Skip | Placement::Plink { .. });
        if !left_out {
            self.tree.dirs.begin();
        }
        if self.options.verbose && !left_out {
            self.tree.journal.listed(&entry, path);
        }
        match place {
            Placement::Skip => self.tree.journal.counts.skipped += 1,
            Placement::Plink { name } => {
                self.tree.journal.counts.skipped += 1;
                self.keep_plink(entry, &path[name], reader)?;
            }
            Placement::Root => self.root_entry(entry)?,
            Placement::Whiteout { parent, name } => {
                self.tree.journal.counts.whiteouts += 1;
                self.mode.whiteout(&mut self.tree, parent, &path[name])?;
            }
            Placement::Opaque { directory } => {
                self.tree.journal.counts.whiteouts += 1;
                self.mode.opaque(&mut self.tree, directory)?;
            }
            Placement::NothingToHide => self.tree.journal.counts.whiteouts += 1,
            Placement::At { parent, name } => self.create(entry, parent, path, name, reader)?,
        }
        self.tree.relieve()?;
        Ok(())
    }

    /// `Mounts::Skip`: an entry that a mount is in the way of is left out, and no longer counted as what it is.
    fn leave_mounted(&mut self, failed: Failed, before: EntryCounts) -> Result<(), Failed> {
        match &failed {
            Failed::Applying(fault) if self.tree.maker.remover.leaves(fault) => {}
            _ => return Err(failed),
        }
        let counts = &mut self.tree.journal.counts;
        (counts.directories, counts.whiteouts) = (before.directories, before.whiteouts);
        counts.skipped += 1;
        self.tree.journal.events(self.tree.maker.remover.told());
        Ok(())
    }

    /// Resolves directories, making what is missing as implied parents are made.
    fn resolve(&mut self, start: NodeId, parts: &[&[u8]], missing: Missing) -> Result<Option<NodeId>> {
        let (setter, policy, mode) = (self.tree.maker.setter, &self.policy, &self.mode);
        let mut softened = Softened::new();
        let make = &mut |implied: Implied<'_>| {
            let meta = implied.like.map_or_else(|| policy.implied(), |like| Ok(like.clone()))?;
            mode.make_implied(&implied, || {
                let Implied { dir, inherit, name, .. } = implied;
                setter.new_directory(dir, name, &meta, inherit, &mut softened).map(|(made, _)| made)
            })
        };
        let result = self.tree.dirs.resolve(start, parts, missing, make, &mut self.tree.journal.leaver(setter));
        self.tree.journal.events(softened);
        result
    }
}

impl<'a> Sink<'a> for Applier<'a> {
    fn take(&mut self, entry: Entry, path: &mut Vec<u8>, reader: &mut Reader<Stream>) -> Result<(), Failed> {
        let counted = self.tree.journal.counts;
        let taken = self.entry(entry, path, reader).map_err(|failed| match (failed, self.tree.dirs.unleft()) {
            (Failed::Applying(fault), Some(path)) => Failed::Leaving(fault.of(&path)),
            (failed, _) => failed,
        });
        taken.or_else(|failed| self.leave_mounted(failed, counted))
    }

    fn journal(&mut self) -> &mut Journal<'a> {
        &mut self.tree.journal
    }

    fn tell_unmatched(&mut self) {
        self.selection.tell_unmatched(&mut self.tree.journal);
    }

    fn has_failed(&self) -> bool {
        self.tree.writers.failed()
    }

    fn settle(&mut self, fed: Result<(), Box<Failure>>) -> Result<(), Box<Failure>> {
        self.settle_all(fed)
    }

    fn finish(&mut self) -> Result<(), Box<Failure>> {
        self.tree.leave_all()
    }

    fn synchronise(&self) -> Result<(), Box<Failure>> {
        self.tree.synchronise(self.options.durability)
    }

    fn relief(&self) -> Relieve {
        let writers = Rc::clone(&self.tree.writers);
        Box::new(move || writers.flush())
    }

    fn lacking(&self) -> Option<i32> {
        self.tree.writers.lacking()
    }

    fn written(&self) -> u64 {
        self.tree.purse.spent()
    }
}

fn setter(options: &Options, confined: &Confined<Write>) -> Setter {
    let beneath = confined.report.root == RootSwitch::Beneath;
    Setter {
        own: confined.right.own,
        ignore_chown_errors: options.ignore_chown_errors,
        xattrs: options.xattrs,
        group_from_directory: confined.right.group_from_directory && options.owner != Owner::Caller && !beneath,
        sync: options.durability == Durability::PerFile,
        beneath,
    }
}

/// How many writers: as many as there are processors, within reason, unless the caller says it.
fn threads(wanted: Option<NonZeroU32>, processors: usize) -> usize {
    wanted.map_or(processors.min(8), |wanted| usize::try_from(wanted.get()).unwrap_or(1).min(64))
}

fn refused(refusal: Refusal) -> Fault {
    Cause::Refused(refusal).into()
}
