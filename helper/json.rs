//! `--json`: the library's plain data, with names as text and without bytes that a terminal obeys.

use crate::trouble::Trouble;
use nix::errno::Errno;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use untar_in_root::{Advice, Copied, Digest, Error, Escaped, Listed, Packed, Report, Times};

/// One line of JSON for an entry of a listing.
pub(crate) fn entry(listed: &Listed) -> Line<Value> {
    line(json!({ "entry": plain(listed) }))
}

/// The one object that says how a run ended.
pub(crate) fn outcome(result: &Result<Report, Trouble>) -> Line<Value> {
    match result {
        Ok(done) => line(json!({ "ok": true, "exit": 0, "report": report(done), "error": null })),
        Err(trouble) => failed(trouble),
    }
}

/// The one object of a failure.
pub(crate) fn failed(trouble: &Trouble) -> Line<Value> {
    line(json!({
        "ok": false,
        "exit": trouble.exit(),
        "report": trouble.run_error().and_then(|error| error.report()).map(report),
        "error": error(trouble),
    }))
}

fn error(trouble: &Trouble) -> Value {
    let errno = trouble.raw_os_error();
    let run = trouble.run_error();
    let status = run.and_then(|error| error.status());
    let layer = run.and_then(|error| error.layer());
    let mut value = json!({
        "kind": snake(&trouble.kind()),
        "message": trouble.to_string(),
        "errno": errno,
        "errno_name": errno.map(Errno::from_raw).map(|errno| format!("{errno:?}")),
        "layer": layer.map(|l| json!({ "number": l.number, "of": l.of, "diff_id": l.diff_id.to_string() })),
        "failure": run.and_then(|error| error.failure()).map(plain),
        "advice": run.and_then(Error::advice).map(|advice| advised(advice, trouble.options())),
        "helper_status": status.map(|status| json!({ "code": status.code(), "signal": status.signal() })),
    });
    if let (Some(error), Value::Object(object)) = (run, &mut value) {
        put_name(object, "helper_stderr", error.helper_stderr());
    }
    value
}

/// What may help: its name, the limit where it is one, a sentence, and the options of this program.
fn advised(advice: Advice, options: Option<String>) -> Value {
    let limit = match advice {
        Advice::RaiseLimit(limit) => Some(snake(&format!("{limit:?}"))),
        _ => None,
    };
    let name = format!("{advice:?}");
    let name = snake(name.split('(').next().unwrap_or_default());
    json!({ "name": name, "limit": limit, "text": advice.to_string(), "options": options })
}

/// A report: its events one by one, since bytes that are not yet text take thirty times their room.
pub(crate) fn report(report: &Report) -> Value {
    let events: Vec<Value> = report.events.iter().map(plain).collect();
    let mut bare = report.clone();
    bare.events = Vec::new();
    let mut value = plain(&bare);
    value["events"] = events.into();
    value["times"] = times(&report.times);
    value
}

/// What was packed, likewise.
pub(crate) fn packed(packed: &Packed) -> Value {
    let events: Vec<Value> = packed.events.iter().map(plain).collect();
    let mut bare = packed.clone();
    bare.events = Vec::new();
    let mut value = plain(&bare);
    value["events"] = events.into();
    value["times"] = times(&packed.times);
    value["media_type"] = packed.media_type().into();
    value
}

/// What was copied, on both sides.
pub(crate) fn copied(copied: &Copied) -> Value {
    json!({ "packed": packed(&copied.packed), "applied": report(&copied.report) })
}

/// Whole microseconds.
fn times(times: &Times) -> Value {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({ "enter_us": us(times.enter), "confine_us": us(times.confine), "apply_us": us(times.apply),
        "finish_us": us(times.finish), "total_us": us(times.total) })
}

/// The library's own serialisation, its bytes made text.
pub(crate) fn plain(value: &impl serde::Serialize) -> Value {
    // Plain data always serialises.
    readable(serde_json::to_value(value).unwrap_or(Value::Null))
}

/// Fields that hold one name: text, and the bytes in base64 beside it where they are not UTF-8.
const NAMES: [&str; 5] = ["path", "name", "link", "target", "begins"];
/// Fields that hold several.
const LISTS: [&str; 2] = ["mounts_below", "xattrs"];
const DIGESTS: [&str; 2] = ["digest", "diff_id"];
/// Fields that hold the name of a variant.
const VARIANTS: [&str; 13] = [
    "kind",
    "root",
    "mounts",
    "stage",
    "compression",
    "declared",
    "found",
    "format",
    "limit",
    "looks_like",
    "what",
    "cause",
    "refused",
];

fn readable(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        Value::Object(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                put(&mut object, &snake(&key), value);
            }
            Value::Object(object)
        }
        value => value,
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Value) {
    match value {
        Value::Array(items) if NAMES.contains(&key) => put_name(object, key, &bytes(&items)),
        Value::Array(items) if DIGESTS.contains(&key) => {
            let digest = <[u8; 32]>::try_from(bytes(&items)).ok().map(|digest| Digest(digest).to_string());
            object.insert(key.into(), digest.into());
        }
        Value::Array(items) if LISTS.contains(&key) => {
            let items = items.iter().map(|item| {
                let mut one = Map::new();
                put_name(&mut one, "name", &item.as_array().map(|items| bytes(items)).unwrap_or_default());
                Value::Object(one)
            });
            object.insert(key.into(), items.collect());
        }
        Value::String(variant) if VARIANTS.contains(&key) => {
            object.insert(key.into(), snake(&variant).into());
        }
        value => {
            object.insert(key.into(), readable(value));
        }
    }
}

/// `NAME` is text; where the bytes are not UTF-8 it is their nearest, and `NAME_base64` has them.
fn put_name(object: &mut Map<String, Value>, key: &str, name: &[u8]) {
    object.insert(key.into(), String::from_utf8_lossy(name).into());
    if std::str::from_utf8(name).is_err() {
        object.insert(format!("{key}_base64"), base64(name).into());
    }
}

fn bytes(items: &[Value]) -> Vec<u8> {
    items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect()
}

/// `LinkTargetMissing` to `link_target_missing`; what is lower case already stays.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

/// Writes JSON without line breaks, and with everything escaped that a terminal may obey.
pub(crate) fn line<T: serde::Serialize>(value: T) -> Line<T> {
    Line(value)
}

/// Made as it is written, never whole in memory.
pub(crate) struct Line<T>(T);

impl<T: serde::Serialize> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut serializer = serde_json::Serializer::with_formatter(Text(f), Tame);
        // Neither a map with keys that are no strings nor a vector that fails can come here.
        serde::Serialize::serialize(&self.0, &mut serializer).map_err(|_| fmt::Error)
    }
}

/// serde_json writes whole characters, as bytes.
struct Text<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes what [`Escaped`] would, beyond ASCII's control characters.
struct Tame;

impl serde_json::ser::Formatter for Tame {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| Escaped::hides(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // Beyond the first plane JSON has pairs.
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648() {
        for (bytes, want) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\xfe", "//4="),
        ] {
            assert_eq!(base64(bytes), want);
        }
    }

    #[test]
    fn names_are_text_and_bytes() {
        let value =
            json!({ "path": [97, 255], "kind": "CharDevice", "cause": { "LinkTargetMissing": { "target": [98] } } });
        assert_eq!(
            readable(value),
            json!({ "path": "a\u{fffd}", "path_base64": "Yf8=", "kind": "char_device",
                "cause": { "link_target_missing": { "target": "b" } } })
        );
    }

    #[test]
    fn variants_are_in_lower_case() {
        let value = json!({ "root": "ChrootInNamespace", "mounts": "InSight" });
        assert_eq!(readable(value), json!({ "root": "chroot_in_namespace", "mounts": "in_sight" }));
    }

    #[test]
    fn a_terminal_obeys_nothing_in_it() {
        let text = line(json!("\u{9b}2J\u{202e}\x1b\x7f\n é")).to_string();
        assert_eq!(text, "\"\\u009b2J\\u202e\\u001b\\u007f\\n é\"");
        let hidden = json!("\u{61c}\u{ad}\u{3164}\u{e0041}\u{200d}\u{10fffd}");
        let text = line(&hidden).to_string();
        assert_eq!(text, "\"\\u061c\\u00ad\\u3164\\udb40\\udc41\\u200d\\udbff\\udffd\"");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), hidden, "the value is the same");
    }
}
