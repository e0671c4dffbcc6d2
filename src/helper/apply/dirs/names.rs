//! The names that are known, each held once: a directory's table finds them by their bytes.

use super::Child;
use crate::helper::hash::Keys;
use std::hash::BuildHasher;

const EMPTY: u32 = u32::MAX;
const TAKEN_OUT: u32 = u32::MAX - 1;

/// A name in a directory, and what it is known to be.
struct Name {
    text: Box<[u8]>,
    child: Child,
}

/// All names of a run.
#[derive(Default)]
pub(super) struct Names {
    all: Vec<Option<Name>>,
    free: Vec<u32>,
    hasher: Keys,
}

/// The names in one directory, by number: open addressing, at most three quarters full.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[u32]>,
    live: u32,
    /// Slots that are not empty.
    filled: u32,
}

impl Names {
    /// How many are known.
    pub(super) fn count(&self) -> usize {
        self.all.len() - self.free.len()
    }

    pub(super) fn text(&self, name: u32) -> &[u8] {
        self.all.get(name as usize).and_then(Option::as_ref).map_or(b"", |name| &name.text)
    }

    pub(super) fn child(&self, name: u32) -> Option<Child> {
        self.all.get(name as usize).and_then(Option::as_ref).map(|name| name.child)
    }

    pub(super) fn find(&self, table: &Table, text: &[u8]) -> Option<u32> {
        self.place(table, text).map(|at| table.slots[at])
    }

    /// Takes note of what a name is; its number.
    pub(super) fn set(&mut self, table: &mut Table, text: &[u8], child: Child) -> u32 {
        if let Some(number) = self.find(table, text) {
            if let Some(name) = self.all.get_mut(number as usize).and_then(Option::as_mut) {
                name.child = child;
            }
            return number;
        }
        if (table.filled as usize + 1) * 4 > table.slots.len() * 3 {
            self.grow(table);
        }
        let name = Some(Name { text: text.into(), child });
        let number = match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = name;
                number
            }
            None => {
                self.all.push(name);
                // There is no memory for more than fit.
                u32::try_from(self.all.len() - 1).unwrap_or(TAKEN_OUT)
            }
        };
        self.insert(table, number);
        number
    }

    /// Forgets a name; what it was.
    pub(super) fn remove(&mut self, table: &mut Table, text: &[u8]) -> Option<Child> {
        let at = self.place(table, text)?;
        let number = std::mem::replace(&mut table.slots[at], TAKEN_OUT);
        table.live -= 1;
        self.take(number)
    }

    /// Forgets all names of a directory; what each was.
    pub(super) fn remove_all(&mut self, table: Table) -> impl Iterator<Item = Child> {
        table.slots.into_iter().filter(|number| *number < TAKEN_OUT).filter_map(|number| self.take(number))
    }

    /// What the names in a directory are.
    pub(super) fn children(&self, table: &Table) -> impl Iterator<Item = Child> {
        table.slots.iter().filter_map(|number| self.child(*number))
    }

    fn take(&mut self, number: u32) -> Option<Child> {
        let name = self.all.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(name.child)
    }

    /// Where in the table a name is.
    fn place(&self, table: &Table, text: &[u8]) -> Option<usize> {
        let mask = table.slots.len().checked_sub(1)?;
        let mut at = self.start(text, mask);
        // A table is never full.
        while table.slots[at] != EMPTY {
            if table.slots[at] != TAKEN_OUT && self.text(table.slots[at]) == text {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn start(&self, text: &[u8], mask: usize) -> usize {
        usize::try_from(self.hasher.hash_one(text) & mask as u64).unwrap_or(0)
    }

    fn insert(&self, table: &mut Table, number: u32) {
        let mask = table.slots.len() - 1;
        let mut at = self.start(self.text(number), mask);
        while table.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        table.slots[at] = number;
        table.live += 1;
        table.filled += 1;
    }

    fn grow(&self, table: &mut Table) {
        let size = ((table.live as usize + 1) * 2).next_power_of_two().max(4);
        let old = std::mem::replace(table, Table { slots: vec![EMPTY; size].into(), live: 0, filled: 0 });
        old.slots.into_iter().filter(|number| *number < TAKEN_OUT).for_each(|number| self.insert(table, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_name_costs_what_it_must() {
        assert!(size_of::<Option<Name>>() == 24 && size_of::<Table>() == 24);
    }

    #[test]
    fn tables_know_what_a_map_knows() {
        let (mut names, mut model) = (Names::default(), BTreeMap::new());
        let mut tables = [Table::default(), Table::default()];
        let mut seed = 1_u32;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (which, text) = ((seed >> 30) as usize % 2, (seed >> 16 & 0xff).to_string().into_bytes());
            let table = &mut tables[which];
            if seed & 0x4000 == 0 {
                names.set(table, &text, Child::Leaf(round));
                model.insert((which, text), Child::Leaf(round));
            } else {
                assert_eq!(names.remove(table, &text), model.remove(&(which, text)));
            }
            assert_eq!(names.count(), model.len());
        }
        for ((which, text), child) in &model {
            let found = names.find(&tables[*which], text).expect("it is known");
            assert_eq!((names.text(found), names.child(found)), (&text[..], Some(*child)));
        }
        let [one, two] = tables;
        assert_eq!(names.children(&one).count() + names.children(&two).count(), model.len());
        assert_eq!(names.remove_all(one).count() + names.remove_all(two).count(), model.len());
        assert_eq!(names.count(), 0);
    }
}
