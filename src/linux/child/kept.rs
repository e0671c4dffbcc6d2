//! What is kept of what a helper says: bounded in bytes, whatever that is.

use crate::purse::Purse;
use crate::report::{Cause, Confinement, EntryRef, Event, EventKind, Failure, MapRefusal};

/// What one more vector or string costs besides its bytes: its place in the list, and the allocator's share.
const EACH: usize = 80;
/// The most bytes of a text or name in a failure; what is longer is cut, as [`EntryRef::path`] is.
const LONGEST: usize = EntryRef::MAX_PATH;
/// A confinement no larger is kept whatever is left: each layer of an image has one, and events of the layers before it
/// must not make its helper look like none of ours.
const ORDINARY: usize = 16 << 10;

pub(super) struct Kept {
    purse: Purse,
    pub(super) events: Vec<Event>,
    /// Counted, but not kept.
    pub(super) dropped: u64,
    pub(super) confinement: Option<Confinement>,
    /// Why fewer ids are mapped than were wanted: ours to say.
    pub(super) refusal: Option<MapRefusal>,
}

impl Kept {
    pub(super) fn new(purse: Purse) -> Kept {
        Kept { purse, events: Vec::new(), dropped: 0, confinement: None, refusal: None }
    }

    pub(super) fn take_confinement(&mut self) -> Option<Confinement> {
        let map_refusal = self.refusal.take();
        self.confinement.take().map(|confinement| Confinement { map_refusal, ..confinement })
    }

    /// Keeps an event whole, or counts it.
    pub(super) fn event(&mut self, event: Event) {
        if self.purse.pay(of_event(&event)) {
            self.events.push(event);
        } else {
            self.dropped += 1;
        }
    }

    /// False if it is larger than any honest one.
    #[must_use]
    pub(super) fn confinement(&mut self, mut confinement: Confinement) -> bool {
        confinement.map_refusal = None;
        let bytes = of_confinement(&confinement);
        let fits = bytes <= ORDINARY || self.purse.pay(bytes);
        self.confinement = fits.then_some(confinement);
        fits
    }
}

fn of_event(event: &Event) -> usize {
    let name = match &event.what {
        EventKind::XattrUnsupported { name, .. }
        | EventKind::XattrDropped { name }
        | EventKind::XattrUnreadable { name, .. }
        | EventKind::XattrEscaped { name } => name.len(),
        _ => 0,
    };
    // Twice: a vector that grows has room for as many again.
    2 * size_of::<Event>() + EACH + name + event.entry.as_ref().map_or(0, |entry| entry.path.len())
}

fn of_confinement(confinement: &Confinement) -> usize {
    let lists = confinement.mounts_below.iter().map(Vec::len).chain(confinement.capabilities.iter().map(String::len));
    let ranges = confinement.user_namespace.as_ref().map_or(0, |maps| maps.uids.len() + maps.gids.len());
    let fallback = confinement.fallback.as_ref().map_or(0, |fallback| fallback.operation.bytes());
    lists.map(|bytes| bytes + EACH).sum::<usize>() + ranges * EACH + fallback
}

/// Cuts what is longer than an honest helper makes it.
pub(super) fn shorten(failure: &mut Failure) {
    let Failure { entry, after, operation, cause, .. } = failure;
    // It is after an entry only where none is known.
    if entry.is_some() {
        *after = None;
    }
    for entry in [entry, after].into_iter().flatten() {
        cut(&mut entry.path);
    }
    if let Some(operation) = operation {
        operation.shorten(LONGEST);
    }
    match cause {
        Cause::LinkTargetMissing { target: name }
        | Cause::Exchanged { name }
        | Cause::Attribute { name, .. }
        | Cause::OverlayMark { name, .. }
        | Cause::SameName { name } => {
            cut(name);
        }
        Cause::Panic { message: text } | Cause::Pattern { pattern: text, .. } => cut_text(text),
        _ => {}
    }
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(LONGEST);
    bytes.shrink_to_fit();
}

fn cut_text(text: &mut String) {
    text.truncate(crate::text::cut_at(text, LONGEST));
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Call, Descriptor, EntryKind, Operand, Operation, Stage};

    fn named(bytes: usize) -> Event {
        Event { entry: None, what: EventKind::XattrDropped { name: vec![b'n'; bytes] } }
    }

    #[test]
    fn events_are_kept_as_far_as_the_purse_goes_and_counted_beyond() {
        let mut kept = Kept::new(Purse::default());
        (0..1000).for_each(|_| kept.event(named(1_000_000)));
        assert_eq!((kept.events.len() as u64 + kept.dropped, kept.events.len()), (1000, 8));
        // Another helper of the same image.
        let mut other = Kept::new(kept.purse.clone());
        other.event(named(1_000_000));
        assert_eq!((other.events.len(), other.dropped), (0, 1));
    }

    #[test]
    fn a_thousand_events_with_the_longest_paths_are_kept() {
        let mut kept = Kept::new(Purse::default());
        let entry = || Some(EntryRef::new(0, 0, &[b'p'; 4096], EntryKind::File));
        (0..1000).for_each(|_| kept.event(Event { entry: entry(), ..named(255) }));
        assert_eq!((kept.events.len(), kept.dropped), (1000, 0));
    }

    #[test]
    fn a_million_mounts_are_not_taken_in() {
        let with = |mounts_below| Confinement { mounts_below, ..Confinement::default() };
        assert!(!Kept::new(Purse::default()).confinement(with(vec![Vec::new(); 1_000_000])));
        assert!(Kept::new(Purse::default()).confinement(with(vec![b"some/where/below".to_vec(); 20_000])));
    }

    #[test]
    fn a_helper_is_not_refused_for_what_those_before_it_have_said() {
        let mut kept = Kept::new(Purse::default());
        (0..1000).for_each(|_| kept.event(named(100_000)));
        while kept.dropped < 2000 {
            kept.event(named(0));
        }
        let mut next = Kept::new(kept.purse.clone());
        let ordinary = || Confinement { capabilities: vec!["cap_chown".to_owned(); 8], ..Confinement::default() };
        assert!(next.confinement(ordinary()) && next.confinement.is_some());
        assert!(!next.confinement(Confinement { mounts_below: vec![Vec::new(); 1000], ..ordinary() }));
    }

    #[test]
    fn a_failure_is_cut() {
        let long = || "é".repeat(500_000);
        let entry = EntryRef { path: vec![b'p'; 1_000_000], ..EntryRef::new(0, 0, b"", EntryKind::File) };
        for cause in [Cause::LinkTargetMissing { target: long().into() }, Cause::Panic { message: long() }] {
            let on = Operand::Name { dir: Descriptor::Path(long().into()), name: long().into() };
            let operation = Some(Operation::new(Call::Openat, on, long()));
            let (entry, after) = (Some(entry.clone()), Some(entry.clone()));
            let mut failure = Failure { stage: Stage::Apply, entry, after, operation, cause };
            shorten(&mut failure);
            assert!(format!("{failure:?}").len() < 128 << 10, "{}", format!("{failure:?}").len());
            assert!(failure.to_string().len() < 64 << 10, "{}", failure.to_string().len());
        }
    }
}
