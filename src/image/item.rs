//! What is listed: a line of an index or of `manifest.json`, and its names.

mod pointer;

pub(super) use pointer::Pointer;

use super::document::{DockerImage, Entry};
use super::platform::Platform;
use crate::report::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that is listed: an image, several of them, or none at all.
pub(super) struct Item {
    /// Tags and names of all lines that list it; they name an image, and some name many.
    pub(super) names: Vec<Arc<str>>,
    pub(super) what: What,
}

pub(super) enum What {
    Oci(Pointer),
    Docker(DockerItem),
}

impl Item {
    pub(super) fn digest(&self) -> Option<Digest> {
        match &self.what {
            What::Oci(pointer) => pointer.digest,
            What::Docker(_) => None,
        }
    }

    pub(super) fn platform(&self) -> Option<&Platform> {
        match &self.what {
            What::Oci(pointer) => pointer.platform.as_ref(),
            What::Docker(_) => None,
        }
    }

    /// What it costs to keep it.
    pub(super) fn cost(&self) -> usize {
        let own = match &self.what {
            What::Oci(pointer) => pointer.cost(),
            What::Docker(item) => item.cost(),
        };
        size_of::<Item>() + own + self.names.iter().map(|name| size_of::<Arc<str>>() + name.len()).sum::<usize>()
    }
}

/// An image of a docker archive.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DockerItem {
    /// The name of its configuration as it stands there.
    pub(super) config: String,
    pub(super) layers: Vec<String>,
    /// How many layers are listed: more than are kept, if it is too many.
    pub(super) count: usize,
    /// Why nobody can read what it says.
    pub(super) flaw: Option<String>,
}

impl DockerItem {
    pub(super) fn of(entry: Entry<DockerImage>) -> (DockerItem, Vec<String>) {
        let Entry { value: image, flaw } = entry;
        let layers = image.layers.unwrap_or_default();
        let count = layers.count();
        let tags = image.repo_tags.unwrap_or_default().into_items();
        (DockerItem { config: image.config, layers: layers.into_items(), count, flaw }, tags)
    }

    pub(super) fn cost(&self) -> usize {
        let flaw = self.flaw.as_ref().map_or(0, String::len);
        flaw + self.config.len() + self.layers.iter().map(|layer| size_of::<String>() + layer.len()).sum::<usize>()
    }
}

/// Items in the making: what is listed again only adds names.
pub(super) struct Gathered<T> {
    known: BTreeMap<T, usize>,
    names: Vec<Vec<Arc<str>>>,
    named: BTreeSet<(usize, Arc<str>)>,
    /// The item of each line.
    lines: Vec<usize>,
}

impl<T: Ord> Gathered<T> {
    pub(super) fn new() -> Gathered<T> {
        Gathered { known: BTreeMap::new(), names: Vec::new(), named: BTreeSet::new(), lines: Vec::new() }
    }

    pub(super) fn line(&mut self, thing: T, names: impl IntoIterator<Item = String>) {
        let at = *self.known.entry(thing).or_insert(self.names.len());
        if at == self.names.len() {
            self.names.push(Vec::new());
        }
        self.lines.push(at);
        for name in names {
            let name: Arc<str> = name.into();
            if self.named.insert((at, Arc::clone(&name))) {
                self.names[at].push(name);
            }
        }
    }

    pub(super) fn items(self, what: impl Fn(T) -> What) -> (Vec<Arc<Item>>, Vec<usize>) {
        let mut things: Vec<(usize, T)> = self.known.into_iter().map(|(thing, at)| (at, thing)).collect();
        things.sort_unstable_by_key(|(at, _)| *at);
        let item = |((_, thing), names)| Arc::new(Item { names, what: what(thing) });
        (things.into_iter().zip(self.names).map(item).collect(), self.lines)
    }
}
