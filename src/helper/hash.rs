//! Tables that an archive's names are put into, with keys that nobody can have foreseen. The standard library's are drawn
//! by `getrandom(2)` or from /dev/urandom, and it panics where a filter around us keeps the one back and the root lacks
//! the other.
#![allow(clippy::disallowed_types, reason = "with other keys")]

use super::sys;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Map<K, V> = HashMap<K, V, Keys>;
pub(crate) type Set<K> = HashSet<K, Keys>;

/// Each others than the one before: what is taken out of one table in its order fills the next evenly.
pub(crate) struct Keys(DefaultHasher);

impl Default for Keys {
    fn default() -> Keys {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut hasher = DefaultHasher::new();
        hasher.write(&sys::at_random());
        hasher.write_u64(MADE.fetch_add(1, Ordering::Relaxed));
        Keys(hasher)
    }
}

impl BuildHasher for Keys {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

/// A number that nobody can have foreseen, each time another.
pub(crate) fn number() -> u64 {
    Keys::default().0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_this_process_s_and_each_table_has_its_own() {
        assert_ne!(sys::at_random(), [0; 16]);
        let numbers: Set<u64> = (0..1000).map(|_| number()).collect();
        assert_eq!(numbers.len(), 1000);
        let (one, other) = (Keys::default(), Keys::default());
        assert_eq!(one.hash_one("a"), one.hash_one("a"));
        assert_ne!(one.hash_one("a"), other.hash_one("a"));
    }
}
