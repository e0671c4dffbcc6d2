//! Extended attributes, ACLs and capabilities as records: rules 12 and 13.

use super::overlay::Marks;
use super::owners::Owners;
use crate::helper::fault::{Fault, Result, on, quoted};
use crate::helper::jail::cover::Shown;
use crate::helper::rights::packed::{AclError, Fate, acl_key, acl_text, capability, fate};
use crate::options::{PackOptions, PackXattrs};
use crate::report::{Call, Cause, Descriptor, EventKind, Limit};
use nix::errno::Errno;
use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Bytes of all names of a file, and of one value, that Linux has at most: `xattr(7)`.
const MOST: usize = 64 << 10;

/// What has attributes.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    Open(&'a OwnedFd),
    /// A link or special file of this name in the working directory: attributes of what is held by a path descriptor are
    /// not to be had before Linux 6.13.
    Named(&'a [u8]),
    /// A directory that is out of sight.
    Covered(&'a Shown),
}

/// What was read of one file.
#[derive(Default)]
pub(crate) struct Attributes {
    /// Keys and values as the archive has them.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) events: Vec<EventKind>,
    /// They changed between two calls, twice.
    pub(crate) changed: bool,
}

/// Room for attributes, of which those of overlayfs are not packed if it is said which they are.
pub(crate) struct Reader {
    marks: Option<Marks>,
    room: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(marks: Option<Marks>) -> Reader {
        Reader { marks, room: vec![0; MOST] }
    }

    pub(crate) fn read(&mut self, of: Of<'_>, options: &PackOptions, owners: &Owners<'_>) -> Result<Attributes> {
        if options.xattrs == PackXattrs::None {
            return Ok(Attributes::default());
        }
        let mut found = self.read_once(of, options, owners)?;
        if found.changed {
            found = self.read_once(of, options, owners)?;
        }
        let bytes: usize = found.records.iter().map(|(key, value)| key.len() + value.len()).sum();
        let value = options.limits.extended_header_bytes;
        if bytes > value as usize {
            return Err(Cause::Limit { limit: Limit::ExtendedHeaderBytes, value: value.into() }.into());
        }
        Ok(found)
    }

    fn read_once(&mut self, of: Of<'_>, options: &PackOptions, owners: &Owners<'_>) -> Result<Attributes> {
        let mut found = Attributes::default();
        let names = match self.list(of) {
            Ok(0) | Err(Errno::EOPNOTSUPP) => return Ok(found),
            Ok(bytes) => self.room.get(..bytes).unwrap_or_default().to_vec(),
            Err(errno) => return Err(not_listed(of, errno)),
        };
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let packed = self.marks.map_or(Some(Cow::Borrowed(name)), |marks| marks.packed(name));
            let Some(packed) = packed else { continue };
            match fate(&packed, options) {
                Fate::Left => {}
                Fate::Told => found.events.push(EventKind::XattrDropped { name: name.to_vec() }),
                Fate::Packed => match self.value(of, name) {
                    Ok(value) => take(&mut found, &packed, &value, owners)?,
                    // The next look shows what is there now.
                    Err(Errno::ENODATA | Errno::ERANGE) => found.changed = true,
                    Err(errno) => found.unreadable(name, errno),
                },
            }
        }
        Ok(found)
    }

    fn list(&mut self, of: Of<'_>) -> Result<usize, Errno> {
        let listed = match of {
            Of::Open(fd) => flistxattr(fd, &mut self.room[..]),
            Of::Named(name) => llistxattr(OsStr::from_bytes(name), &mut self.room[..]),
            Of::Covered(shown) => return self.list_shown(shown),
        };
        listed.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }

    fn list_shown(&mut self, shown: &Shown) -> Result<usize, Errno> {
        let names: Vec<u8> =
            shown.as_ref().map_err(|errno| *errno)?.iter().flat_map(|(name, _)| [name, &b"\0"[..]].concat()).collect();
        self.room.get_mut(..names.len()).ok_or(Errno::ERANGE)?.copy_from_slice(&names);
        Ok(names.len())
    }

    fn value(&mut self, of: Of<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let attribute = OsStr::from_bytes(name);
        let got = match of {
            Of::Open(fd) => fgetxattr(fd, attribute, &mut self.room[..]),
            Of::Named(file) => lgetxattr(OsStr::from_bytes(file), attribute, &mut self.room[..]),
            Of::Covered(Err(errno)) => return Err(*errno),
            Of::Covered(Ok(shown)) => {
                let found = shown.iter().find(|(shown, _)| shown == name);
                return found.map_or(Err(Errno::ENODATA), |(_, value)| value.clone());
            }
        };
        let length = got.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        Ok(self.room.get(..length).unwrap_or_default().to_vec())
    }
}

impl Attributes {
    fn unreadable(&mut self, name: &[u8], errno: Errno) {
        self.events.push(EventKind::XattrUnreadable { name: name.to_vec(), errno: errno as i32 });
    }
}

fn take(found: &mut Attributes, name: &[u8], value: &[u8], owners: &Owners<'_>) -> Result<()> {
    let Some(key) = acl_key(name) else {
        let value = if name == b"security.capability" {
            let (value, foreign) = capability(value, |root| owners.is_root(root));
            found.events.extend(foreign.map(|root| EventKind::ForeignCapability { root }));
            value
        } else {
            value.to_vec()
        };
        found.records.push(record(name, value));
        return Ok(());
    };
    let mut replaced = Vec::new();
    let mut map = |group, id| {
        let mapped = if group { owners.group(id) } else { owners.user(id) }?;
        replaced.extend(mapped.replaced.then_some(EventKind::AclUnmapped { group, id }));
        Ok(mapped.id)
    };
    match acl_text(value, key.ends_with("access"), &mut map) {
        Ok(Some(text)) => found.records.push((key.into(), text.into())),
        Ok(None) => {}
        Err(AclError::Malformed) => found.unreadable(name, Errno::EINVAL),
        Err(AclError::Id(cause)) => return Err(cause.into()),
    }
    found.events.extend(replaced);
    Ok(())
}

/// Readers decode `%` in a key, and none can have a `=`: such a name is packed in the other spelling.
fn record(name: &[u8], value: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if !name.contains(&b'=') && !name.contains(&b'%') {
        return ([b"SCHILY.xattr.", name].concat(), value);
    }
    let mut key = b"LIBARCHIVE.xattr.".to_vec();
    for byte in name {
        match byte {
            b'=' | b'%' => key.extend(format!("%{byte:02X}").into_bytes()),
            byte if byte.is_ascii_graphic() => key.push(*byte),
            byte => key.extend(format!("%{byte:02X}").into_bytes()),
        }
    }
    (key, base64(&value))
}

/// RFC 4648, without padding.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |word: u32, at: usize| DIGITS[(word >> (18 - 6 * at) & 63) as usize];
    let group = |group: &[u8]| {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(|at| digit(word, at)).collect::<Vec<_>>()
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cold]
fn not_listed(of: Of<'_>, errno: Errno) -> Fault {
    match of {
        Of::Open(_) | Of::Covered(_) => {
            Fault::os(errno, Call::Flistxattr, on(Descriptor::File).with(format_args!("<data>, {MOST}")))
        }
        Of::Named(name) => Fault::os(errno, Call::Llistxattr, format!("{}, <data>, {MOST}", quoted(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_rule_12_a_name_with_an_equals_sign_or_a_percent_sign_is_in_the_other_spelling() {
        for (name, value, key, text) in [
            (&b"user.a"[..], &b"x\0\n="[..], "SCHILY.xattr.user.a", &b"x\0\n="[..]),
            (b"user.a", b"", "SCHILY.xattr.user.a", b""),
            (b"user.a b\xff", b"x", "SCHILY.xattr.user.a b\u{ff}", b"x"),
            (b"user.a=b", b"f", "LIBARCHIVE.xattr.user.a%3Db", b"Zg"),
            (b"user.%20 \xe9", b"foobar", "LIBARCHIVE.xattr.user.%2520%20%E9", b"Zm9vYmFy"),
            (b"user.=", b"fo", "LIBARCHIVE.xattr.user.%3D", b"Zm8"),
        ] {
            let key: Vec<u8> = key.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect();
            assert_eq!(record(name, value.to_vec()), (key, text.to_vec()), "{}", name.escape_ascii());
        }
    }
}
