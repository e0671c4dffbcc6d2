//! The framing of PAX records, and why one is refused.

use crate::report::{Cause, Limit, Malformed};

/// One record: its key is not empty and has no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Why a record or a map is refused, without its place: that is added by whoever knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unplaced {
    Malformed(Malformed),
    Limit(Limit, u32),
}

impl Unplaced {
    pub(super) fn at(self, offset: u64) -> Cause {
        match self {
            Unplaced::Malformed(what) => Cause::Malformed { what, offset },
            Unplaced::Limit(limit, value) => Cause::Limit { limit, value: value.into() },
        }
    }
}

impl From<Malformed> for Unplaced {
    fn from(what: Malformed) -> Unplaced {
        Unplaced::Malformed(what)
    }
}

/// Splits `LENGTH KEY=VALUE\n` off, where LENGTH counts all of it; `None` if it does not add up.
pub(super) fn split(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let (digits, _) = bytes.split_at(space);
    let (record, rest) = bytes.split_at_checked(length(digits)?)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at(equals);
    let record = Record { key, value: value.get(1..)? };
    (!key.is_empty() && !key.contains(&0)).then_some((record, rest))
}

fn length(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0usize, |length, byte| {
        let digit = byte.is_ascii_digit().then_some(usize::from(byte.wrapping_sub(b'0')))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good<'a>(key: &'a [u8], value: &'a [u8], rest: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        Some((Record { key, value }, rest))
    }

    #[test]
    fn trap_record_lengths_that_do_not_add_up() {
        assert_eq!(split(b"6 k=v\n"), good(b"k", b"v", b""));
        assert_eq!(split(b"006 k=\n"), None);
        assert_eq!(split(b"008 k=v\n"), good(b"k", b"v", b""));
        for bytes in [
            &b"5 k=v\n"[..],
            b"7 k=v\n",
            b"6 k=v",
            b"6 k=v\0",
            b"6k=v\n",
            b" k=v\n",
            b"-6 k=v\n",
            b"0 k=v\n",
            b"2 k=v\n",
            b"3 \n",
            b"5 kv\n",
            b"5 =v\n",
            b"8 k\0x=v\n",
            b"99999999999999999999999 k=v\n",
            b"18446744073709551615 k=v\n",
            b"0x6 k=v\n",
            b"6",
            b"",
            b"\n",
            b"\0",
        ] {
            assert_eq!(split(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn trap_newline_in_a_value_does_not_end_it() {
        let inner = b"12 path=evil\n";
        let whole = [&b"19 a="[..], inner, b"\n6 k=v\n"].concat();
        assert_eq!(split(&whole), good(b"a", inner, b"6 k=v\n"));
    }

    #[test]
    fn trap_equals_in_a_value_stays() {
        assert_eq!(split(b"9 a==b=c\nx"), good(b"a", b"=b=c", b"x"));
    }
}
