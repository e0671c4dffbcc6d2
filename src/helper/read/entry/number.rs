//! Numbers: octal and base-256 header fields, decimal PAX values, PAX times.

use super::Time;
use crate::report::Malformed;

/// A numeric header field: octal text, or two's complement if its first bit is set.
pub(super) fn field(bytes: &[u8]) -> Result<i64, Malformed> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes, *first),
        _ => octal(bytes),
    }
}

/// Octal digits between spaces and NULs; nothing at all is 0; what follows a NUL is not looked at.
pub(super) fn octal(bytes: &[u8]) -> Result<i64, Malformed> {
    let start = bytes.iter().position(|byte| !is_blank(*byte)).unwrap_or(bytes.len());
    let mut rest = bytes.get(start..).unwrap_or_default().iter();
    let mut value: i64 = 0;
    while let Some(&byte) = rest.next() {
        match byte {
            b'0'..=b'7' if value >> 60 == 0 => value = value << 3 | i64::from(byte - b'0'),
            b'0'..=b'7' => return Err(Malformed::NumberRange),
            0 => return Ok(value),
            b' ' if rest.all(|byte| is_blank(*byte)) => return Ok(value),
            _ => return Err(Malformed::Number),
        }
    }
    Ok(value)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == 0
}

/// Big-endian two's complement; the first bit only says that it is, the second is the sign.
fn base256(bytes: &[u8], first: u8) -> Result<i64, Malformed> {
    let negative = first & 0x40 != 0;
    let mask = if negative { 0xff } else { 0 };
    let mut value = u64::from((first ^ mask) & 0x7f);
    for byte in bytes.iter().skip(1) {
        if value >> 56 != 0 {
            return Err(Malformed::NumberRange);
        }
        value = value << 8 | u64::from(byte ^ mask);
    }
    let value = i64::try_from(value).map_err(|_| Malformed::NumberRange)?;
    Ok(if negative { !value } else { value })
}

/// A decimal number, before which a minus may stand and never a plus.
pub(super) fn decimal(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(Malformed::PaxValue);
    }
    digits.iter().try_fold(0, |value, byte| push_digit(value, *byte, negative))
}

/// Appends a digit, away from zero, so that the least number fits too.
fn push_digit(value: i64, byte: u8, negative: bool) -> Result<i64, Malformed> {
    if !byte.is_ascii_digit() {
        return Err(Malformed::PaxValue);
    }
    let digit = i64::from(byte - b'0');
    value
        .checked_mul(10)
        .and_then(|value| if negative { value.checked_sub(digit) } else { value.checked_add(digit) })
        .ok_or(Malformed::NumberRange)
}

/// Decimal digits alone.
pub(super) fn unsigned(text: &[u8]) -> Result<i64, Malformed> {
    match decimal(text)? {
        _ if text.starts_with(b"-") => Err(Malformed::NegativeNumber),
        value => Ok(value),
    }
}

const SECOND: u32 = 1_000_000_000;

/// Seconds with an optional fraction; what is finer than nanoseconds is cut towards the past.
pub(super) fn time(text: &[u8]) -> Result<Time, Malformed> {
    let dot = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = text.split_at(dot);
    let seconds = decimal(whole)?;
    let (nanoseconds, finer) = nanoseconds(fraction.get(1..).unwrap_or_default())?;
    // The sign is the text's: "-0.5" is before 1970 although its seconds are 0.
    let back = if whole.starts_with(b"-") { nanoseconds + u32::from(finer) } else { 0 };
    if back == 0 {
        return Ok(Time { seconds, nanoseconds });
    }
    let seconds = seconds.checked_sub(1).ok_or(Malformed::NumberRange)?;
    Ok(Time { seconds, nanoseconds: SECOND - back })
}

/// The digits after the point as nanoseconds, and whether something finer was cut off.
fn nanoseconds(digits: &[u8]) -> Result<(u32, bool), Malformed> {
    let (mut value, mut unit, mut finer) = (0, SECOND, false);
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Malformed::PaxValue);
        }
        unit /= 10;
        value += unit * u32::from(byte - b'0');
        finer |= unit == 0 && *byte != b'0';
    }
    Ok((value, finer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_octal_takes_blanks_on_both_sides() {
        for (bytes, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\x00644\0\0", 0o644),
            (b"00000644", 0o644),
            (b"", 0),
            (b"\0\0\0\0", 0),
            (b"    ", 0),
            (b"12\0garbage", 0o12),
            (b"777777777777", 0o777777777777),
        ] {
            assert_eq!(field(bytes), Ok(value), "{bytes:?}");
        }
    }

    #[test]
    fn trap_octal_refuses_what_is_not_octal() {
        for bytes in [&b"0000648\0"[..], b"12 34", b"-12", b"+12", b"0x12", b"abc", b"1 \0 2", b"1_0"] {
            assert_eq!(field(bytes), Err(Malformed::Number), "{bytes:?}");
        }
        assert_eq!(octal(b"7777777777777777777777"), Err(Malformed::NumberRange));
    }

    #[test]
    fn trap_base256_has_a_sign() {
        for (bytes, value) in [
            (&b"\x80"[..], 0),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", i64::MIN),
            // Go's own table.
            (b"\xbf", 0x3f),
            (b"\xc0", -64),
        ] {
            assert_eq!(field(bytes), Ok(value), "{bytes:?}");
        }
    }

    #[test]
    fn trap_base256_that_does_not_fit() {
        for bytes in [&b"\x80\0\0\0\x80\0\0\0\0\0\0\0"[..], b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0", &[0x90; 12]] {
            assert_eq!(field(bytes), Err(Malformed::NumberRange), "{bytes:?}");
        }
    }

    #[test]
    fn trap_decimal_overflow() {
        assert_eq!(decimal(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(decimal(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(decimal(b"000000000000000000000999"), Ok(999));
        for text in [&b"9223372036854775808"[..], b"-9223372036854775809", b"99999999999999999999"] {
            assert_eq!(decimal(text), Err(Malformed::NumberRange), "{text:?}");
        }
        for text in [&b""[..], b"-", b"+", b"1 ", b" 1", b"0x1", b"1e3", b"--1", b"1\0", b"+1", b"-+1"] {
            assert_eq!(decimal(text), Err(Malformed::PaxValue), "{text:?}");
        }
        assert_eq!(unsigned(b"-1"), Err(Malformed::NegativeNumber));
        assert_eq!(unsigned(b"-0"), Err(Malformed::NegativeNumber));
        assert_eq!(unsigned(b"+5"), Err(Malformed::PaxValue));
    }

    #[test]
    fn rule_12_times_before_1970_and_to_the_nanosecond() {
        for (text, seconds, nanoseconds) in [
            ("1350244992.023960108", 1350244992, 23960108),
            ("1350244992.02396010", 1350244992, 23960100),
            ("1350244992.0239601089", 1350244992, 23960108),
            ("1350244992.3", 1350244992, 300000000),
            ("1350244992", 1350244992, 0),
            ("1.", 1, 0),
            ("0.9999999999999", 0, 999999999),
            ("-1", -1, 0),
            ("-1.000000001", -2, 999999999),
            ("-1.1", -2, 900000000),
            ("-0.5", -1, 500000000),
            ("-0.0", 0, 0),
            ("-1.0000000001", -2, 999999999),
            ("-1.9999999999", -2, 0),
            ("9223372036854775807.9", i64::MAX, 900000000),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(Time { seconds, nanoseconds }), "{text}");
        }
    }

    #[test]
    fn trap_times_that_are_none() {
        for text in ["", ".5", "-.5", "1.-5", "1.5.5", "1.5 ", "1.xyz", "foo", "1,5", "+5", "+5.5", "1.+5"] {
            assert_eq!(time(text.as_bytes()), Err(Malformed::PaxValue), "{text}");
        }
        assert_eq!(time(b"-9223372036854775808.5"), Err(Malformed::NumberRange));
    }
}
