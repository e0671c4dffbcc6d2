//! Wrong usage is status 2, on standard error, and says what to do; `helper/args/tests.rs` has the table.

use super::{PROGRAM, run};
use crate::support::privilege::need_tool;
use std::process::{Command, Stdio};

#[test]
fn wrong_usage_is_2() {
    for (words, want) in [
        (&[][..], "ROOT"),
        (&["root", "--no-such-option"], "--no-such-option"),
        (&["root", "--layer", "--overlay"], "cannot be used with"),
        (&["root", "--digest", "md5:0"], "64 hexadecimal digits"),
        (&["root", "--clamp-mtime"], "SOURCE_DATE_EPOCH"),
        (&["-t", "x", "--layer"], "--list writes nothing"),
        (&["root", "-qv"], "cannot be used with"),
    ] {
        let ran = run(words, b"").ended(2, want);
        assert!(ran.err.contains("try '--help'") && ran.out.is_empty(), "{}", ran.err);
    }
}

#[test]
fn a_terminal_is_no_archive() {
    if !need_tool("script") {
        return;
    }
    let line = format!("{} /tmp; echo status $?", PROGRAM);
    let mut command = Command::new("script");
    let output = command.args(["-qc", &line, "/dev/null"]).stdin(Stdio::null()).output().expect("script");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("name a file, or pipe an archive in") && text.contains("status 2"), "{text}");
}
