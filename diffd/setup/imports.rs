//! The line of containerd's configuration that has it import other files. Pure.

use super::ends::as_in;
use super::marks::{Mark, mark, marked};
use super::tables::parse;
use toml_edit::{Array, Item};

const KEY: &str = "imports";

/// With the pattern among what is imported; a line that is put there whole is marked.
///
/// # Errors
///
/// The text is not TOML, or has something else there.
pub(super) fn put(text: &str, pattern: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    let whole = || Item::Value(marked(Array::from_iter([pattern]), Mark::Here, None));
    let list = document.entry(KEY).or_insert_with(whole);
    let list = list.as_array_mut().ok_or("`imports` is no array")?;
    if !list.iter().any(|entry| entry.as_str() == Some(pattern)) {
        list.push(pattern);
    }
    as_in(text, &document.to_string())
}

/// Without the line that was put there whole, if nobody has added to it.
///
/// # Errors
///
/// The text is not TOML.
pub(super) fn take(text: &str, pattern: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    let value = document.get(KEY).and_then(Item::as_value);
    let ours = value.filter(|value| mark(value).is_some()).and_then(|value| value.as_array());
    if ours.is_none_or(|list| list.len() != 1 || list.get(0).and_then(|entry| entry.as_str()) != Some(pattern)) {
        return Ok(text.to_owned());
    }
    document.remove(KEY);
    as_in(text, &document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_put_there_is_taken_and_others_stay() {
        const OURS: &str = "/etc/containerd/conf.d/*.toml";
        for before in ["version = 3\n", "# mine\r\n\r\nversion = 3\r\n", "version = 3\n[plugins]\n"] {
            let text = put(before, OURS).expect("put");
            assert!(text.contains(OURS) && put(&text, OURS).as_ref() == Ok(&text), "{text}");
            assert_eq!(take(&text, OURS).as_deref(), Ok(before), "{text}");
        }
        let theirs = "imports = [\"/etc/containerd/conf.d/*.toml\"]\n";
        assert_eq!(put(theirs, OURS).as_deref(), Ok(theirs));
        assert_eq!(take(theirs, OURS).as_deref(), Ok(theirs));
        let added = put("", OURS).expect("put").replace("[\"", "[\"/mine\", \"");
        assert_eq!(take(&added, OURS).as_deref(), Ok(&*added));
        let more = put("imports = [\"/mine\"]\n", OURS).expect("put");
        assert_eq!(take(&more, OURS).as_deref(), Ok(&*more));
    }
}
