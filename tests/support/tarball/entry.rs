//! One entry and everything about it that a test may want to bend.

use super::header::{Checksum, Dialect, Header, padded, pax_record};
use super::sparse::Sparse;

/// Where a name goes that does not fit into 100 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LongNames {
    /// `path` and `linkpath` records.
    Pax,
    /// `L` and `K` entries.
    Gnu,
    /// The ustar prefix, split at this byte.
    Prefix(usize),
    /// Nowhere: it is cut.
    Cut,
}

/// An entry in the making; `Tarball::with` hands it to a closure.
#[derive(Clone)]
pub struct Entry {
    pub(super) header: Header,
    pub(super) body: Vec<u8>,
    pub(super) sparse: Option<Sparse>,
    declared: Option<i128>,
    nanos: Option<u32>,
    records: Vec<u8>,
    long_names: LongNames,
    pad: bool,
}

impl Entry {
    pub(super) fn new(name: &[u8], typeflag: u8, body: &[u8]) -> Self {
        Entry {
            header: Header::new(name, typeflag),
            body: body.to_vec(),
            sparse: None,
            declared: None,
            nanos: None,
            records: Vec::new(),
            long_names: LongNames::Pax,
            pad: true,
        }
    }

    /// Permission bits, and whatever else fits into the field.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.header.mode = mode.into();
        self
    }

    /// Owner; what does not fit into octal becomes base-256, negative numbers too.
    pub fn uid(&mut self, uid: i64) -> &mut Self {
        self.header.uid = uid.into();
        self
    }

    /// Group, as `uid`.
    pub fn gid(&mut self, gid: i64) -> &mut Self {
        self.header.gid = gid.into();
        self
    }

    /// Seconds in the header.
    pub fn mtime(&mut self, seconds: i64) -> &mut Self {
        self.header.mtime = seconds.into();
        self
    }

    /// Seconds and nanoseconds, through a PAX record; the header has the seconds.
    pub fn mtime_ns(&mut self, seconds: i64, nanos: u32) -> &mut Self {
        self.nanos = Some(nanos);
        self.mtime(seconds)
    }

    /// A PAX record for this entry.
    pub fn pax(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.records.extend(pax_record(key.as_ref(), value.as_ref()));
        self
    }

    /// Bytes of a PAX header as they are, right or wrong.
    pub fn pax_raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.records.extend(bytes.as_ref());
        self
    }

    /// An extended attribute, as star and GNU tar write it.
    pub fn xattr(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// The type flag, whatever the rest says.
    pub fn typeflag(&mut self, flag: u8) -> &mut Self {
        self.header.typeflag = flag;
        self
    }

    /// The header's size, whatever the body's is.
    pub fn size(&mut self, size: i128) -> &mut Self {
        self.declared = Some(size);
        self
    }

    /// What stands between header and next header, for types that have no body, too.
    pub fn body(&mut self, body: impl AsRef<[u8]>) -> &mut Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The link field, on entries of any type.
    pub fn link(&mut self, target: impl AsRef<[u8]>) -> &mut Self {
        self.header.link = target.as_ref().to_vec();
        self
    }

    /// The device fields, on entries of any type.
    pub fn device(&mut self, major: i64, minor: i64) -> &mut Self {
        self.header.device = Some((major.into(), minor.into()));
        self
    }

    /// Which magic.
    pub fn dialect(&mut self, dialect: Dialect) -> &mut Self {
        self.header.dialect = dialect;
        self
    }

    /// How the checksum is made, or that it is wrong.
    pub fn checksum(&mut self, checksum: Checksum) -> &mut Self {
        self.header.checksum = checksum;
        self
    }

    /// Where long names go.
    pub fn long_names(&mut self, how: LongNames) -> &mut Self {
        self.long_names = how;
        self
    }

    /// All numbers in base-256.
    pub fn base256(&mut self) -> &mut Self {
        self.header.base256 = true;
        self
    }

    /// These bytes at this place of the header, before the checksum is made.
    pub fn patch(&mut self, at: usize, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.header.patches.push((at, bytes.as_ref().to_vec()));
        self
    }

    /// No zeros after the body.
    pub fn unpadded(&mut self) -> &mut Self {
        self.pad = false;
        self
    }

    pub(super) fn render(&self) -> Vec<u8> {
        let mut out = self.pax_header();
        out.extend(self.gnu_names());
        let (header, body) = (self.final_header(), self.final_body());
        out.extend(header.block());
        out.extend(self.sparse.iter().flat_map(Sparse::extension_blocks));
        out.extend(if self.pad { padded(&body) } else { body });
        out
    }

    fn final_body(&self) -> Vec<u8> {
        let head = self.sparse.as_ref().map_or(Vec::new(), Sparse::body_head);
        [head, self.body.clone()].concat()
    }

    fn final_header(&self) -> Header {
        let mut header = self.header.clone();
        header.size = self.declared.unwrap_or(self.final_body().len() as i128);
        if let LongNames::Prefix(at) = self.long_names {
            header.prefix = header.name[..at].to_vec();
            header.name.drain(..=at);
        }
        if let Some(sparse) = &self.sparse {
            header.name = sparse.header_name(&header.name);
            header.dialect = sparse.dialect(header.dialect);
            header.patches.splice(0..0, sparse.patches());
        }
        header
    }

    fn pax_header(&self) -> Vec<u8> {
        let body = [self.implied_records(), self.records.clone()].concat();
        if body.is_empty() { Vec::new() } else { Entry::new(b"PaxHeaders/x", b'x', &body).render() }
    }

    fn implied_records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(nanos) = self.nanos {
            out.extend(pax_record(b"mtime", decimal_time(self.header.mtime, nanos).as_bytes()));
        }
        if self.long_names == LongNames::Pax {
            for (key, value) in [(&b"path"[..], &self.header.name), (b"linkpath", &self.header.link)] {
                out.extend(if value.len() > 100 { pax_record(key, value) } else { Vec::new() });
            }
        }
        for (key, value) in self.sparse.iter().flat_map(|s| s.records(&self.header.name)) {
            out.extend(pax_record(&key, &value));
        }
        out
    }

    fn gnu_names(&self) -> Vec<u8> {
        if self.long_names != LongNames::Gnu {
            return Vec::new();
        }
        let long = |flag, value: &Vec<u8>| {
            let body = [value, &b"\0"[..]].concat();
            let mut entry = Entry::new(b"././@LongLink", flag, &body);
            entry.dialect(Dialect::Gnu);
            if value.len() > 100 { entry.render() } else { Vec::new() }
        };
        [long(b'K', &self.header.link), long(b'L', &self.header.name)].concat()
    }
}

/// `seconds.nanos` where the two are added; before the epoch the text's fraction counts downwards.
fn decimal_time(seconds: i128, nanos: u32) -> String {
    if seconds >= 0 || nanos == 0 {
        return format!("{seconds}.{nanos:09}");
    }
    let total = -(seconds * 1_000_000_000 + i128::from(nanos));
    format!("-{}.{:09}", total / 1_000_000_000, total % 1_000_000_000)
}
