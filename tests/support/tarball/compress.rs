//! The four compressions, by the crates that the library decodes with: a test needs no tools.

use std::io::Write;

/// gzip.
pub fn gz(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(data).expect("memory");
    out.finish().expect("memory")
}

/// zstd.
pub fn zst(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

/// bzip2.
pub fn bz2(data: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    out.write_all(data).expect("memory");
    out.finish().expect("memory")
}

/// xz.
pub fn xz(data: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).expect("preset 1");
    out.write_all(data).expect("memory");
    out.finish().expect("memory")
}
