//! A blob of containerd's content store: one file, opened once.

use crate::interface::types::Descriptor;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use untar_in_root::Digest;

/// An open blob, and what its descriptor says of it.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) file: File,
    pub(crate) digest: Digest,
    /// The first bytes.
    pub(crate) start: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Lacking {
    /// The digest is not one of the content store's.
    Digest(String),
    /// Of another algorithm, with which another differ may know what to do.
    OtherDigest(String),
    Missing {
        digest: Digest,
        path: PathBuf,
    },
    /// It has `actual` bytes where its descriptor says `expected`.
    Size {
        expected: u64,
        actual: u64,
    },
    NoFile(Digest),
    Io(io::Error),
}

/// Opens what the descriptor names in the content store below `root`. Holding it open keeps it, whatever is collected.
pub(crate) fn open(root: &Path, descriptor: &Descriptor) -> Result<Blob, Lacking> {
    let digest: Digest = descriptor.digest.parse().map_err(|_| no_digest(&descriptor.digest))?;
    // No link and no FIFO belongs there.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let path = path(root, &descriptor.digest);
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Lacking::Missing { digest, path }),
        Err(e) => return Err(Lacking::Io(e)),
    };
    let metadata = file.metadata().map_err(Lacking::Io)?;
    if !metadata.is_file() {
        return Err(Lacking::NoFile(digest));
    }
    // Without a size the descriptor says nothing of it.
    let expected = u64::try_from(descriptor.size).unwrap_or(0);
    if expected != 0 && expected != metadata.len() {
        return Err(Lacking::Size { expected, actual: metadata.len() });
    }
    let start = beginning(&file).map_err(Lacking::Io)?;
    Ok(Blob { file, digest, start })
}

/// SHA-512 is the other one that the image-spec has registered.
fn no_digest(text: &str) -> Lacking {
    let lower_hex = |hex: &str| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.strip_prefix("sha512:") {
        Some(hex) if hex.len() == 128 && lower_hex(hex) => Lacking::OtherDigest(text.to_owned()),
        _ => Lacking::Digest(text.to_owned()),
    }
}

fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut start = vec![0; 16];
    let n = file.read_at(&mut start, 0)?;
    start.truncate(n);
    Ok(start)
}

/// Only what was parsed before is made a name.
fn path(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    blobs(root).join(hex)
}

/// The directory of a content store that has them.
pub(crate) fn blobs(root: &Path) -> PathBuf {
    root.join("io.containerd.content.v1.content/blobs/sha256")
}
