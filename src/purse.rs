//! The one owner of the bound on what the caller's process keeps of what others say: a helper, an image.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a run may keep, all helpers of an image together: a thousand events with the longest names fit.
const OF_A_RUN: usize = 8 << 20;

/// So many bytes may still be kept; clones share them. Nothing is given back, so that work is bounded, too.
#[derive(Clone, Debug)]
pub(crate) struct Purse(Arc<AtomicUsize>);

impl Default for Purse {
    fn default() -> Purse {
        Purse::new(OF_A_RUN)
    }
}

impl Purse {
    pub(crate) fn new(bytes: usize) -> Purse {
        Purse(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Pays for so many bytes; false if they are not left, and then nothing is paid.
    #[must_use]
    pub(crate) fn pay(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Purse;

    #[test]
    fn clones_pay_from_one_purse() {
        let purse = Purse::new(10);
        assert!(purse.clone().pay(6) && !purse.pay(5) && purse.pay(4) && !purse.pay(1) && purse.pay(0));
    }
}
