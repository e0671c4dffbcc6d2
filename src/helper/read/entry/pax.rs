//! PAX extended headers: records, and the values in them.

use super::record::Unplaced;
use super::sparse::Map;
use super::xattr::Xattrs;
use super::{Time, malformed, number, record};
use crate::helper::fault::Result;
use crate::options::Limits;
use crate::report::{Limit, Malformed};

/// A value that was given. One given empty stands for the header's own, and hides a global one.
type Given<T> = Option<Option<T>>;

/// What one extended header says.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Given<Vec<u8>>,
    pub(super) link: Given<Vec<u8>>,
    pub(super) size: Given<u64>,
    pub(super) uid: Given<i64>,
    pub(super) gid: Given<i64>,
    pub(super) mtime: Given<Time>,
    pub(super) atime: Given<Time>,
    pub(super) acl_access: Given<Vec<u8>>,
    pub(super) acl_default: Given<Vec<u8>>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: Sparse,
}

/// The `GNU.sparse.` records.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    major: Option<u8>,
    minor: Option<u8>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    blocks: Option<u64>,
    /// The map of format 0.0: pairs of records. They win over `list`, as in Go.
    pairs: Option<Map>,
    /// The offset that waits for its length.
    half: Option<u64>,
    /// The map of format 0.1: one record.
    list: Option<Map>,
}

/// Where the map of a PAX sparse file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MapPlace {
    /// Nowhere: the file is not sparse, or of an unknown version and taken as it is, as in Go.
    None,
    /// 0.0, 0.1: in the records.
    Records,
    /// 1.0: at the beginning of the body.
    Body,
}

impl Pax {
    /// Reads all records of `body`, which is at `offset` in the stream. Those behind one that is refused are read too: the
    /// entry's name may be among them.
    pub(super) fn parse(body: &[u8], offset: u64, limits: &Limits) -> (Pax, Result<()>) {
        let (mut pax, mut outcome, mut rest) = (Pax::default(), Ok(()), body);
        while !rest.is_empty() {
            let at = offset + (body.len() - rest.len()) as u64;
            let Some((record, next)) = record::split(rest) else {
                return (pax, outcome.and(Err(malformed(Malformed::PaxRecord, at))));
            };
            if let Err(why) = pax.set(record.key, record.value, limits) {
                outcome = outcome.and(Err(why.at(at).into()));
            }
            rest = next;
        }
        let outcome = outcome.and_then(|()| pax.xattrs.settle(limits));
        (pax, outcome)
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Unplaced> {
        match key {
            b"path" => self.path = Some(name(value, limits)?),
            b"linkpath" => self.link = Some(name(value, limits)?),
            b"size" => self.size = Some(given(value, natural)?),
            b"uid" => self.uid = Some(given(value, number::unsigned)?),
            b"gid" => self.gid = Some(given(value, number::unsigned)?),
            b"mtime" => self.mtime = Some(given(value, number::time)?),
            b"atime" => self.atime = Some(given(value, number::time)?),
            // Not applied, but a malformed one is malformed.
            b"ctime" => _ = given(value, number::time)?,
            b"uname" | b"gname" if value.contains(&0) => return Err(Malformed::PaxValue.into()),
            b"SCHILY.acl.access" => self.acl_access = Some(given(value, raw)?),
            b"SCHILY.acl.default" => self.acl_default = Some(given(value, raw)?),
            // Under the kernel's names, so that the one table for rights sees them.
            b"SCHILY.acl.ace" => self.xattrs.push_schily(b"system.nfs4_acl", value, limits)?,
            b"RHT.security.selinux" => self.xattrs.push_schily(b"security.selinux", value, limits)?,
            key => self.set_prefixed(key, value, limits)?,
        }
        Ok(())
    }

    fn set_prefixed(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Unplaced> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push_schily(name, value, limits)
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            self.xattrs.push_libarchive(name, value, limits)
        } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            self.sparse.set(key, value, limits)
        } else {
            Ok(())
        }
    }

    /// These records over those of global headers; sparse records are never global.
    pub(super) fn over(self, global: &Pax) -> Pax {
        Pax {
            path: self.path.or_else(|| global.path.clone()),
            link: self.link.or_else(|| global.link.clone()),
            size: self.size.or(global.size),
            uid: self.uid.or(global.uid),
            gid: self.gid.or(global.gid),
            mtime: self.mtime.or(global.mtime),
            atime: self.atime.or(global.atime),
            acl_access: self.acl_access.or_else(|| global.acl_access.clone()),
            acl_default: self.acl_default.or_else(|| global.acl_default.clone()),
            xattrs: self.xattrs.over(&global.xattrs),
            sparse: self.sparse,
        }
    }

    /// Bytes of names and values kept, for the bound on global headers.
    pub(super) fn weight(&self) -> usize {
        let names = [&self.path, &self.link, &self.acl_access, &self.acl_default];
        let names: usize = names.into_iter().flatten().flatten().map(Vec::len).sum();
        names + self.xattrs.weight()
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Unplaced> {
        match key {
            b"major" => self.major = version(value)?,
            b"minor" => self.minor = version(value)?,
            b"name" => self.name = name(value, limits)?,
            b"size" => self.size = given(value, natural)?,
            b"realsize" => self.real_size = given(value, natural)?,
            b"numblocks" => self.blocks = given(value, natural)?,
            b"offset" if self.half.is_some() => return Err(Malformed::SparseMap.into()),
            b"offset" => self.half = Some(natural(value)?),
            b"numbytes" => {
                let offset = self.half.take().ok_or(Malformed::SparseMap)?;
                let map = self.pairs.get_or_insert_with(|| Map::new(limits.sparse_regions));
                map.push(offset, natural(value)?)?;
            }
            b"map" => self.list = list(value, limits)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn place(&self) -> MapPlace {
        match (self.major, self.minor) {
            (Some(b'0'), Some(b'0' | b'1')) => MapPlace::Records,
            (Some(b'1'), Some(b'0')) => MapPlace::Body,
            // 0.0 and 0.1 have no version records.
            (None, None) if self.blocks.is_some() || self.pairs.is_some() || self.list.is_some() => MapPlace::Records,
            _ => MapPlace::None,
        }
    }

    /// The size of the file with its holes.
    pub(super) fn size(&self) -> Option<u64> {
        self.size.or(self.real_size)
    }

    /// The map of 0.0 and 0.1.
    pub(super) fn map(self, limits: &Limits) -> Result<Map, Unplaced> {
        let map = self.pairs.or(self.list).unwrap_or_else(|| Map::new(limits.sparse_regions));
        if self.half.is_some() || self.blocks != Some(map.count().into()) {
            return Err(Unplaced::Malformed(Malformed::SparseMap));
        }
        Ok(map)
    }
}

fn given<T>(value: &[u8], parse: impl FnOnce(&[u8]) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

fn raw(value: &[u8]) -> Result<Vec<u8>, Malformed> {
    Ok(value.to_vec())
}

fn natural(value: &[u8]) -> Result<u64, Malformed> {
    number::unsigned(value).map(i64::cast_unsigned)
}

fn name(value: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, Unplaced> {
    if value.contains(&0) {
        return Err(Malformed::NulInName.into());
    }
    if value.len() as u64 > limits.name_bytes.into() {
        return Err(Unplaced::Limit(Limit::NameBytes, limits.name_bytes));
    }
    Ok(given(value, raw)?)
}

/// One digit; any other number is a version that nobody has.
fn version(value: &[u8]) -> Result<Option<u8>, Unplaced> {
    given(value, natural)?;
    Ok(match value {
        [] => None,
        [digit] => Some(*digit),
        _ => Some(b'?'),
    })
}

/// The map of 0.1: `offset,length,offset,length`.
fn list(value: &[u8], limits: &Limits) -> Result<Option<Map>, Unplaced> {
    if value.is_empty() {
        return Ok(None);
    }
    let mut map = Map::new(limits.sparse_regions);
    let mut numbers = value.split(|byte| *byte == b',');
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or(Malformed::SparseMap)?;
        map.push(natural(offset)?, natural(length)?)?;
    }
    Ok(Some(map))
}
