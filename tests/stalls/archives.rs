//! What is fed: the fixtures, and archives of several members, frames, streams and headers.

use std::path::Path;

use untar_in_root::Options;

use crate::support::run::{layer, literal};
use crate::support::tarball::{LongNames, SparseFormat, Tarball, bz2, gz, xz, zst};

pub struct Archive {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Where something ends: members, frames, padding; or headers and bodies.
    pub cuts: Vec<usize>,
    pub options: fn(&mut Options),
}

/// As they are.
pub fn fixtures() -> Vec<Archive> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).expect("fixtures").map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.to_string_lossy().contains(".tar"));
    paths.sort();
    assert!(paths.len() > 25, "{} fixtures", paths.len());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("fixture");
        let options = if name.starts_with("layer") { layer } else { literal };
        let cuts = if name.ends_with(".tar") { (512..bytes.len()).step_by(512).collect() } else { Vec::new() };
        Archive { name, bytes, cuts, options }
    };
    paths.into_iter().map(read).collect()
}

/// Extended headers of all kinds, sparse maps, attributes, links.
fn rich() -> Vec<u8> {
    let long = format!("{}/{}", "directory".repeat(9), "name".repeat(40));
    let mut tar = Tarball::new().pax_global(&[("comment", "of all")]).dir("d/");
    tar = tar.file(&long, "long by PAX").with(|e| _ = e.long_names(LongNames::Pax));
    tar = tar.file(format!("{long}-gnu"), "long by GNU").with(|e| _ = e.long_names(LongNames::Gnu));
    tar = tar.file("d/attributes", "x").with(|e| _ = e.xattr("user.a", "v".repeat(3000)));
    for (name, format) in [
        ("d/old", SparseFormat::OldGnu),
        ("d/0.0", SparseFormat::Pax00),
        ("d/0.1", SparseFormat::Pax01),
        ("d/1.0", SparseFormat::Pax10),
    ] {
        let body = vec![b'y'; 700];
        let pieces: Vec<(u64, &[u8])> = (0..30).map(|i| (i * 8192, &body[..])).collect();
        tar = tar.sparse(name, format, &pieces, 400_000);
    }
    tar = tar.hardlink("d/hard", "d/attributes").symlink("d/soft", "hard").file("d/empty", "");
    (0..100).fold(tar, |tar, i| tar.file(format!("d/f{i}"), format!("{i}.").repeat(i * 7))).build()
}

/// A member for each third, and what the format allows between and behind them.
pub fn compressed() -> Vec<Archive> {
    let plain = rich();
    let thirds: Vec<&[u8]> = plain.chunks(plain.len().div_ceil(3)).collect();
    let skippable = || [&[0x50, 0x2a, 0x4d, 0x18, 100, 0, 0, 0][..], &[7; 100]].concat();
    let of = |name: &str, parts: Vec<Vec<u8>>| {
        let mut end = 0;
        let ends = parts.iter().map(|part| {
            end += part.len();
            end
        });
        Archive { name: name.to_owned(), cuts: ends.collect(), bytes: parts.concat(), options: literal }
    };
    let each = |pack: fn(&[u8]) -> Vec<u8>| thirds.iter().map(|third| pack(third)).collect::<Vec<_>>();
    let with_zeros = |mut parts: Vec<Vec<u8>>| {
        parts.push(vec![0; 512]);
        parts
    };
    let frames = each(zst).into_iter().flat_map(|frame| [skippable(), frame]).chain([skippable(), vec![0; 100]]);
    let blocks = |bytes: &[u8]| bytes.chunks(512).map(<[u8]>::to_vec).collect();
    vec![
        of("plain", blocks(&plain)),
        of("gzip", with_zeros(each(gz))),
        of("bzip2", with_zeros(each(bz2))),
        of("zstd", frames.collect()),
        of("xz", with_zeros(each(xz))),
    ]
}

/// More than the decoder's first megabyte, in small files.
pub fn many() -> Archive {
    let file = |tar: Tarball, i: usize| tar.file(format!("f{i:04}"), format!("{i:04}.").repeat(780));
    let bytes = (0..300).fold(Tarball::new(), file).build();
    Archive { name: "many".to_owned(), bytes, cuts: Vec::new(), options: literal }
}

/// Each small file in a chunk of its own.
pub fn interleaved() -> Archive {
    let large = vec![b'l'; 300_000];
    let pair =
        |tar: Tarball, i: usize| tar.file(format!("small-{i}"), format!("{i}")).file(format!("large-{i}"), &large);
    let few = (0..70).fold(Tarball::new(), |tar, i| tar.file(format!("first-{i}"), ""));
    Archive {
        name: "interleaved".to_owned(),
        bytes: (0..60).fold(few, pair).build(),
        cuts: Vec::new(),
        options: literal,
    }
}
