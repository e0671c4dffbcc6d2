//! Extended headers that wait for their entry, and the global ones that stay.

use super::header;
use super::pax::{MapPlace, Pax};
use super::{limit, malformed};
use crate::helper::fault::{Fault, Result};
use crate::options::Limits;
use crate::report::{Limit, Malformed};

#[derive(Default)]
pub(super) struct Headers {
    /// Where the first of them begins in the stream.
    offset: Option<u64>,
    /// The bytes of all their bodies together.
    bytes: u64,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Box<Pax>>,
    /// The records of global headers, if they are wanted.
    global: Option<Box<Pax>>,
    /// Why the first of them that is refused is. It is told when the entry has a name, which comes behind them.
    refused: Option<Box<Fault>>,
}

/// What the extended headers say of one entry.
pub(super) struct Extended {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) pax: Option<Box<Pax>>,
}

/// An extended header that is read.
pub(super) struct Meta<'a> {
    pub(super) flag: u8,
    /// Where its header block begins in the stream.
    pub(super) offset: u64,
    pub(super) body: &'a [u8],
    /// Where its body begins in the stream.
    pub(super) body_offset: u64,
}

pub(super) fn is_meta(flag: u8) -> bool {
    matches!(flag, b'x' | b'X' | b'g' | b'L' | b'K')
}

impl Headers {
    /// Makes room for a body, within the bound on all extended headers of one entry.
    pub(super) fn reserve(&mut self, size: u64, limits: &Limits) -> Result<usize> {
        let most = u64::from(limits.extended_header_bytes);
        let over = || limit(Limit::ExtendedHeaderBytes, most);
        self.bytes = self.bytes.checked_add(size).filter(|bytes| *bytes <= most).ok_or_else(over)?;
        usize::try_from(size).map_err(|_| over())
    }

    /// Takes an extended header; a second of the same kind replaces the first. Fails where it is of no one entry.
    pub(super) fn take_in(&mut self, meta: &Meta<'_>, limits: &Limits, globals: bool) -> Result<()> {
        let records = || Pax::parse(meta.body, meta.body_offset, limits);
        let outcome = match meta.flag {
            b'L' => long(meta.body, limits).map(|name| self.name = name),
            b'K' => long(meta.body, limits).map(|link| self.link = link),
            // Solaris has an `X` of its own, with the same records.
            b'x' | b'X' => {
                let (pax, outcome) = records();
                self.pax = Some(Box::new(pax));
                outcome
            }
            // Read even when it is to be ignored: malformed is malformed, as in Go.
            _ => {
                let (pax, outcome) = records();
                return outcome.and_then(|()| self.globalize(pax, limits, globals));
            }
        };
        if let Err(fault) = outcome {
            self.refused.get_or_insert(Box::new(fault));
        }
        self.offset.get_or_insert(meta.offset);
        Ok(())
    }

    /// Why they are refused, if they are.
    pub(super) fn take_refused(&mut self) -> Option<Fault> {
        self.refused.take().map(|fault| *fault)
    }

    fn globalize(&mut self, pax: Pax, limits: &Limits, globals: bool) -> Result<()> {
        if !globals {
            return Ok(());
        }
        let merged = match &self.global {
            Some(global) => pax.over(global),
            None => pax,
        };
        merged.xattrs.check_count(limits)?;
        // Else many global headers could make every later entry arbitrarily dear.
        if merged.weight() as u64 > limits.extended_header_bytes.into() {
            return Err(limit(Limit::ExtendedHeaderBytes, limits.extended_header_bytes.into()));
        }
        self.global = Some(Box::new(merged));
        Ok(())
    }

    /// Hands over what is there for the entry that now begins.
    pub(super) fn take(&mut self) -> Extended {
        self.bytes = 0;
        if self.offset.take().is_none() && self.global.is_none() {
            return Extended { name: None, link: None, pax: None };
        }
        let mut pax = match (self.pax.take(), &self.global) {
            (pax, None) => pax,
            (pax, Some(global)) => Some(Box::new(pax.map(|pax| *pax).unwrap_or_default().over(global))),
        };
        Extended {
            name: best_name(self.name.take(), pax.as_deref_mut()),
            link: self.link.take().or_else(|| pax.as_mut().and_then(|pax| pax.link.take().flatten())),
            pax,
        }
    }

    /// The archive that they are of has ended.
    pub(super) fn forget_globals(&mut self) {
        self.global = None;
    }

    /// Nothing may be left over at the end.
    pub(super) fn check_empty(&self) -> Result<()> {
        match self.offset {
            Some(offset) => Err(malformed(Malformed::DanglingExtendedHeader, offset)),
            None => Ok(()),
        }
    }

    /// The name as far as it is known.
    pub(super) fn name_so_far(&self) -> &[u8] {
        let pax = self.pax.as_ref().and_then(|pax| pax.path.as_ref()?.as_ref());
        self.name.as_ref().or(pax).map_or(&[], Vec::as_slice)
    }
}

/// The sparse file's own name, then the long name, then the path record: the order of Go.
fn best_name(long: Option<Vec<u8>>, pax: Option<&mut Pax>) -> Option<Vec<u8>> {
    let Some(pax) = pax else { return long };
    let sparse = match pax.sparse.place() {
        MapPlace::None => None,
        MapPlace::Records | MapPlace::Body => pax.sparse.name.take(),
    };
    sparse.or(long).or_else(|| pax.path.take().flatten())
}

/// The body of an `L` or `K`; an empty one stands for the header's own.
fn long(body: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>> {
    let text = header::text(body);
    if text.len() as u64 > limits.name_bytes.into() {
        return Err(limit(Limit::NameBytes, limits.name_bytes.into()));
    }
    Ok((!text.is_empty()).then(|| text.to_vec()))
}
