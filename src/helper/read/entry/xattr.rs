//! Extended attributes from PAX records, in the two spellings in use.

use super::limit;
use super::record::Unplaced;
use crate::helper::fault::Result;
use crate::options::Limits;
use crate::report::{Limit, Malformed};

/// Linux's `XATTR_NAME_MAX`.
const NAME_MAX: u32 = 255;

/// The attributes of one extended header: after [`settle`](Xattrs::settle) in order of name, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Xattrs(Vec<Xattr>);

#[derive(Clone, Debug)]
struct Xattr {
    name: Vec<u8>,
    value: Vec<u8>,
    spelling: Spelling,
}

/// The first wins where both name the same attribute: bsdtar writes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spelling {
    Schily,
    Libarchive,
}

impl Xattrs {
    /// `SCHILY.xattr.NAME=VALUE`, the value raw; of the name GNU tar encodes `=` and `%`, bsdtar more. An empty value
    /// is a value here: there is no header field to keep.
    pub(super) fn push_schily(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Unplaced> {
        bound(value.len(), limits)?;
        self.push(unescape(name), value.to_vec(), Spelling::Schily)
    }

    /// `LIBARCHIVE.xattr.NAME=VALUE`, percent-encoded name, base64 value.
    pub(super) fn push_libarchive(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Unplaced> {
        let value = base64(value)?;
        bound(value.len(), limits)?;
        self.push(unescape(name), value, Spelling::Libarchive)
    }

    fn push(&mut self, name: Vec<u8>, value: Vec<u8>, spelling: Spelling) -> Result<(), Unplaced> {
        if name.is_empty() || name.contains(&0) {
            return Err(Malformed::PaxRecord.into());
        }
        // No kernel could take it, and a report of a thousand such names would fill the caller's memory.
        if name.len() > NAME_MAX as usize {
            return Err(Unplaced::Limit(Limit::XattrName, NAME_MAX));
        }
        self.0.push(Xattr { name, value, spelling });
        Ok(())
    }

    /// Orders by name and keeps one of each: the better spelling, then the later record.
    pub(super) fn settle(&mut self, limits: &Limits) -> Result<()> {
        self.0.reverse();
        self.0.sort_by(|a, b| (&a.name, a.spelling).cmp(&(&b.name, b.spelling)));
        self.0.dedup_by(|later, kept| later.name == kept.name);
        self.check_count(limits)
    }

    pub(super) fn check_count(&self, limits: &Limits) -> Result<()> {
        if self.0.len() as u64 > limits.xattrs.into() {
            return Err(limit(Limit::Xattrs, limits.xattrs.into()));
        }
        Ok(())
    }

    /// These over others, both settled.
    pub(super) fn over(mut self, others: &Xattrs) -> Xattrs {
        let own = self.0.len();
        for other in &others.0 {
            let mine = self.0.get(..own).unwrap_or_default();
            if mine.binary_search_by(|xattr| xattr.name.cmp(&other.name)).is_err() {
                self.0.push(other.clone());
            }
        }
        self.0.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum()
    }

    pub(super) fn into_pairs(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.into_iter().map(|xattr| (xattr.name, xattr.value)).collect()
    }
}

fn bound(length: usize, limits: &Limits) -> Result<(), Unplaced> {
    if length as u64 > limits.xattr_bytes.into() {
        return Err(Unplaced::Limit(Limit::XattrBytes, limits.xattr_bytes));
    }
    Ok(())
}

/// `%41` is `A`; a percent sign before anything else is itself, as in libarchive.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = if *first == b'%' { after.split_at_checked(2) } else { None };
        match escaped.and_then(|(digits, after)| Some((hex(digits)?, after))) {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => plain.push(*first),
        }
    }
    plain
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u8::try_from(digit).ok()?)
    })
}

/// Base64 of the standard alphabet, with or without its padding.
fn base64(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if text.len() % 4 == 1 {
        return Err(Malformed::PaxValue);
    }
    let mut plain = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for place in 0..4 {
            let digit = group.get(place).map_or(Some(0), |byte| sextet(*byte)).ok_or(Malformed::PaxValue)?;
            bits = bits << 6 | digit;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        plain.extend(bytes.iter().take(group.len() * 3 / 4));
    }
    Ok(plain)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(xattrs: Xattrs) -> Vec<(Vec<u8>, Vec<u8>)> {
        xattrs.into_pairs()
    }

    #[test]
    fn rule_13_libarchive_values_are_base64() {
        for (text, plain) in [
            (&b""[..], &b""[..]),
            (b"Zg", b"f"),
            (b"Zg==", b"f"),
            (b"Zm8", b"fo"),
            (b"Zm8=", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg", b"foob"),
            (b"//79", b"\xff\xfe\xfd"),
        ] {
            assert_eq!(base64(text).as_deref(), Ok(plain), "{text:?}");
        }
        for text in [&b"Z"[..], b"Zm9vY", b"Zm9-", b"Zm 9", b"====", b"Zg==Zg=="] {
            assert_eq!(base64(text), Err(Malformed::PaxValue), "{text:?}");
        }
    }

    #[test]
    fn rule_13_names_are_percent_encoded() {
        for (text, plain) in
            [(&b"user.a%3Db"[..], &b"user.a=b"[..]), (b"%25", b"%"), (b"%4", b"%4"), (b"%zz", b"%zz"), (b"a%", b"a%")]
        {
            assert_eq!(unescape(text), plain, "{text:?}");
        }
    }

    #[test]
    fn rule_13_one_of_each_name_in_order() {
        let (limits, mut xattrs) = (Limits::default(), Xattrs::default());
        xattrs.push_schily(b"user.b", b"old", &limits).expect("fits");
        xattrs.push_libarchive(b"user.b", b"Zm9v", &limits).expect("fits");
        xattrs.push_schily(b"user.b", b"new", &limits).expect("fits");
        xattrs.push_libarchive(b"user.a", b"Zm9v", &limits).expect("fits");
        xattrs.settle(&limits).expect("within the limit");
        assert_eq!(pairs(xattrs), [(b"user.a".to_vec(), b"foo".to_vec()), (b"user.b".to_vec(), b"new".to_vec())]);
    }

    #[test]
    fn trap_nul_in_a_decoded_xattr_name() {
        let mut xattrs = Xattrs::default();
        assert!(xattrs.push_libarchive(b"user.%00", b"", &Limits::default()).is_err());
        assert!(xattrs.push_schily(b"user.%00", b"", &Limits::default()).is_err());
        assert!(xattrs.push_schily(b"", b"x", &Limits::default()).is_err());
    }
}
