//! What a layout or archive lists, and what each of it is called.

use super::item::{Item, What};
use super::problem::shortened;
use super::reference::{Reference, full_name};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list: `index.json`, or `manifest.json`.
pub(super) struct Catalogue {
    pub(super) items: Vec<Arc<Item>>,
    /// The item of each line, by which `@N` counts.
    pub(super) lines: Vec<usize>,
    /// The group of each item. Items that are called the same, and no other name, are one choice, from which the
    /// platform decides; and so are those of an index that have no name at all.
    pub(super) groups: Vec<usize>,
    /// Names in full, and the one group that has each; `None` where several have it.
    owners: BTreeMap<String, Option<usize>>,
    /// The group of what an index lists without a name.
    nameless: Option<usize>,
}

impl Catalogue {
    pub(super) fn new((items, lines): (Vec<Arc<Item>>, Vec<usize>)) -> Catalogue {
        let mut catalogue = Catalogue { groups: Vec::new(), owners: BTreeMap::new(), nameless: None, items, lines };
        for at in 0..catalogue.items.len() {
            let group = catalogue.join(at);
            catalogue.groups.push(group);
        }
        catalogue
    }

    fn join(&mut self, at: usize) -> usize {
        // An index is a choice by platform; the images of a docker archive have nothing to do with each other.
        if self.items[at].names.is_empty() && matches!(self.items[at].what, What::Oci(_)) {
            return *self.nameless.get_or_insert(at);
        }
        let names: Vec<String> = self.items[at].names.iter().map(|name| full_name(name)).collect();
        let mut owners = names.iter().map(|name| self.owners.get(name).copied().flatten());
        if let Some(first) = owners.next().flatten()
            && owners.all(|owner| owner == Some(first))
        {
            return first;
        }
        for name in names {
            self.owners.entry(name).and_modify(|owner| *owner = owner.filter(|owner| *owner == at)).or_insert(Some(at));
        }
        at
    }

    /// The items that have this name.
    pub(super) fn named(&self, name: &str) -> Vec<usize> {
        let wanted = full_name(name);
        let is_it = |item: &Item| {
            let file = matches!(&item.what, What::Docker(item) if item.config == name);
            file || item.names.iter().any(|own| **own == *name || full_name(own) == wanted)
        };
        self.all().filter(|at| is_it(&self.items[*at])).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.items.len()
    }

    /// What can be written to mean one of them; `path` leads to it.
    pub(super) fn word(&self, path: &[Arc<Item>], item: usize) -> String {
        // Of ten thousand names of each of ten thousand images, not all are looked at.
        const TRIED: usize = 32;
        let name = path.iter().flat_map(|item| item.names.iter().take(TRIED)).find(|name| self.is_word(name, item));
        match (name, path.last().and_then(|own| own.digest())) {
            (Some(name), _) => name.to_string(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => format!("@{}", self.line(item)),
        }
    }

    /// The number of the first line that lists an item.
    pub(super) fn line(&self, item: usize) -> usize {
        self.lines.iter().position(|line| *line == item).unwrap_or_default()
    }

    /// It means one of them alone, and can be typed.
    fn is_word(&self, name: &str, item: usize) -> bool {
        is_typed(name) && self.owners.get(&full_name(name)) == Some(&Some(self.groups[item]))
    }
}

/// It can be typed, and is a name then.
pub(super) fn is_typed(name: &str) -> bool {
    const LONGEST: usize = 200;
    let typed = |byte: u8| byte.is_ascii_graphic() && !b",()@\"'`\\".contains(&byte);
    name == shortened(name, LONGEST) && name.bytes().all(typed) && matches!(Reference::parse(name), Reference::Name(_))
}
