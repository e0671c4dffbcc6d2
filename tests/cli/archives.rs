//! What people take for an archive, and what they leave out of one.

use super::{Dest, can_run, program, run};
use crate::support::privilege::need_tool;
use crate::support::tarball::{Tarball, gz};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

fn two() -> Vec<u8> {
    Tarball::new().file("a", "1").file("b", "2").build()
}

/// What has been made, the destination itself left out.
fn made(dest: &Dest) -> Vec<String> {
    dest.tree().paths().into_iter().filter(|path| *path != ".").map(str::to_owned).collect()
}

#[test]
fn what_is_no_tar_says_what_it_is() {
    if !can_run() {
        return;
    }
    let long = |start: &[u8]| [start, &[b'\n'; 2000]].concat();
    for (bytes, words) in [
        (long(b"<!DOCTYPE html>\n<title>404 Not Found</title>"), "an HTML page"),
        (br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#.to_vec(), r#"it begins "{"errors":[{"code""#),
        (b"404: Not Found".to_vec(), "this is text"),
        (long(b"#!/bin/sh\n"), "a script"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "git lfs pull"),
        (long(b"\x04\x22\x4d\x18"), "`lz4 -dc`"),
        (gz(&long(b"PK\x03\x04")), "a zip archive"),
        (gz(&gz(&two())), "`gzip -dc`"),
    ] {
        let dest = Dest::new();
        let ran = dest.run(&[], &bytes).ended(1, words);
        assert!(!ran.err.contains("cut short") && made(&dest).is_empty(), "{}", ran.err);
        run(["-t"], &bytes).ended(1, words);
    }
    let error = run(["-t", "--json"], b"[{}]").json()["error"].clone();
    assert_eq!(error["advice"]["name"], "other_format");
    assert_eq!(error["failure"]["cause"]["not_tar"], serde_json::json!({ "looks_like": "json", "begins": "[{}]" }));
}

/// The command that is named makes of it what is unpacked.
#[test]
fn what_is_named_to_pipe_it_through_helps() {
    if !can_run() {
        return;
    }
    for (tool, pack, words) in [
        ("lz4", "lz4 -c", "`lz4 -dc`"),
        ("lz4", "lz4 -lc", "`lz4 -dc`"),
        ("xz", "xz --format=lzma -c", "`xz -dc`"),
        ("lzip", "lzip -c", "`lzip -dc`"),
        ("lzop", "lzop -c", "`lzop -dc`"),
        ("compress", "compress -fc", "`gzip -dc`"),
    ] {
        if !need_tool(tool) {
            continue;
        }
        let dest = Dest::new();
        // Text, which each of them can make smaller: compress(1) gives up else.
        let text = "words ".repeat(5000);
        let plain = dest.scratch.file("plain", Tarball::new().file("a", &text).build());
        let packed = dest.scratch.join("packed");
        let shell = |line: &str| {
            let done = Command::new("sh").arg("-ec").arg(line).status().expect("sh");
            assert!(done.success(), "{line}");
        };
        shell(&format!("{pack} <{} >{}", plain.display(), packed.display()));
        let ran = run([&dest.path, &packed], b"").ended(1, words);
        let command = words.trim_matches('`');
        assert!(ran.err.contains(command), "{}", ran.err);
        shell(&format!("{command} <{} | {} {}", packed.display(), super::PROGRAM, dest.path.display()));
        assert_eq!(fs::read_to_string(dest.join("a")).ok(), Some(text), "{pack}");
    }
}

#[test]
fn joined_archives_are_told_and_taken_where_that_is_asked_for() {
    if !can_run() {
        return;
    }
    let joined = [two(), Tarball::new().file("c", "3").build()].concat();
    let dest = Dest::new();
    dest.run(&[], &joined).ended(0, "another archive follows").ended(0, "--ignore-zeros");
    assert_eq!(made(&dest), ["a", "b"]);
    dest.run(&["--ignore-zeros"], &joined).silent();
    assert_eq!(made(&dest), ["a", "b", "c"]);
    assert_eq!(run(["-t", "--ignore-zeros"], &gz(&joined)).ended(0, "").text().lines().count(), 3);
    let signed = [two(), b"signature".to_vec()].concat();
    let ran = dest.run(&[], &signed).ended(0, "follow the end-of-archive marker");
    assert!(!ran.err.contains("--ignore-zeros"), "{}", ran.err);
}

#[test]
fn trap_no_bytes_are_no_archive_but_a_layer() {
    if !can_run() {
        return;
    }
    for empty in [Vec::new(), gz(b"")] {
        let dest = Dest::new();
        let file = dest.scratch.file("empty", &empty);
        let ran = dest.run(&[], &empty).ended(1, "--allow-empty");
        assert!(ran.err.lines().count() == 1 && ran.err.contains("the archive is empty"), "{}", ran.err);
        run([&dest.path, &file], b"").ended(1, "--allow-empty");
        run(["-t"], &empty).ended(1, "--allow-empty");
        dest.run(&["--allow-empty"], &empty).ended(0, "");
        dest.run(&["--layer"], &empty).ended(0, "");
        // Nothing appears that would look like what was to be unpacked.
        let new = dest.scratch.join("new");
        run([OsStr::new("--atomic"), new.as_os_str()], &empty).ended(1, "the archive is empty");
        assert!(!new.exists());
    }
    // No entries, but an archive; and a closed standard input.
    Dest::new().run(&[], &Tarball::new().build()).silent();
    let dest = Dest::new();
    let mut command = Command::new("sh");
    command.arg("-c").arg("exec \"$0\" \"$1\" <&-").arg(super::PROGRAM).arg(&dest.path);
    super::feed(&mut command, b"").ended(1, "the archive is empty");
}

#[test]
fn patterns_come_from_files_too() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("a", "").file("b", "").file("c/d", "").file("c/e", "").build();
    let dest = Dest::new();
    let file = dest.scratch.file("a.tar", &archive);
    let list = |name: &str, text: &str| dest.scratch.file(name, text).display().to_string();
    let exclude = list("exclude", "b\n\nc/d\nnever");
    let files = |dest: &Dest| {
        let tree = dest.tree();
        let paths = tree.paths().into_iter().filter(|path| tree.get(path, "type") == "file");
        paths.map(|path| path.to_string()).collect::<Vec<_>>()
    };
    let ran = dest.run(&["--exclude-from", &exclude], &archive).ended(0, "matches the pattern \"never\"");
    assert_eq!((files(&dest), ran.err.lines().count()), (vec!["a".to_owned(), "c/e".to_owned()], 1));
    let other = Dest::new();
    let words = [OsStr::new("--include-from"), "-".as_ref(), other.path.as_ref(), file.as_ref()];
    run(words, b"c/*\n").silent();
    assert_eq!(files(&other), ["c/d", "c/e"]);
    dest.run(&["--include-from", "/nonexistent"], &archive).ended(2, "reading the patterns in \"/nonexistent\"");
    let bytes = dest.scratch.file("bytes", b"a\nb\xff\n").display().to_string();
    dest.run(&["--include-from", &bytes], &archive).ended(2, "line 2 is not UTF-8");
    run(["-t", "--include-from", &list("odd", "[a")], &archive).ended(2, "[ without ]");
}

/// More than a command line or a usual frame holds.
#[test]
fn a_list_of_64_thousand_patterns_passes() {
    if !can_run() {
        return;
    }
    let mut list = String::new();
    (0..64_000).for_each(|n| writeln!(list, "usr/share/of-a-long-name-{n}/file").expect("text"));
    list.push_str("*/ends-so\n");
    let dest = Dest::new();
    let path = dest.scratch.file("list", &list).display().to_string();
    let archive =
        Tarball::new().file("usr/share/of-a-long-name-4711/file", "").file("x/ends-so", "").file("f", "").build();
    let ran = dest.run(&["--exclude-from", &path, "--json"], &archive).ended(0, "more warnings");
    assert_eq!((made(&dest), ran.json()["report"]["event_count"].as_u64()), (vec!["f".to_owned()], Some(63_999)));
}

#[test]
fn a_pattern_is_compared_before_and_after_stripping() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("top/a/x", "").file("top/b/x", "").build();
    for pattern in ["top/a", "a"] {
        let dest = Dest::new();
        dest.run(&["--strip-components", "1", "--include", pattern], &archive).silent();
        assert_eq!(made(&dest), ["a", "a/x"], "{pattern}");
        let dest = Dest::new();
        dest.run(&["--strip-components", "1", "--exclude", pattern], &archive).silent();
        assert_eq!(made(&dest), ["b", "b/x"], "{pattern}");
    }
    let ran = Dest::new().run(&["--include", "usr/bni"], &archive).ended(0, "no name in the archive matches");
    assert!(ran.err.contains("\"usr/bni\""), "{}", ran.err);
    // A damaged archive says nothing of what may come.
    let ran = Dest::new().run(&["--include", "later"], &archive[..1000]).ended(1, "");
    assert!(!ran.err.contains("later"), "{}", ran.err);
}

/// bsdtar, which makes an archive of other forms, does not of this one.
#[test]
fn an_ar_archive_gives_the_tar_archive_in_it() {
    if !can_run() || !need_tool("ar") {
        return;
    }
    let dest = Dest::new();
    dest.scratch.file("in.tar", two());
    let line = |line: &str| {
        let mut shell = Command::new("sh");
        super::feed(shell.args(["-ec", line]).current_dir(dest.scratch.path()), b"")
    };
    line("ar rc FILE in.tar").silent();
    let archive = dest.scratch.join("FILE");
    run([&dest.path, &archive], b"").ended(1, "`ar p FILE NAME` gives a tar archive that is");
    let tar = line("ar p FILE in.tar");
    assert!(tar.status.success(), "{}", tar.err);
    dest.run(&[], &tar.out).silent();
}

#[test]
fn habits_are_answered_with_the_command_to_type() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let file = dest.scratch.file("a.tar", two());
    let (root, archive) = (dest.path.display().to_string(), file.display().to_string());
    let right = format!("untar-in-root {root} {archive}");
    for words in [
        &["-xf", &archive, "-C", &root][..],
        &["--extract", "--file", &archive, "--directory", &root],
        &["xzf", &archive, "-C", &root],
        &["xf", &archive],
        &["-z", &root, &archive],
        &["--zstd", "--same-owner", &root, &archive],
        &[&archive, &root],
    ] {
        let want = if words == ["xf", &archive] { format!("untar-in-root . {archive}") } else { right.clone() };
        let ran = run(words, b"").ended(2, &want);
        assert!(!ran.err.contains("as a value"), "{}", ran.err);
    }
    let literal = Tarball::new().file("a[1].txt", "").file("a1.txt", "").build();
    let literal = dest.scratch.file("literal.tar", literal).display().to_string();
    let said = run(["-xf", &literal, "-C", &root, "a[1].txt"], b"").ended(2, "--include").err;
    let (_, typed) = said.split_once("here it is: untar-in-root ").expect("a command");
    let line = format!("{} {}", super::PROGRAM, typed.lines().next().expect("a line"));
    super::feed(Command::new("sh").args(["-c", &line]), b"").silent();
    assert_eq!(made(&dest), ["a[1].txt"]);
    run([&archive], b"")
        .ended(2, &format!("ROOT, the directory to unpack into, comes first: untar-in-root . {archive}"));
    run(["--no-such", &root], b"").ended(2, "unexpected argument '--no-such'");
    let missing = dest.scratch.join("missing").display().to_string();
    run([&missing, &archive], b"").ended(3, "mkdir").ended(3, "--atomic");
    super::feed(program().arg("--atomic").arg(&missing).arg(&archive), b"").silent();
    run([&missing, &archive], b"").silent();
}
