//! Decodes bytes in one go and in pieces with stalls between them: no difference.

use super::FORMATS;
use super::script::{Piece, Script};
use crate::helper::fault::{Fault, Result};
use crate::helper::read::decode::Decoder;
use crate::helper::read::entry::Source as _;
use crate::helper::read::input::Input;
use crate::helper::read::stream::Stream;
use crate::options::{Compression, Limits};
use crate::report::{Cause, Digest};

/// Bytes that come out are compared up to here: what follows of a bomb is the same again.
const MOST: usize = 1 << 20;

/// How a source is read: what comes out, and why it ended early if it did.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    bytes: Vec<u8>,
    fault: Option<Fault>,
    diff_id: Option<Digest>,
}

/// The first byte chooses the format, the second how it is read, the third says how many bytes of schedule follow;
/// the schedule is used again and again.
pub fn fuzz_stall(data: &[u8]) {
    let [format, reading, schedule, data @ ..] = data else { return };
    let (schedule, data) = data.split_at(data.len().min(usize::from(schedule % 64)));
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    same_decoded(data, &pieces(schedule, data.len()), format, *reading);
}

/// So many bytes, and whether they are waited for.
fn pieces(schedule: &[u8], length: usize) -> Vec<Piece> {
    let piece = |byte: &u8| {
        let scale = if byte & 0x40 == 0 { 1 } else { 61 };
        Piece { length: (1 + usize::from(byte & 0x3f)) * scale, stall: byte & 0x80 != 0 }
    };
    let mut left = length;
    let goes_on = |piece: &Piece| {
        let more = left > 0;
        left = left.saturating_sub(piece.length);
        more
    };
    schedule.iter().map(piece).cycle().take_while(goes_on).collect()
}

/// Panics where the two differ. Of damaged bytes only what comes before the damage is told of may differ in length: a
/// decoder that fails within a piece keeps what it had made of it.
pub(in super::super) fn same_decoded(data: &[u8], pieces: &[Piece], format: Compression, reading: u8) {
    let whole = decode(Script::whole(data), format, 0);
    let stalled = decode(Script::new(data, pieces), format, reading);
    let common = whole.bytes.len().min(stalled.bytes.len()).min(MOST);
    let enough = whole.bytes.len().max(stalled.bytes.len()) >= MOST;
    let same = match &whole.fault {
        _ if enough => true,
        None => whole == stalled,
        fault => *fault == stalled.fault,
    };
    let same = same && whole.bytes[..common] == stalled.bytes[..common];
    assert!(same, "{format:?} {pieces:?} {reading}: {}", difference(&whole, &stalled));
}

fn difference(whole: &Decoded, stalled: &Decoded) -> String {
    let at = whole.bytes.iter().zip(&stalled.bytes).position(|(a, b)| a != b);
    let told = |decoded: &Decoded| format!("{} bytes, {:?}, {:?}", decoded.bytes.len(), decoded.fault, decoded.diff_id);
    format!("first at {at:?}: {} / {}", told(whole), told(stalled))
}

fn decode(script: Script, format: Compression, reading: u8) -> Decoded {
    let mut bytes = Vec::new();
    let (fault, diff_id) = match Decoder::open(Input::scripted(script), format) {
        Err(fault) => (Some(fault), None),
        Ok(decoder) if reading.is_multiple_of(2) => by_stream(decoder, reading % 4 == 2, &mut bytes),
        Ok(decoder) => (by_fills(decoder, usize::from(reading) + 1, &mut bytes).err(), None),
    };
    let diff_id = if reading.is_multiple_of(2) { diff_id } else { digest_of(&bytes, fault.is_none()) };
    Decoded { bytes, fault: fault.map(without_offset), diff_id }
}

fn by_stream(decoder: Decoder, threaded: bool, bytes: &mut Vec<u8>) -> (Option<Fault>, Option<Digest>) {
    let limits = Limits { ratio: u64::MAX, ..Limits::default() };
    let mut stream = Stream::new(decoder, true, limits, threaded, Box::new(|| ()));
    loop {
        match stream.next_chunk() {
            Ok(Some(chunk)) if bytes.len() < MOST => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return (None, None),
            Ok(None) => return (None, stream.totals().diff_id),
            Err(fault) => return (Some(fault), None),
        }
    }
}

/// Reads `length` bytes at once, so that a buffer ends anywhere.
fn by_fills(mut decoder: Decoder, length: usize, bytes: &mut Vec<u8>) -> Result<()> {
    let mut buffer = vec![0; length];
    while bytes.len() < MOST {
        match decoder.fill(&mut buffer, || ())? {
            0 => return Ok(()),
            filled => bytes.extend_from_slice(&buffer[..filled]),
        }
    }
    Ok(())
}

fn digest_of(bytes: &[u8], ended: bool) -> Option<Digest> {
    use sha2::Digest as _;
    ended.then(|| Digest(sha2::Sha256::digest(bytes).into()))
}

/// How much of the archive had been read when it failed depends on how it came.
fn without_offset(mut fault: Fault) -> Fault {
    if let Cause::Compressed { offset, .. } = &mut fault.cause {
        *offset = 0;
    }
    fault
}
