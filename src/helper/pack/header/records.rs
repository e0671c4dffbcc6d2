//! The records of an extended header.

use super::{MOST, Unwritable};
use crate::helper::read::entry::Time;
use std::borrow::Cow;

const PATH: &[u8] = b"path";

/// Records in any order.
#[derive(Default)]
pub(super) struct Records<'a>(Vec<(&'a [u8], Cow<'a, [u8]>)>);

impl<'a> Records<'a> {
    pub(super) fn path(&mut self, name: &'a [u8]) {
        self.0.push((PATH, name.into()));
    }

    pub(super) fn link(&mut self, link: &'a [u8]) {
        self.0.push((b"linkpath", link.into()));
    }

    pub(super) fn number(&mut self, key: &'static [u8], value: u64) {
        self.0.push((key, value.to_string().into_bytes().into()));
    }

    pub(super) fn mtime(&mut self, time: Time) {
        self.0.push((b"mtime", decimal(time).into_bytes().into()));
    }

    pub(super) fn extend(&mut self, records: &'a [(Vec<u8>, Vec<u8>)]) {
        self.0.extend(records.iter().map(|(key, value)| (&key[..], Cow::from(&value[..]))));
    }

    /// A sparse file: its name is said here alone.
    pub(super) fn sparse(&mut self, name: &'a [u8], size: u64) {
        self.0.retain(|(key, _)| *key != PATH);
        self.0.push((b"GNU.sparse.major", b"1"[..].into()));
        self.0.push((b"GNU.sparse.minor", b"0"[..].into()));
        self.0.push((b"GNU.sparse.name", name.into()));
        self.number(b"GNU.sparse.realsize", size);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_path_alone(&self) -> bool {
        matches!(&self.0[..], [(PATH, _)])
    }

    /// In the order of their keys.
    pub(super) fn bytes(mut self) -> Result<Vec<u8>, Unwritable> {
        self.0.sort_by_key(|(key, _)| *key);
        let mut bytes = Vec::new();
        for (key, value) in &self.0 {
            if key.is_empty() || key.iter().any(|byte| matches!(byte, b'=' | 0)) {
                return Err(Unwritable::Key);
            }
            append(key, value, &mut bytes);
        }
        if bytes.len() > MOST { Err(Unwritable::Records(bytes.len())) } else { Ok(bytes) }
    }
}

/// `LENGTH KEY=VALUE` and a newline, where the length counts itself.
fn append(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Seconds, and a fraction without trailing zeros; before 1970 the exact time too, so that 1.25 s before is `-1.25`.
fn decimal(time: Time) -> String {
    let Time { seconds, nanoseconds } = time;
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = match seconds {
        0.. => ("", seconds, nanoseconds),
        _ => ("-", !seconds, 1_000_000_000 - nanoseconds),
    };
    format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned()
}
