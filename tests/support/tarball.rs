//! A tar writer that can lie.
//!
//! ```text
//! let tar = Tarball::new().dir("a/").file("a/b", b"hi").with(|e| { e.mode(0o4755).uid(7); }).build();
//! ```

mod compress;
mod entry;
mod header;
mod sparse;

pub use compress::{bz2, gz, xz, zst};
pub use entry::{Entry, LongNames};
pub use header::{BLOCK, Checksum, Dialect};
pub use sparse::Format as SparseFormat;
use sparse::Sparse;

enum Piece {
    Entry(Box<Entry>),
    Raw(Vec<u8>),
}

/// An archive in the making; every method adds an entry, `with` changes the last one.
pub struct Tarball {
    pieces: Vec<Piece>,
    end: bool,
    keep: Option<usize>,
    trailing: Vec<u8>,
}

impl Tarball {
    /// Nothing yet.
    pub fn new() -> Self {
        Tarball { pieces: Vec::new(), end: true, keep: None, trailing: Vec::new() }
    }

    /// An entry of any type flag.
    pub fn entry(mut self, name: impl AsRef<[u8]>, typeflag: u8, body: impl AsRef<[u8]>) -> Self {
        self.pieces.push(Piece::Entry(Box::new(Entry::new(name.as_ref(), typeflag, body.as_ref()))));
        self
    }

    /// Change the last entry.
    ///
    /// # Panics
    /// When there is none, or raw blocks are last.
    pub fn with(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        let Some(Piece::Entry(last)) = self.pieces.last_mut() else { panic!("`with` follows an entry") };
        change(last);
        self
    }

    /// A directory, 0755.
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'5', b"").with(|e| _ = e.mode(0o755))
    }

    /// A regular file, 0644.
    pub fn file(self, name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'0', body)
    }

    /// A symbolic link.
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'2', b"").with(|e| _ = e.mode(0o777).link(target))
    }

    /// A hard link.
    pub fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'1', b"").with(|e| _ = e.link(target))
    }

    /// A character device.
    pub fn char_dev(self, name: impl AsRef<[u8]>, major: i64, minor: i64) -> Self {
        self.entry(name, b'3', b"").with(|e| _ = e.device(major, minor))
    }

    /// A block device.
    pub fn block_dev(self, name: impl AsRef<[u8]>, major: i64, minor: i64) -> Self {
        self.entry(name, b'4', b"").with(|e| _ = e.device(major, minor))
    }

    /// A named pipe.
    pub fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(name, b'6', b"")
    }

    /// The marker that hides this path of the layers below.
    pub fn whiteout(self, hidden: impl AsRef<[u8]>) -> Self {
        let hidden = hidden.as_ref();
        let at = hidden.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        self.file([&hidden[..at], b".wh.", &hidden[at..]].concat(), b"")
    }

    /// The marker that hides all that the layers below have in this directory (`""`: the root).
    pub fn opaque(self, dir: impl AsRef<[u8]>) -> Self {
        let dir = dir.as_ref();
        let slash: &[u8] = if dir.is_empty() || dir.ends_with(b"/") { b"" } else { b"/" };
        self.file([dir, slash, b".wh..wh..opq"].concat(), b"")
    }

    /// A file with holes: the pieces lie at their offsets.
    pub fn sparse(self, name: impl AsRef<[u8]>, format: SparseFormat, pieces: &[(u64, &[u8])], real_size: u64) -> Self {
        let body: Vec<u8> = pieces.iter().flat_map(|&(_, data)| data.iter().copied()).collect();
        let flag = if format == SparseFormat::OldGnu { b'S' } else { b'0' };
        self.entry(name, flag, body).with(|e| e.sparse = Some(Sparse::new(format, pieces, real_size)))
    }

    /// PAX records for all entries that follow.
    pub fn pax_global(self, records: &[(&str, &str)]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(k, v)| header::pax_record(k.as_bytes(), v.as_bytes())).collect();
        self.entry("pax_global_header", b'g', body)
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.push(Piece::Raw(bytes.as_ref().to_vec()));
        self
    }

    /// Leave out the two zero blocks.
    pub fn no_end(mut self) -> Self {
        self.end = false;
        self
    }

    /// Cut the archive after this many bytes.
    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.keep = Some(bytes);
        self
    }

    /// These bytes after the end marker.
    pub fn trailing(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.trailing.extend(bytes.as_ref());
        self
    }

    /// The archive.
    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Entry(entry) => out.extend(entry.render()),
                Piece::Raw(bytes) => out.extend(bytes),
            }
        }
        out.extend(if self.end { &[0; 2 * BLOCK][..] } else { &[] });
        out.extend(&self.trailing);
        out.truncate(self.keep.unwrap_or(usize::MAX));
        out
    }
}
