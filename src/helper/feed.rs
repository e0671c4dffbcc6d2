//! The one loop over the entries of an archive, whatever takes them: the applier, or the lister.

use crate::helper::fault::{Fault, Result};
use crate::helper::journal::Journal;
use crate::helper::read::entry::{Entry, Reader};
use crate::helper::read::stream::{Relieve, Stream};
use crate::options::Limits;
use crate::report::{Cause, EntryRef, Failure, Limit, Stage};

/// What takes entries. What a sink has no use for it leaves as it is here.
pub(crate) trait Sink<'a> {
    /// Takes one entry; of the name it may keep what it needs.
    fn take(&mut self, entry: Entry, path: &mut Vec<u8>, reader: &mut Reader<Stream>) -> Result<(), Failed>;

    fn journal(&mut self) -> &mut Journal<'a>;

    /// Behind the last entry of an archive without fault: which patterns nothing matches.
    fn tell_unmatched(&mut self);

    /// Something that was handed over has failed: no more entries.
    fn has_failed(&self) -> bool {
        false
    }

    /// Behind the last entry, or the one that failed.
    fn settle(&mut self, fed: Result<(), Box<Failure>>) -> Result<(), Box<Failure>> {
        fed
    }

    /// What was deferred, after an error too.
    fn finish(&mut self) -> Result<(), Box<Failure>> {
        Ok(())
    }

    /// The last thing, after the input has been drained.
    fn synchronise(&self) -> Result<(), Box<Failure>> {
        Ok(())
    }

    /// Hands over what waits here to be handed over with more.
    fn relief(&self) -> Relieve {
        Box::new(|| ())
    }

    /// The error number for want of which there were fewer threads than were wanted.
    fn lacking(&self) -> Option<i32> {
        None
    }

    /// Bytes of content.
    fn written(&self) -> u64 {
        0
    }
}

/// Whether the archive or its application failed.
pub(crate) enum Failed {
    Reading(Fault),
    Applying(Fault),
    /// Not the entry at hand, but a directory of before, which the fault names.
    Leaving(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Applying(fault)
    }
}

impl Failed {
    fn named(self, entry: EntryRef) -> Box<Failure> {
        match self {
            Failed::Reading(fault) => read_failure(fault, Some(entry)),
            Failed::Applying(fault) => failure(Stage::Apply, fault, Some(entry)),
            Failed::Leaving(fault) => failure(Stage::Finish, fault, None),
        }
    }
}

/// Feeds every entry to the sink.
pub(crate) fn feed(sink: &mut dyn Sink<'_>, reader: &mut Reader<Stream>, limits: &Limits) -> Result<(), Box<Failure>> {
    while !sink.has_failed() {
        let mut entry = match next(sink, reader) {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(fault) => {
                let failure = read_failure(fault, reader.current());
                return Err(Box::new(Failure { after: reader.before(), ..*failure }));
            }
        };
        if !reader.source_mut().has_ended() {
            sink.journal().flush();
        }
        let (index, offset, kind) = (entry.index, entry.offset, entry.kind);
        let mut path = std::mem::take(&mut entry.path);
        let taken = take(sink, entry, &mut path, reader, limits);
        let named = || EntryRef::new(index, offset, &path, kind);
        let journal = sink.journal();
        journal.tell(named);
        taken.map_err(|failed| failed.named(journal.blamed().unwrap_or_else(named)))?;
        journal.progress(reader.source_mut().progress());
    }
    Ok(())
}

/// What nobody has wanted of the body before is passed over first.
fn next(sink: &mut dyn Sink<'_>, reader: &mut Reader<Stream>) -> Result<Option<Entry>> {
    while reader.pass_over()? {
        sink.journal().progress(reader.source_mut().progress());
    }
    reader.next()
}

fn take(
    sink: &mut dyn Sink<'_>,
    mut entry: Entry,
    path: &mut Vec<u8>,
    reader: &mut Reader<Stream>,
    limits: &Limits,
) -> Result<(), Failed> {
    if entry.index >= limits.entries {
        return Err(Fault::from(Cause::Limit { limit: Limit::Entries, value: limits.entries }).into());
    }
    admit(entry.size, limits.file_bytes)?;
    sink.journal().events(entry.events.drain(..));
    sink.take(entry, path, reader)
}

/// Whether a file may be so long, holes included.
pub(crate) fn admit(size: u64, most: u64) -> Result<()> {
    if size > most { Err(Cause::Limit { limit: Limit::FileBytes, value: most }.into()) } else { Ok(()) }
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
