//! Telling of entries instead of applying them, and beside it.

use super::Applier;
use crate::helper::fault::Result;
use crate::helper::read::entry::Entry;
use crate::report::{DeviceNumber, EntryKind, Listed};

impl Applier<'_> {
    pub(super) fn list(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        self.counts.skipped += 1;
        let selected = self.selection.takes_raw(path, self.options)?;
        if !selected {
            return Ok(());
        }
        self.reporter.listed(listed(entry, path));
        Ok(())
    }
}

pub(super) fn listed(entry: &Entry, path: &[u8]) -> Listed {
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let device = || DeviceNumber { major: number(entry.device.0), minor: number(entry.device.1) };
    Listed {
        index: entry.index,
        offset: entry.offset,
        path: path.to_vec(),
        link: entry.link.clone(),
        kind: entry.kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime.seconds,
        mtime_ns: entry.mtime.nanoseconds,
        device: matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice).then(device),
        xattrs: entry.xattrs.iter().map(|(name, _)| name.clone()).collect(),
    }
}
