//! Every byte of content is paid for here before it is written, whatever it is written for: it is counted and bounded,
//! and now and then there is a look at the clock and the parent. What has not been paid for cannot be written.

use crate::helper::fault::Result;
use crate::helper::feed;
use crate::helper::read::input::Watch;
use crate::options::Limits;
use crate::report::{Cause, Limit};
use std::ops::Deref;

/// Bytes between two looks: a few milliseconds of writing.
const LOOK: u64 = 4 << 20;

/// What may be written, for the whole run.
pub(crate) struct Purse {
    watch: Watch,
    total_bytes: u64,
    file_bytes: u64,
    spent: u64,
    next_look: u64,
}

/// Content that may be written; made by [`Purse::pay`] alone.
pub(crate) struct Paid<B>(B);

impl<B: AsRef<[u8]>> Deref for Paid<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl<B: AsRef<[u8]>> Paid<B> {
    pub(crate) fn borrowed(&self) -> Paid<&[u8]> {
        Paid(self.0.as_ref())
    }

    pub(crate) fn copied(&self) -> Paid<Vec<u8>> {
        Paid(self.0.as_ref().to_vec())
    }
}

impl Paid<Vec<u8>> {
    pub(crate) fn append<B: AsRef<[u8]>>(&mut self, more: &Paid<B>) {
        self.0.extend_from_slice(more);
    }
}

impl Purse {
    pub(crate) fn new(limits: &Limits, watch: Watch) -> Purse {
        Purse { watch, total_bytes: limits.total_bytes, file_bytes: limits.file_bytes, spent: 0, next_look: LOOK }
    }

    /// Whether a file may be so long, holes included.
    pub(crate) fn admit(&self, size: u64) -> Result<()> {
        feed::admit(size, self.file_bytes)
    }

    pub(crate) fn pay<B: AsRef<[u8]>>(&mut self, bytes: B) -> Result<Paid<B>> {
        self.spent = self.spent.saturating_add(bytes.as_ref().len() as u64);
        let value = self.total_bytes;
        if self.spent > value {
            return Err(Cause::Limit { limit: Limit::TotalBytes, value }.into());
        }
        if self.spent >= self.next_look {
            self.next_look = self.spent.saturating_add(LOOK);
            self.watch.goes_on()?;
        }
        Ok(Paid(bytes))
    }

    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn purse(change: impl FnOnce(&mut Limits)) -> (Purse, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let mut limits = Limits::default();
        change(&mut limits);
        (Purse::new(&limits, Watch::new(theirs.into(), None)), ours)
    }

    #[test]
    fn what_is_paid_is_counted_and_bounded() {
        let (mut purse, _parent) = purse(|limits| (limits.total_bytes, limits.file_bytes) = (5, 7));
        assert_eq!(&*purse.pay(b"12345").expect("within the limit"), b"12345");
        assert_eq!(purse.spent(), 5);
        let over = |limit, value| Err(Cause::Limit { limit, value }.into());
        assert_eq!(purse.pay(b"6").map(drop), over(Limit::TotalBytes, 5));
        assert_eq!((purse.admit(7), purse.admit(8)), (Ok(()), over(Limit::FileBytes, 7)));
    }

    #[test]
    fn who_pays_much_notices_that_the_parent_is_gone() {
        let (mut purse, parent) = purse(|_| {});
        let piece = vec![0; 1 << 20];
        assert!((0..8).all(|_| purse.pay(&piece).is_ok()));
        drop(parent);
        assert!((0..8).any(|_| purse.pay(&piece).map(drop) == Err(Cause::Cancelled.into())));
    }
}
