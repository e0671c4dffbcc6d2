//! `untar-in-root diff`.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::{archive_of, between, make, mark, over, white};
use crate::pack::names_of;
use crate::support::privilege::need_root;
use crate::support::run::program_path;
use crate::support::scratch::Scratch;

fn run(words: &[&str]) -> Output {
    Command::new(program_path()).args(words).env_remove("SOURCE_DATE_EPOCH").output().expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn packs(words: &[&str]) -> Vec<u8> {
    let said = run(words);
    assert_eq!((said.status.code(), text(&said.stderr).as_str()), (Some(0), ""), "{words:?}");
    said.stdout
}

#[test]
fn it_writes_what_the_library_writes() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (make(&scratch, "lower", "a b d/ d/x"), make(&scratch, "upper", "a=new d/ d/y"));
    white(&scratch, "upper/never");
    let [below, above] = [&lower, &upper].map(|path| path.to_str().expect("UTF-8"));
    let lowers = std::slice::from_ref(&lower);
    assert!(packs(&["diff", "--overlay", "--lower", below, above]) == archive_of(over(&upper, lowers, |_| ())));
    assert!(packs(&["diff", "--overlay", above]) == archive_of(over(&upper, &[], |_| ())));
    assert_eq!(names_of(&packs(&["diff", "--overlay=trusted", "--lower", below, above])), "./ a d/ d/y");
    assert_eq!(names_of(&packs(&["diff", "--overlay", above])), "./ a d/ d/y .wh.never");
    fs::remove_file(upper.join("never")).expect("gone");
    assert!(packs(&["diff", below, above]) == archive_of(between(&lower, &upper, |_| ())));
    assert_eq!(names_of(&packs(&["diff", below, above])), "a .wh.b d/ d/.wh.x d/y");
    let exact = packs(&["diff", "--times=nanoseconds", "--sparse=yes", "--changes=tell", below, above]);
    assert!(exact == archive_of(between(&lower, &upper, |o| o.whole_seconds = false)));
    for option in ["--gzip", "--zstd", "--gzip=1"] {
        assert!(packs(&["diff", option, below, above]).len() < 10_240, "{option}");
    }
    let file = scratch.join("layer");
    packs(&["diff", "-o", file.to_str().expect("UTF-8"), below, above]);
    assert!(fs::read(&file).expect("a layer") == packs(&["diff", below, above]));
    let said = run(&["diff", "-v", below, above]);
    assert_eq!(text(&said.stderr), "a\n.wh.b\nd/\nd/.wh.x\nd/y\n");
}

/// What is left out is neither changed nor gone.
#[test]
fn patterns_choose_what_of_a_change_is_packed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (make(&scratch, "lower", "a b d/ d/x o/ o/f"), make(&scratch, "upper", "a=new d/ d/y o/"));
    let [below, above] = [&lower, &upper].map(|path| path.to_str().expect("UTF-8"));
    let list = scratch.file("list", "*x\nb\n");
    let list = list.to_str().expect("UTF-8");
    for (options, want) in [
        (&["--exclude", "d"][..], "a .wh.b o/ o/.wh.f"),
        (&["--exclude", "b", "--exclude", "d/x"], "a d/ d/y o/ o/.wh.f"),
        (&["--include", "d"], "d/ d/.wh.x d/y"),
        (&["--exclude-from", list], "a d/ d/y o/ o/.wh.f"),
        (&["--include-from", list], ".wh.b d/.wh.x"),
        (&["--dockerignore", list], "a d/ d/.wh.x d/y o/ o/.wh.f"),
    ] {
        assert_eq!(names_of(&packs(&[&["diff"], options, &[below, above]].concat())), want, "{options:?}");
    }
    white(&scratch, "upper/b");
    mark(&upper.join("o"), "trusted.overlay.opaque", "y");
    for (options, want) in [
        (&["--exclude", "b"][..], "./ a d/ d/y o/ o/.wh.f"),
        (&["--exclude", "o"], "./ a .wh.b d/ d/y"),
        (&["--exclude", "o/f"], "./ a .wh.b d/ d/y o/"),
        (&["--include", "d"], "./ d/ d/y"),
    ] {
        let words = [&["diff", "--overlay", "--lower", below], options, &[above]].concat();
        assert_eq!(names_of(&packs(&words)), want, "{options:?}");
    }
    let bad = scratch.file("bad", "!\n");
    let said = run(&["diff", "--dockerignore", bad.to_str().expect("UTF-8"), below, above]);
    assert!(said.status.code() == Some(2) && text(&said.stderr).contains("bad\": line 1: "), "{}", text(&said.stderr));
    assert_eq!(run(&["diff", "--include-from", "-", "--dockerignore", "-", below, above]).status.code(), Some(2));
}

#[test]
fn json_tells_what_a_manifest_needs_and_counts_whiteouts() {
    let scratch = Scratch::new();
    let (lower, upper) = (make(&scratch, "lower", "a b"), make(&scratch, "upper", "c"));
    let [below, above] = [&lower, &upper].map(|path| path.to_str().expect("UTF-8"));
    let said = run(&["diff", "--json", below, above]);
    let value: Value = serde_json::from_slice(&said.stderr).expect("one object");
    let entries = &value["report"]["entries"];
    assert_eq!((&entries["whiteouts"], &entries["files"]), (&2.into(), &1.into()), "{value}");
    assert!(value["report"]["diff_id"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{value}");
}

#[test]
fn what_contradicts_itself_and_what_helps() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = make(&scratch, "upper", "d/ f");
    let above = upper.to_str().expect("UTF-8");
    for words in
        [&["diff", above][..], &["diff", "--overlay", above, above], &["diff", "--lower", above, above], &["diff"]]
    {
        assert_eq!(run(words).status.code(), Some(2), "{words:?}");
    }
    let missing = scratch.join("missing");
    let missing = missing.to_str().expect("UTF-8");
    for words in
        [&["diff", missing, above][..], &["diff", above, missing], &["diff", "--overlay", "--lower", missing, above]]
    {
        let said = run(words);
        assert!(said.status.code() == Some(3) && text(&said.stderr).contains("missing"), "{}", text(&said.stderr));
    }
    mark(&upper.join("d"), "trusted.overlay.redirect", "/e");
    let said = run(&["diff", "--overlay", above]);
    let words = text(&said.stderr);
    assert!(said.status.code() == Some(1) && words.contains("trusted.overlay.redirect"), "{words}");
    assert!(words.contains("--lower") && words.contains("no whole archive"), "{words}");
    let said = run(&["diff", "--overlay=trusted", "--userns=single", above]);
    let words = text(&said.stderr);
    assert!(said.status.code() == Some(3) && words.contains("--overlay=user"), "{words}");
}
