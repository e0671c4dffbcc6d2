//! A list of a document, however long it is.

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The first `MOST` items; the rest is counted. In memory an item may be a hundred times as large as in JSON.
#[derive(Clone, Debug)]
pub(in crate::image) struct Several<T, const MOST: usize> {
    items: Vec<T>,
    count: usize,
}

impl<T, const MOST: usize> Several<T, MOST> {
    pub(in crate::image) fn items(&self) -> &[T] {
        &self.items
    }

    pub(in crate::image) fn into_items(self) -> Vec<T> {
        self.items
    }

    /// All of them, those not kept too.
    pub(in crate::image) fn count(&self) -> usize {
        self.count
    }
}

impl<T, const MOST: usize> Default for Several<T, MOST> {
    fn default() -> Self {
        Several { items: Vec::new(), count: 0 }
    }
}

impl<'de, T: Deserialize<'de> + Default, const MOST: usize> Deserialize<'de> for Several<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Several<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut several = Several::default();
        while several.items.len() < MOST {
            match list.next_element::<Option<T>>()? {
                Some(item) => several.items.push(item.unwrap_or_default()),
                None => break,
            }
        }
        several.count = several.items.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            several.count += 1;
        }
        Ok(several)
    }
}
