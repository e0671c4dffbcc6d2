//! The reader: headers and extended headers in, checked entries and bodies out.

use super::blocks::{BLOCK, Block, Blocks, is_zero, padding};
use super::draft::{Draft, Framing, Holes, kind};
use super::header::{self, Fields};
use super::pending::{Headers, Meta, is_meta};
use super::sparse::{Lines, Map, Old};
use super::{End, Entry, Source, Strictness, foreign, limit, malformed};
use crate::helper::fault::{Fault, Result};
use crate::options::Limits;
use crate::report::{Cause, EntryKind, EntryRef, Limit, Malformed};
use bytes::Bytes;

/// Reads entries from a stream of blocks. After an error it can still name the entry, but not go on.
pub(crate) struct Reader<S> {
    blocks: Blocks<S>,
    limits: Limits,
    strictness: Strictness,
    /// The number of the next entry.
    index: u64,
    pending: Headers,
    body: Body,
    naming: Naming,
    state: State,
    stop: bool,
    /// Blocks of zeros in a row that were just passed over.
    zeros: u64,
}

/// Blocks of zeros that end an archive.
const MARKER: u64 = 2;

/// What is left of the current body.
#[derive(Clone, Copy, Default)]
struct Body {
    content: u64,
    /// There, but nobody's content.
    hidden: u64,
    padding: u64,
}

/// Enough of the current entry to name it, or of the last one while a header is due; the buffer is used again.
struct Naming {
    index: u64,
    offset: u64,
    path: Vec<u8>,
    kind: EntryKind,
    /// Nothing is known yet of the entry whose turn it is.
    due: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Entries,
    Ended { marker: bool },
}

/// What the next block began.
enum Next {
    Meta(Fields),
    Entry(Draft, Holes),
    /// A block of zeros that ends nothing.
    Zeros,
    End {
        marker: bool,
    },
}

impl<S: Source> Reader<S> {
    pub(crate) fn new(source: S, limits: Limits, strictness: Strictness) -> Reader<S> {
        Reader {
            blocks: Blocks::new(source),
            limits,
            strictness,
            index: 0,
            pending: Headers::default(),
            body: Body::default(),
            naming: Naming { index: 0, offset: 0, path: Vec::new(), kind: EntryKind::Unknown, due: true },
            state: State::Start,
            stop: false,
            zeros: 0,
        }
    }

    /// The next entry, what is left of the body before it passed over; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        if let State::Ended { .. } = self.state {
            return Ok(None);
        }
        self.leave()?;
        self.state = State::Entries;
        // What extended headers are refused for comes first: only the name was wanting.
        self.advance().map_err(|fault| self.pending.take_refused().unwrap_or(fault))
    }

    /// Headers up to the next entry's own.
    fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            let offset = self.blocks.position();
            self.naming.expect(self.index, offset, self.pending.name_so_far());
            match self.step(offset).map_err(|fault| self.unless_foreign(fault))? {
                Next::Meta(fields) => self.extend(&fields, offset)?,
                Next::Entry(draft, holes) => return self.enter(draft, holes, offset).map(Some),
                Next::Zeros => self.pass_zeros()?,
                Next::End { marker } => {
                    self.pending.check_empty()?;
                    self.state = State::Ended { marker };
                    return Ok(None);
                }
            }
        }
    }

    /// Passes over a piece of what is left of the current body; false once nothing is.
    pub(crate) fn pass_over(&mut self) -> Result<bool> {
        let Body { content, hidden, .. } = self.body;
        if content == 0 && hidden == 0 {
            return Ok(false);
        }
        let passed = self.blocks.piece(content.saturating_add(hidden))?.len() as u64;
        self.body.content = content.saturating_sub(passed);
        self.body.hidden = hidden - passed.saturating_sub(content);
        Ok(true)
    }

    /// The next piece of the current entry's content, shared with the source's chunk; `None` at its end.
    pub(crate) fn body(&mut self) -> Result<Option<Bytes>> {
        if self.body.content == 0 {
            return Ok(None);
        }
        let piece = self.blocks.piece(self.body.content)?;
        self.body.content -= piece.len() as u64;
        Ok(Some(piece))
    }

    /// Once the end marker has come, nothing more is read if `stop`.
    pub(crate) fn stop_at_end(mut self, stop: bool) -> Reader<S> {
        self.stop = stop;
        self
    }

    /// The end marker has come, and nothing behind it is read.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stop && self.state == State::Ended { marker: true }
    }

    /// Reads the source to its end, if that is wanted, after [`next`](Reader::next) has answered `None`.
    pub(crate) fn finish(&mut self) -> Result<End> {
        if self.has_stopped() {
            return Ok(End { marker: true, ..End::default() });
        }
        let marker = self.state == State::Ended { marker: true };
        let (trailing, first) = self.blocks.drain()?;
        let archive = first.as_ref().is_some_and(|block| header::check(block).is_ok());
        Ok(End { marker, trailing, trailing_data: first.is_some(), archive })
    }

    /// Bytes of the uncompressed stream consumed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn position(&self) -> u64 {
        self.blocks.position()
    }

    /// The current entry, or as much as is known of the one that failed.
    pub(crate) fn current(&self) -> Option<EntryRef> {
        (self.state == State::Entries && !self.naming.due).then(|| self.naming.named())
    }

    /// The entry after which a header was due, if that is where it failed.
    pub(crate) fn before(&self) -> Option<EntryRef> {
        (self.state == State::Entries && self.naming.due && self.index > 0).then(|| self.naming.named())
    }

    pub(crate) fn source_mut(&mut self) -> &mut S {
        self.blocks.source_mut()
    }

    /// Passes over what is left of the current body.
    fn leave(&mut self) -> Result<()> {
        let body = std::mem::take(&mut self.body);
        self.blocks.skip(body.content.saturating_add(body.hidden))?;
        self.blocks.skip_padding(body.padding)
    }

    fn step(&mut self, offset: u64) -> Result<Next> {
        let Some(block) = self.blocks.block()? else { return Ok(Next::End { marker: self.zeros >= MARKER }) };
        if is_zero(block) {
            return if self.strictness.ignore_zeros { Ok(Next::Zeros) } else { self.zero_block(offset) };
        }
        self.zeros = 0;
        let fields = match Fields::parse(block) {
            Ok(fields) => fields,
            Err(what) => {
                self.naming.guess(self.index, offset, block, what);
                return Err(malformed(what, offset));
            }
        };
        if is_meta(fields.flag) {
            return Ok(Next::Meta(fields));
        }
        let mut draft = Draft::new(block, fields, self.pending.take());
        self.naming.begin(self.index, offset, &draft.path, draft.kind);
        if let Some(refused) = self.pending.take_refused() {
            return Err(refused);
        }
        if self.index >= self.limits.entries {
            return Err(limit(Limit::Entries, self.limits.entries));
        }
        draft.check(offset, &self.limits)?;
        let holes = draft.holes(block, offset, &self.limits)?;
        Ok(Next::Entry(draft, holes))
    }

    /// The first header is none: perhaps the archive is something else, which says more.
    fn unless_foreign(&self, fault: Fault) -> Fault {
        let bad = matches!(fault.cause, Cause::Malformed { what: Malformed::Checksum | Malformed::Truncated, .. });
        let known = bad.then(|| foreign::recognise(self.blocks.only()?)).flatten();
        known.map_or(fault, |(looks_like, begins)| Cause::NotTar { looks_like, begins }.into())
    }

    /// Two make the end; so does one at the end of the stream, as in Go, but that is no marker.
    fn zero_block(&mut self, offset: u64) -> Result<Next> {
        match self.blocks.block()? {
            None => Ok(Next::End { marker: false }),
            Some(block) if is_zero(block) => Ok(Next::End { marker: true }),
            Some(_) => Err(malformed(Malformed::StrayZeroBlock, offset)),
        }
    }

    /// As GNU tar passes over them. An archive has ended where there are two, and its global headers with it.
    fn pass_zeros(&mut self) -> Result<()> {
        self.pending.check_empty()?;
        self.zeros += 1;
        if self.zeros == MARKER {
            self.pending.forget_globals();
        }
        Ok(())
    }

    /// Reads an extended header. Its length is in its own block: nothing applies to a meta header.
    fn extend(&mut self, fields: &Fields, offset: u64) -> Result<()> {
        let length = self.pending.reserve(fields.size, &self.limits)?;
        let body_offset = self.blocks.position();
        let body = self.blocks.gather(length)?;
        let meta = Meta { flag: fields.flag, offset, body: &body, body_offset };
        self.pending.take_in(&meta, &self.limits, self.strictness.pax_globals)?;
        self.blocks.skip_padding(padding(fields.size))
    }

    /// Makes the entry, with the stream at the beginning of its content.
    fn enter(&mut self, draft: Draft, holes: Holes, offset: u64) -> Result<Entry> {
        let (size, framing, events) = draft.body(self.strictness.sizes)?;
        self.body = match framing {
            Framing::Nothing => Body::default(),
            Framing::Hidden => Body { content: 0, hidden: size, padding: padding(size) },
            Framing::Content => Body { content: size, hidden: 0, padding: padding(size) },
        };
        let mut entry = draft.finish(self.index, offset, events);
        entry.size = self.body.content;
        if let Some((map, size)) = self.read_map(holes, offset)? {
            entry.size = size;
            entry.sparse = map.finish(size, self.body.content).map_err(|why| why.at(offset))?;
        }
        entry.stored = self.body.content;
        self.index += 1;
        Ok(entry)
    }

    /// The map of a sparse file and the file's size.
    fn read_map(&mut self, holes: Holes, offset: u64) -> Result<Option<(Map, u64)>> {
        match holes {
            Holes::None => Ok(None),
            Holes::Records(map, size) => Ok(Some((map, size))),
            Holes::Old(old) => self.extend_old_map(*old).map(Some),
            Holes::Body(size) => Ok(Some((self.read_lines(offset)?, size))),
        }
    }

    /// The blocks of the map are not counted in the size of the body.
    fn extend_old_map(&mut self, mut old: Old) -> Result<(Map, u64)> {
        while old.extended {
            let offset = self.blocks.position();
            let Some(block) = self.blocks.block()? else { return Err(self.blocks.truncated()) };
            old.extend(block).map_err(|why| why.at(offset))?;
        }
        Ok((old.map, old.size))
    }

    /// The lines of the map are counted in the size of the body, in whole blocks.
    fn read_lines(&mut self, offset: u64) -> Result<Map> {
        let mut lines = Lines::new(self.limits.sparse_regions);
        while !lines.done() {
            let at = self.blocks.position();
            self.body.content =
                self.body.content.checked_sub(BLOCK as u64).ok_or_else(|| malformed(Malformed::SparseMap, offset))?;
            let Some(block) = self.blocks.block()? else { return Err(self.blocks.truncated()) };
            lines.feed(block).map_err(|why| why.at(at))?;
        }
        Ok(lines.into_map())
    }
}

impl Naming {
    /// A header is due; extended headers may have named its entry already.
    fn expect(&mut self, index: u64, offset: u64, path: &[u8]) {
        if path.is_empty() {
            self.due = true;
        } else {
            self.begin(index, offset, path, EntryKind::Unknown);
        }
    }

    /// A header with a number that is none has a name all the same, where its checksum is right.
    fn guess(&mut self, index: u64, offset: u64, block: &Block, what: Malformed) {
        let (flag, path) = header::flag_and_name(block);
        if self.due && what != Malformed::Checksum && !is_meta(flag) && !path.is_empty() {
            self.begin(index, offset, &path, kind(flag, &path));
        }
    }

    fn begin(&mut self, index: u64, offset: u64, path: &[u8], kind: EntryKind) {
        (self.index, self.offset, self.kind, self.due) = (index, offset, kind, false);
        self.path.clear();
        self.path.extend_from_slice(path.get(..EntryRef::MAX_PATH).unwrap_or(path));
    }

    fn named(&self) -> EntryRef {
        EntryRef::new(self.index, self.offset, &self.path, self.kind)
    }
}
