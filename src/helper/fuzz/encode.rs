//! Bytes that are compressed and decompressed again: the same, whatever the threads and the pieces.

use super::Steps;
use crate::helper::pack::encode::{Encoder, Encoding, deflated};
use crate::helper::read::decode::Decoder;
use crate::helper::read::input::{Input, Watch};
use crate::options::Compression;
use std::io::Write as _;
use std::sync::Arc;

/// Content is no longer than this.
const MOST: usize = 1 << 20;

/// The first byte chooses how, the second the pieces; then come runs of bytes to repeat.
pub fn fuzz_encode(data: &[u8]) {
    let mut steps = Steps(data);
    let (how, piece) = (steps.byte().unwrap_or_default(), 1 + usize::from(steps.byte().unwrap_or_default()) * 97);
    let content = content(&mut steps);
    let (encoding, format) = match how % 3 {
        0 => (Encoding::Plain, Compression::None),
        1 => (Encoding::Gzip { level: 1 + u32::from(how / 3 % 9) }, Compression::Gzip),
        _ => (Encoding::Zstd { level: 1 + i32::from(how / 3 % 5) }, Compression::Zstd),
    };
    let alone = encoded(&content, encoding, 1, content.len());
    assert!(alone == encoded(&content, encoding, 3, piece), "{encoding:?}: {} bytes", content.len());
    assert!(decoded(&alone, format).is_some_and(|bytes| bytes == content), "{encoding:?}: {} bytes", content.len());
    if encoding != Encoding::Plain {
        let cut = &alone[..alone.len() - 1 - usize::from(how) % alone.len().min(8)];
        assert!(decoded(cut, format).is_none(), "{encoding:?}: whole without its end");
        let (before, block) = content.split_at(content.len() / 3);
        deflated(1 + u32::from(how % 9), before, block, how > 127);
    }
}

/// Runs, each with how often it comes and how it changes.
fn content(steps: &mut Steps<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    while let (Some(times), Some(change)) = (steps.byte(), steps.byte()) {
        let run = steps.text();
        for time in 0..=usize::from(times) * usize::from(times) {
            if content.len() + run.len() > MOST {
                return content;
            }
            content.extend(run.iter().map(|byte| byte.wrapping_add(change.wrapping_mul(time as u8))));
        }
    }
    content
}

fn encoded(content: &[u8], encoding: Encoding, threads: usize, piece: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), encoding, threads).expect("an encoder");
    content.chunks(piece.max(1)).for_each(|piece| encoder.write_all(piece).expect("memory"));
    let (blob, sums) = encoder.finish().expect("memory");
    assert_eq!((sums.size, sums.blob_size), (content.len() as u64, blob.len() as u64));
    blob
}

/// `None` if it is not whole.
fn decoded(blob: &[u8], format: Compression) -> Option<Vec<u8>> {
    let (fd, control) = (super::memory_file(blob).expect("memory"), super::memory_file(b"").expect("memory"));
    let mut decoder = Decoder::open(Input::new(Arc::new(fd), Watch::new(control, None)), format).ok()?;
    let (mut content, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match decoder.fill(&mut buffer, || ()).ok()? {
            0 => return Some(content),
            filled => content.extend_from_slice(&buffer[..filled]),
        }
    }
}
