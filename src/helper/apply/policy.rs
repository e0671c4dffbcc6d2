//! From what the archive says of an entry to what the file is to be: ids, times, attributes. Pure.

use super::attribute::CAPABILITY;
use super::metadata::Metadata;
use crate::helper::fault::Result;
use crate::helper::read::entry::{Entry, Time};
use crate::helper::rights::{self, Attribute, Namespace, Ruling, Setting};
use crate::options::{Options, Owner, Xattrs};
use crate::report::{Cause, EntryKind, EventKind};
use std::ffi::CString;

/// The caller's policies on metadata, for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    clamp_mtime: Option<i64>,
    usable_modes: bool,
    xattrs: Xattrs,
    setting: Setting,
    /// No root was entered: everything belongs to whoever the helper runs as.
    beneath: bool,
    /// To these, where that was not asked for.
    own: Option<(u32, u32)>,
}

impl Policy {
    /// `own`: who the helper runs as; `beneath`: no root was entered.
    pub(crate) fn new(options: &Options, own: (u32, u32), namespace: Namespace, beneath: bool) -> Policy {
        Policy {
            clamp_mtime: options.clamp_mtime,
            usable_modes: options.usable_modes,
            xattrs: options.xattrs,
            setting: Setting::new(options, own.0, namespace, beneath),
            beneath,
            own: (options.owner != Owner::Caller).then_some(own),
        }
    }

    /// What the entry is to be, and what had to be left out.
    pub(crate) fn metadata(&self, entry: &mut Entry) -> Result<(Metadata, Vec<EventKind>)> {
        let mut events = Vec::new();
        let mtime = self.clamp(entry.mtime);
        let owner = self.ids(entry.uid, entry.gid)?;
        if self.usable_modes && entry.kind == EntryKind::Directory {
            widen(entry, &mut events);
        }
        if self.beneath {
            disown(entry, self.own, &mut events);
        }
        let xattrs = self.attributes(entry, &mut events)?;
        let atime = entry.atime.map_or(mtime, |atime| self.clamp(atime));
        Ok((Metadata { owner, mode: entry.mode, mode_now: None, mtime, atime, xattrs }, events))
    }

    /// A directory that the archive implies.
    pub(crate) fn implied(&self) -> Result<Metadata> {
        Ok(Metadata { owner: self.ids(0, 0)?, mode: 0o755, ..Metadata::default() })
    }

    pub(crate) fn clamp(&self, time: Time) -> Time {
        match self.clamp_mtime {
            Some(seconds) if (time.seconds, time.nanoseconds) > (seconds, 0) => Time { seconds, nanoseconds: 0 },
            _ => time,
        }
    }

    fn ids(&self, uid: i64, gid: i64) -> Result<Option<(u32, u32)>> {
        self.setting.owners.ids(uid, gid).map_err(|refusal| Cause::Refused(refusal).into())
    }

    fn attributes(&self, entry: &mut Entry, events: &mut Vec<EventKind>) -> Result<Vec<(CString, Vec<u8>)>> {
        if self.xattrs == Xattrs::None
            || (entry.xattrs.is_empty() && entry.acl_access.is_none() && entry.acl_default.is_none())
        {
            return Ok(Vec::new());
        }
        let mut attributes = Vec::new();
        for mut attribute in given(entry) {
            entry.mode = attribute.mode_without(entry.mode);
            if self.beneath && !self.usable_modes && entry.kind == EntryKind::Directory {
                // Until the run is over (`dirs/usable.rs`), which then goes by the mode.
                entry.mode = attribute.owners_mode(entry.mode);
                attribute.let_owner_use();
            }
            if self.usable_modes && entry.kind == EntryKind::Directory {
                attribute.let_owner_use();
            }
            if let Some((name, value)) = self.attribute(attribute, entry.offset, events)? {
                attributes.push((name, value));
            }
        }
        attributes.sort_by_key(|(name, _)| name.as_bytes() == CAPABILITY);
        Ok(attributes)
    }

    /// The attribute's name and value on disk, if it goes there.
    fn attribute(
        &self,
        attribute: Attribute,
        offset: u64,
        events: &mut Vec<EventKind>,
    ) -> Result<Option<(CString, Vec<u8>)>> {
        let name = attribute.name.clone();
        let on_disk = match rights::decide(&attribute, &self.setting) {
            Ruling::Kept | Ruling::Mapped => name,
            Ruling::Escaped => {
                let escaped = rights::escape(&name);
                events.push(EventKind::XattrEscaped { name });
                escaped
            }
            Ruling::Dropped => {
                events.push(EventKind::XattrDropped { name });
                return Ok(None);
            }
            Ruling::Refused => return Err(attribute.refusal(&self.setting, offset)),
        };
        let value = attribute.value(&self.setting)?;
        // A name with NUL is malformed long before.
        Ok(CString::new(on_disk).ok().map(|name| (name, value)))
    }
}

/// Its owner may look through it and remove what is in it.
fn widen(entry: &mut Entry, events: &mut Vec<EventKind>) {
    const ALL: u32 = 0o700;
    if entry.mode & ALL != ALL {
        events.push(EventKind::ModeWidened { mode: entry.mode });
        entry.mode |= ALL;
    }
}

/// Nobody is given anything, and what would be another's right is nobody's.
fn disown(entry: &mut Entry, own: Option<(u32, u32)>, events: &mut Vec<EventKind>) {
    const SET_ID: u32 = 0o6000;
    let others = own.is_some_and(|(uid, gid)| (entry.uid, entry.gid) != (uid.into(), gid.into()));
    if others || entry.mode & SET_ID != 0 {
        events.push(EventKind::CallersOwn);
    }
    entry.mode &= !SET_ID;
}

/// All that the entry has, each once: of an ACL in two spellings the text, unless its names say nothing here.
fn given(entry: &mut Entry) -> Vec<Attribute> {
    let mode = entry.mode;
    let texts = [(entry.acl_access.take(), true), (entry.acl_default.take(), false)];
    let mut given: Vec<Attribute> = Vec::new();
    for attribute in texts.into_iter().filter_map(|(text, access)| Some(Attribute::acl_text(&text?, access, mode))) {
        let same = |(name, _): &(Vec<u8>, Vec<u8>)| *name == attribute.name;
        if attribute.is_by_name() && entry.xattrs.iter().any(same) {
            continue;
        }
        entry.xattrs.retain(|other| !same(other));
        given.push(attribute);
    }
    given.extend(entry.xattrs.drain(..).map(|(name, value)| Attribute::new(name, value)));
    given
}
