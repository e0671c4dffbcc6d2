//! The records of an extended header.

use super::{MOST, Unwritable};
use crate::helper::read::entry::Time;
const PATH: &[u8] = b"path";

/// Records in any order.
#[derive(Default)]
pub(super) struct Records<'a>(Vec<(&'a [u8], Value<'a>)>);

enum Value<'a> {
    Bytes(&'a [u8]),
    Number(Text),
}

impl Value<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Number(text) => text.bytes(),
        }
    }
}

impl<'a> Records<'a> {
    pub(super) fn path(&mut self, name: &'a [u8]) {
        self.0.push((PATH, Value::Bytes(name)));
    }

    pub(super) fn link(&mut self, link: &'a [u8]) {
        self.0.push((b"linkpath", Value::Bytes(link)));
    }

    pub(super) fn number(&mut self, key: &'static [u8], value: u64) {
        let mut text = Text::default();
        text.number(value, 1);
        self.0.push((key, Value::Number(text)));
    }

    pub(super) fn mtime(&mut self, time: Time) {
        self.0.push((b"mtime", Value::Number(decimal(time))));
    }

    pub(super) fn extend(&mut self, records: &'a [(Vec<u8>, Vec<u8>)]) {
        self.0.extend(records.iter().map(|(key, value)| (&key[..], Value::Bytes(value))));
    }

    /// A sparse file: its name is said here alone.
    pub(super) fn sparse(&mut self, name: &'a [u8], size: u64) {
        self.0.retain(|(key, _)| *key != PATH);
        self.0.push((b"GNU.sparse.major", Value::Bytes(b"1")));
        self.0.push((b"GNU.sparse.minor", Value::Bytes(b"0")));
        self.0.push((b"GNU.sparse.name", Value::Bytes(name)));
        self.number(b"GNU.sparse.realsize", size);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_path_alone(&self) -> bool {
        matches!(&self.0[..], [(PATH, _)])
    }

    /// How many bytes they are.
    pub(super) fn length(&self) -> Result<usize, Unwritable> {
        if self.0.iter().any(|(key, _)| key.is_empty() || key.iter().any(|byte| matches!(byte, b'=' | 0))) {
            return Err(Unwritable::Key);
        }
        let length = self.0.iter().map(|(key, value)| length(key, value.bytes())).sum();
        if length > MOST { Err(Unwritable::Records(length)) } else { Ok(length) }
    }

    /// Appends them in the order of their keys.
    pub(super) fn append(mut self, out: &mut Vec<u8>) {
        self.0.sort_by_key(|(key, _)| *key);
        self.0.iter().for_each(|(key, value)| append(key, value.bytes(), out));
    }
}

/// `LENGTH KEY=VALUE` and a newline, where the length counts itself.
fn append(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let mut text = Text::default();
    text.number(length(key, value) as u64, 1);
    out.extend_from_slice(text.bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn length(key: &[u8], value: &[u8]) -> usize {
    let rest = key.len() + value.len() + 3;
    rest + digits(rest + digits(rest))
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A sign, 19 digits, a point, nine digits: nothing is longer.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.length) {
            *to = byte;
            self.length += 1;
        }
    }

    /// In decimal, with leading zeros up to so many digits.
    fn number(&mut self, value: u64, width: usize) {
        let width = value.checked_ilog10().map_or(1, |log| log as usize + 1).max(width);
        let end = self.length + width;
        let mut left = value;
        for digit in self.bytes.get_mut(self.length..end).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' | u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        self.length = end;
    }
}

/// Seconds, and a fraction without trailing zeros; before 1970 the exact time too, so that 1.25 s before is `-1.25`.
fn decimal(time: Time) -> Text {
    let Time { seconds, nanoseconds } = time;
    let mut text = Text::default();
    // Behind the point it counts from the second below.
    let (whole, fraction) = match seconds {
        i64::MIN..0 if nanoseconds > 0 => ((seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
        _ => (seconds.unsigned_abs(), nanoseconds),
    };
    if seconds < 0 {
        text.push(b'-');
    }
    text.number(whole, 1);
    if fraction > 0 {
        text.push(b'.');
        text.number(fraction.into(), 9);
        while text.bytes().ends_with(b"0") {
            text.length -= 1;
        }
    }
    text
}
