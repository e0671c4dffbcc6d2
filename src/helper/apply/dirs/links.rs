//! Where links lead, remembered, and what following them may cost: a link of 4 KiB leads 2,000 directories down and up
//! again, forty of them can stand in one path, and each entry can go that way for the price of its header.

use super::{Dirs, NodeId};
use crate::helper::fault::Result;
use crate::helper::hash::Map;
use crate::helper::read::input::Watch;
use crate::report::{Cause, Limit};

/// Steps by way of links that a run may take, in parts of the limit `depth`: so many times that whatever its entries,
/// and one part for each path that it resolves, 1,024 by default. With what is remembered a path takes a handful;
/// without, since the archive replaces things all the time, 80,000 at worst.
const AT_ONCE: u64 = 128;
const PART: u64 = 8;
/// Steps between two looks at the clock and the parent.
const LOOK: u64 = 1 << 14;
/// Links remembered.
const MOST: usize = 4096;

/// Where a link led: how many links were followed on the way counts, too.
#[derive(Clone, Copy)]
pub(super) struct Led {
    pub(super) to: NodeId,
    pub(super) links: u32,
}

pub(super) struct Links {
    watch: Watch,
    /// Where links lead, by the number of their names; good for one generation.
    led: Map<u32, Led>,
    generation: u64,
    steps: u64,
    allowed: u64,
    depth: u64,
    looks: u64,
}

impl Links {
    pub(super) fn new(watch: Watch) -> Links {
        Links { watch, led: Map::default(), generation: 0, steps: 0, allowed: u64::MAX, depth: 0, looks: 0 }
    }

    pub(super) fn bound(&mut self, depth: u32) {
        self.depth = depth.into();
        self.allowed = self.depth.saturating_mul(AT_ONCE);
    }

    /// One more path is resolved.
    pub(super) fn allow(&mut self) {
        self.allowed = self.allowed.saturating_add(self.depth / PART);
    }

    /// One step that is not written in the path itself.
    pub(super) fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > self.allowed {
            return Err(Cause::Limit { limit: Limit::Depth, value: self.depth }.into());
        }
        self.look()
    }

    /// Something that can go on for long is going on.
    pub(super) fn look(&mut self) -> Result<()> {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOK) {
            self.watch.goes_on()?;
        }
        Ok(())
    }
}

impl Dirs {
    /// Where this link is known to lead.
    pub(super) fn led(&self, at: NodeId, name: &[u8]) -> Option<Led> {
        if self.links.generation != self.generation || self.links.led.is_empty() {
            return None;
        }
        let number = self.names.find(&self.node(at).children, name)?;
        self.links.led.get(&number).copied()
    }

    /// A link, known by the number of its name, has led there. Inodes that we opened: a link that somebody else
    /// exchanges meanwhile leads where it did.
    pub(super) fn remember(&mut self, name: u32, led: Led) {
        let links = &mut self.links;
        if links.generation != self.generation || links.led.len() >= MOST {
            links.led.clear();
            links.generation = self.generation;
        }
        links.led.insert(name, led);
    }
}
