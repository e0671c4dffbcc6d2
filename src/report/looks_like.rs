//! What people take for a tar archive.

use serde::{Deserialize, Serialize};

/// What an archive looks like that is no tar: a guess by its first 512 bytes, after the check of its first header has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LooksLike {
    /// gzip, where it is not expected: inside another compression, or where the archive was said not to be compressed.
    Gzip,
    /// zstd, in such a place.
    Zstd,
    /// xz, in such a place.
    Xz,
    /// bzip2, in such a place.
    Bzip2,
    /// lz4, the frame format or the legacy one.
    Lz4,
    /// The `.lzma` format that was before xz.
    Lzma,
    /// lzip.
    Lzip,
    /// lzop.
    Lzop,
    /// lrzip.
    Lrzip,
    /// What `compress(1)` writes: `.Z`.
    Compress,
    /// What `pack(1)` writes: `.z`.
    Pack,
    /// Framed snappy.
    Snappy,
    /// A bare zlib stream.
    Zlib,
    /// A zip file.
    Zip,
    /// A 7z file.
    SevenZip,
    /// A rar file.
    Rar,
    /// A Microsoft cabinet.
    Cab,
    /// A Windows image.
    Wim,
    /// A xar file, or macOS package.
    Xar,
    /// lha, lzh.
    Lha,
    /// cpio, in any of its formats: an initramfs perhaps.
    Cpio,
    /// A Debian package.
    Deb,
    /// What `ar(1)` writes.
    Ar,
    /// An RPM package.
    Rpm,
    /// A Git bundle or pack.
    GitBundle,
    /// A pointer of Git LFS in place of the file.
    GitLfs,
    /// squashfs: a snap, an `AppImage`'s payload, a container in SIF.
    Squashfs,
    /// cramfs or romfs.
    RomFs,
    /// A disk with partitions or a boot sector.
    Disk,
    /// A disk of a virtual machine.
    VirtualDisk,
    /// A program or library.
    Program,
    /// A script, such as an installer that carries its own archive.
    Script,
    /// Encrypted by age, OpenSSL or PGP.
    Encrypted,
    /// A PDF, picture or sound.
    Media,
    /// A page of HTML.
    Html,
    /// XML, such as an error of an object store.
    Xml,
    /// JSON, such as an answer of a registry.
    Json,
    /// Other text.
    Text,
}
