//! A run begins: what contradicts itself is refused, what is to be made is made, the helper is started and asked.

use super::child::{Child, Shared, Terms, archive_pipe};
use super::opened::name_of_lower;
use super::own::this_program;
use super::root::Root;
use super::run::{Making, Run};
use super::whiteouts::hide;
use crate::beginning::Beginning;
use crate::error::{Detail, Error};
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Durability, IdRange, Isolation, Jail, Mode, Options, Owner, UserNamespace, Wall};
use crate::plan::{Demand, Plan};
use crate::program::Program;
use crate::staging::{Emptier, Staging};
use crate::wire::{Content, Down, Request};
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The most bytes of patterns.
pub(super) const PATTERNS: usize = 32 << 20;

/// Starts the helper, to which the caller then writes the archive.
pub(crate) fn spawn(root: Root, plan: Plan) -> Result<Run, Error> {
    let (read, write) = archive_pipe()?;
    start(root, plan, read, Some(write))
}

pub(super) fn start(root: Root, plan: Plan, archive: OwnedFd, pipe: Option<OwnedFd>) -> Result<Run, Error> {
    let started = Instant::now();
    let digested = !matches!(plan.digest, Demand::None) || plan.expected_diff_id.is_some();
    check(&plan.options, &plan.destination, digested)?;
    let program = plan.program.map_or_else(this_program, Ok)?;
    let destination = plan.destination.as_os_str().as_bytes().to_vec();
    let (mut options, mut lowers) = (plan.options, plan.lowers);
    options.progress |= plan.callbacks.progress.is_some();
    options.verbose |= plan.callbacks.listed.is_some() && !options.list;
    lowers.extend(take_lowers(&mut options));
    let named = lowers.iter().map(name_of_lower).collect::<Result<_, _>>()?;
    let lowers_later = plan.callbacks.lowers.is_some();
    let in_step = pipe.is_some() && options.stop_at_end;
    if matches!(root, Root::Made(_)) && (options.list || !destination.is_empty()) {
        let text = "a listing makes nothing, and a destination inside the root needs a root that is there";
        return Err(Error::new(ErrorKind::Options, Detail::Text(text)));
    }
    let (root, making) = make(root, &program, options.durability != Durability::None)?;
    let beginning = if making.is_some() { Beginning::Made } else { plan.beginning };
    let (sent, documents) = (options.clone(), plan.documents);
    let copy = plan.copy.map(|content| if content { Content::Alone } else { Content::With });
    let request =
        Request { destination, options: sent, lowers: named, lowers_later, root: beginning, in_step, documents, copy };
    let shared = Shared { canceller: plan.canceller, purse: plan.purse };
    let terms = Terms::applying(&options, in_step);
    let mut child = Child::spawn(&program, &root, archive, pipe, terms, plan.callbacks, shared)?;
    child.send(&Down::Request(Box::new(request)));
    let (hasher, expected_digest) = match plan.digest {
        Demand::None => (None, None),
        Demand::Compute => (Some(Sha256::new()), None),
        Demand::Expect(digest) => (Some(Sha256::new()), Some(digest)),
    };
    Ok(Run {
        counts: child.has_pipe() || hasher.is_some(),
        child,
        started,
        hasher,
        bytes_in: 0,
        expected_digest,
        expected_diff_id: plan.expected_diff_id,
        feeder: None,
        making,
        _lowers: lowers,
    })
}

/// The root, made now if it is to be.
fn make(root: Root, program: &Program, durable: bool) -> Result<(OwnedFd, Option<Making>), Error> {
    let place = match root {
        Root::There(root) => return Ok((root, None)),
        Root::Made(place) => place,
    };
    let (staging, root) = Staging::beside(&place, emptier(Some(program.clone())))?;
    let again = root.dir.try_clone().map_err(|e| Error::io(ErrorKind::Root, "duplicating a descriptor", e))?;
    Ok((again, Some(Making { staging, root, place, durable })))
}

/// A helper removes what only a user namespace's root may remove, as a layer of whiteouts: by this program, or the
/// present one where it can be a helper.
pub(crate) fn emptier(program: Option<Program>) -> Emptier {
    Arc::new(move |root, names| {
        let Some(program) = program.clone().or_else(|| this_program().ok()) else { return };
        let options = Options { mode: Mode::Layer, ..Options::default() };
        let plan = Plan { program: Some(program), options, ..Plan::default() };
        // An emptier may fail.
        if let Ok(mut run) = spawn(Root::There(root), plan) {
            let _ = run.write_all(&hide(names));
            let _ = run.finish();
        }
    })
}

/// Takes the lower directories out of the options.
fn take_lowers(options: &mut Options) -> Vec<Opened> {
    match &mut options.mode {
        Mode::Overlay(overlay) => std::mem::take(&mut overlay.lowers).into_iter().map(|lower| lower.0).collect(),
        _ => Vec::new(),
    }
}

const NOT_INVERTIBLE: &str = "ranges of a user namespace's map overlap, inside or outside; the kernel takes only maps that \
    can be read in both directions";

/// Refuses a map that the kernel would.
pub(super) fn check_jail(jail: &Jail) -> Result<(), Error> {
    let wrong = match &jail.user_namespace {
        UserNamespace::Mapped { uids, gids } if !invertible(uids) || !invertible(gids) => Some(NOT_INVERTIBLE),
        _ => contradicts_beneath(jail),
    };
    wrong.map_or(Ok(()), |wrong| Err(Error::new(ErrorKind::Options, Detail::Text(wrong))))
}

/// Refuses options that contradict each other, before anything is started.
fn check(options: &Options, destination: &Path, digested: bool) -> Result<(), Error> {
    check_jail(&options.jail)?;
    let wrong = match options {
        Options { mode: Mode::Overlay(_), .. } if !destination.as_os_str().is_empty() => {
            "overlay mode writes a whole upper directory, so there is no destination inside it"
        }
        Options { durability: Durability::PerFile | Durability::FileSystem, list: true, .. } => {
            "a listing writes nothing, so it has no durability"
        }
        Options { stop_at_end: true, .. } if digested => {
            "a run that stops at the archive's end does not see the rest, so it has no digest and no diff ID to expect"
        }
        Options { include, exclude, .. } if length(include) + length(exclude) > PATTERNS => {
            "the patterns that select entries are more than 32 MiB"
        }
        Options { owner: Owner::Mapped { .. } | Owner::Forced { .. }, jail, .. }
            if jail.isolation == Isolation::Beneath =>
        {
            "without a new root (isolation beneath) all belongs to the caller, so no owner can be asked for"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Options, Detail::Text(wrong)))
}

/// What cannot be had where no root is entered.
fn contradicts_beneath(jail: &Jail) -> Option<&'static str> {
    if jail.isolation != Isolation::Beneath {
        return None;
    }
    if !matches!(jail.user_namespace, UserNamespace::Auto | UserNamespace::Never) {
        return Some("isolation beneath does without a user namespace, so none can be asked for");
    }
    (jail.sandbox.landlock == Wall::Off)
        .then_some("without a new root (isolation beneath) Landlock is what there is, so it cannot be off")
}

/// Of patterns, with what each takes beside its letters.
pub(super) fn length(patterns: &[String]) -> usize {
    patterns.iter().map(|pattern| pattern.len() + 9).sum()
}

fn invertible(ranges: &[IdRange]) -> bool {
    let apart = |a: u32, b: u32, x: &IdRange, y: &IdRange| {
        u64::from(a) + u64::from(x.count) <= u64::from(b) || u64::from(b) + u64::from(y.count) <= u64::from(a)
    };
    let after = |at: usize| ranges.iter().skip(at + 1);
    let mut all = ranges.iter().enumerate();
    all.all(|(at, x)| after(at).all(|y| apart(x.inside, y.inside, x, y) && apart(x.outside, y.outside, x, y)))
}
