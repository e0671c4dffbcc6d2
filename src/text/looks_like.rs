//! What something looks like that is no tar archive.

use crate::report::LooksLike;
use std::fmt::{self, Display, Formatter};

/// With its article, as in "this is …".
impl Display for LooksLike {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LooksLike::Gzip => "gzip data where a tar archive should be",
            LooksLike::Zstd => "zstd data where a tar archive should be",
            LooksLike::Xz => "xz data where a tar archive should be",
            LooksLike::Bzip2 => "bzip2 data where a tar archive should be",
            LooksLike::Lz4 => "lz4 data",
            LooksLike::Lzma => "data of the old lzma format",
            LooksLike::Lzip => "lzip data",
            LooksLike::Lzop => "lzop data",
            LooksLike::Lrzip => "lrzip data",
            LooksLike::Compress => "data of compress(1) (.Z)",
            LooksLike::Pack => "data of pack(1) (.z)",
            LooksLike::Snappy => "snappy data",
            LooksLike::Zlib => "zlib data",
            LooksLike::Zip => "a zip archive",
            LooksLike::SevenZip => "a 7z archive",
            LooksLike::Rar => "a rar archive",
            LooksLike::Cab => "a cab archive",
            LooksLike::Wim => "a Windows image (WIM)",
            LooksLike::Xar => "a xar archive or macOS package",
            LooksLike::Lha => "an lha archive",
            _ => return of_packages(f, *self),
        })
    }
}

fn of_packages(f: &mut Formatter<'_>, looks_like: LooksLike) -> fmt::Result {
    f.write_str(match looks_like {
        LooksLike::Cpio => "a cpio archive",
        LooksLike::Deb => "a Debian package (deb), which has its archives inside",
        LooksLike::Ar => "an ar archive",
        LooksLike::Rpm => "an rpm package",
        LooksLike::GitBundle => "a Git bundle or pack",
        LooksLike::GitLfs => "a pointer of Git LFS (git-lfs) and not the file itself",
        LooksLike::Squashfs => "a squashfs file system",
        LooksLike::RomFs => "a cramfs or romfs file system",
        LooksLike::Disk => "the image of a disk, with a boot sector",
        LooksLike::VirtualDisk => "the disk of a virtual machine",
        LooksLike::Program => "a program",
        LooksLike::Script => "a script",
        LooksLike::Encrypted => "encrypted data",
        LooksLike::Media => "a document, a picture or sound",
        LooksLike::Html => "an HTML page",
        LooksLike::Xml => "an XML document",
        LooksLike::Json => "JSON",
        _ => "text",
    })
}

/// What turns it into something that can be unpacked here, or what to look at.
pub(super) fn remedy(looks_like: LooksLike) -> &'static str {
    match looks_like {
        LooksLike::Gzip | LooksLike::Compress | LooksLike::Pack => "pipe it through `gzip -dc` first",
        LooksLike::Zstd => "pipe it through `zstd -dc` first",
        LooksLike::Xz => "pipe it through `xz -dc` first",
        LooksLike::Bzip2 => "pipe it through `bzip2 -dc` first",
        LooksLike::Lz4 => "pipe it through `lz4 -dc` first",
        LooksLike::Lzma => "pipe it through `xz -dc` first, which knows lzma too",
        LooksLike::Lzip => "pipe it through `lzip -dc` first",
        LooksLike::Lzop => "pipe it through `lzop -dc` first",
        LooksLike::Lrzip => "unpack it with `lrzip -d` first",
        LooksLike::Snappy => "pipe it through `snzip -dc` first",
        LooksLike::Zlib => "pipe it through `pigz -dc` first",
        LooksLike::Zip
        | LooksLike::SevenZip
        | LooksLike::Rar
        | LooksLike::Cab
        | LooksLike::Xar
        | LooksLike::Lha
        | LooksLike::Cpio
        | LooksLike::Rpm => "`bsdtar -cf - @FILE` makes a tar archive of it",
        LooksLike::Deb => {
            "`ar t FILE` names what is in it, and `ar p FILE data.tar.xz` gives its files as a tar archive"
        }
        // bsdtar gives its members no kind, and then cannot write them.
        LooksLike::Ar => "`ar t FILE` names what is in it, and `ar p FILE NAME` gives a tar archive that is",
        LooksLike::GitLfs => "fetch the file itself with `git lfs pull`",
        LooksLike::Squashfs => "`sqfs2tar FILE` (package squashfs-tools-ng) makes a tar archive of it",
        LooksLike::Encrypted => "decrypt it first",
        LooksLike::Html | LooksLike::Xml | LooksLike::Json | LooksLike::Text => {
            "look at what was downloaded, and from where: it may be the words of an error"
        }
        _ => "give the tar archive itself",
    }
}
