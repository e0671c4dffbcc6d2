//! Rows of `check`: what was looked at, and what came of it.

use crate::log::print;

pub(super) struct Row {
    what: &'static str,
    pub(super) state: State,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// It can be used, and is not yet, or not everywhere.
    Open,
    /// It cannot be used.
    Bad,
}

pub(super) fn row(what: &'static str, state: State, text: impl Into<String>) -> Row {
    Row { what, state, text: text.into() }
}

impl Row {
    pub(super) fn show(&self) {
        let mark = match self.state {
            State::Good => "ok",
            State::Open => "--",
            State::Bad => "NO",
        };
        print(&format_args!("{mark}  {:<14} {}\n", self.what, printable(&self.text)));
    }
}

pub(super) fn any_bad(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.state == State::Bad)
}

/// What is from elsewhere may hold what a terminal obeys, or a row of its own.
fn printable(text: &str) -> String {
    let plain = |c| matches!(c, '"' | '\'' | '\\');
    text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect()
}
