//! Comments behind what was put into another's file, so that what is taken out again is that and nothing else. Pure.

use toml_edit::Value;

/// What was done where a mark stands; the value alone does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The key was not there.
    Here,
    /// Neither was the entry that it is in.
    Entry,
    /// It was `"walking"`.
    Walking,
    /// It was `""`.
    Empty,
    /// The key was not there, and `"cri"` stood for a whole name.
    Short,
}

/// The longest first: one is the beginning of all others.
const TEXTS: [(Mark, &str); 5] = [
    (Mark::Entry, " # put here by untar-in-root, with its entry"),
    (Mark::Walking, " # put here by untar-in-root, in place of \"walking\""),
    (Mark::Empty, " # put here by untar-in-root, in place of \"\""),
    (Mark::Short, " # put here by untar-in-root, and \"cri\" written out"),
    (Mark::Here, " # put here by untar-in-root"),
];

/// The value with its mark; a comment that stood behind the old one goes on behind it.
pub(super) fn marked(value: impl Into<Value>, mark: Mark, old: Option<&Value>) -> Value {
    let mut value = value.into();
    if let Some(old) = old {
        *value.decor_mut() = old.decor().clone();
    }
    let text = TEXTS.iter().find(|(of, _)| *of == mark).map_or("", |(_, text)| text);
    let suffix = format!("{text}{}", suffix(&value));
    value.decor_mut().set_suffix(suffix);
    value
}

/// The mark of a value, and the comment behind it.
pub(super) fn mark(value: &Value) -> Option<(Mark, &str)> {
    TEXTS.iter().find_map(|(mark, text)| Some((*mark, suffix(value).strip_prefix(text)?)))
}

fn suffix(value: &Value) -> &str {
    value.decor().suffix().and_then(|raw| raw.as_str()).unwrap_or_default()
}
