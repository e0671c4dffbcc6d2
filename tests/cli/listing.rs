//! `--list` says what GNU tar says, and writes nothing.

use super::{Dest, can_run, fixture, program, run};
use crate::support::privilege::need_tool;
use crate::support::tarball::Tarball;
use std::path::{Path, PathBuf};
use std::process::Command;

/// GNU tar shows the size of a dumpdir's body, which is no file content.
const DUMPDIRS: &str = "gnutar-incremental.tar.gz";

#[test]
fn fixtures_are_listed_as_by_gnu_tar() {
    if !can_run() || !need_tool("tar") {
        return;
    }
    let fixtures = std::fs::read_dir(fixture("")).expect("fixtures").map(|entry| entry.expect("fixture").path());
    let archives: Vec<PathBuf> = fixtures.filter(|path| path.to_string_lossy().contains(".tar")).collect();
    assert!(archives.len() > 20, "{archives:?}");
    for archive in archives {
        let ours = program().arg("-t").arg(&archive).output().expect("the program");
        let ours = String::from_utf8_lossy(&ours.stdout).into_owned();
        let theirs = gnu(&archive);
        match archive.ends_with(DUMPDIRS) {
            true => assert_eq!(
                ours.lines().map(without_size).collect::<Vec<_>>(),
                theirs.lines().map(without_size).collect::<Vec<_>>()
            ),
            false => assert_eq!(ours, theirs, "{}", archive.display()),
        }
    }
}

fn gnu(archive: &Path) -> String {
    let mut tar = Command::new("tar");
    tar.args(["-tv", "--numeric-owner", "-f"]).arg(archive).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    String::from_utf8_lossy(&tar.output().expect("tar").stdout).into_owned()
}

fn without_size(line: &str) -> String {
    line.split_whitespace().enumerate().filter(|(at, _)| *at != 2).map(|(_, word)| format!("{word} ")).collect()
}

#[test]
fn odd_entries_are_listed_as_by_gnu_tar() {
    if !can_run() || !need_tool("tar") {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new()
        .file("setuid", "x")
        .with(|e| _ = e.mode(0o6711).uid(4_000_000_000).gid(123_456))
        .file("after a long owner", "x")
        .file("a\nb\tc\\d", "x")
        .with(|e| _ = e.mode(0o1644).mtime(-1))
        .file("é", "x")
        .with(|e| _ = e.mtime(4_107_542_400))
        .file(b"\xff", "x")
        .block_dev("disk", 259, 1_048_575)
        .hardlink("hard", "setuid")
        .symlink("sym", "a b\x07")
        .build();
    let file = dest.scratch.file("a.tar", archive);
    let ran = program().arg("-t").arg(&file).output().expect("the program");
    // GNU tar writes BEL as \a, and we as \007.
    let theirs = gnu(&file).replace("\\a", "\\007");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), theirs);
}

#[test]
fn nothing_is_written_and_the_selection_holds() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new().file("a/b", "x").file("c", "x").char_dev("d", 1, 3).file("../e", "x").build();
    let ran = dest.run(&["-t"], b"").ended(5, "is a directory");
    assert!(ran.out.is_empty());
    let root = dest.path.display().to_string();
    assert_eq!(run(["-t", &root, "-"], &archive).ended(0, "").text().lines().count(), 4);
    assert_eq!(run(["-t", "--exclude", "a"], &archive).ended(0, "").text().lines().count(), 3);
    assert_eq!(run(["-t", "--include", "a"], &archive).ended(0, "").text().lines().count(), 1);
    assert_eq!(std::fs::read_dir(&dest.path).expect("dest").count(), 0);
}

#[test]
fn the_empty_directory_goes_away() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let temporary = dest.scratch.dir("tmp");
    for archive in [&Tarball::new().file("a", "x").build()[..], &[7; 600]] {
        super::feed(program().env("TMPDIR", &temporary).arg("-t"), archive);
        assert_eq!(std::fs::read_dir(&temporary).expect("tmp").count(), 0);
    }
    // One that is there anyhow will do where none can be made, as in a container whose root is read-only.
    let archive = Tarball::new().file("a", "x").build();
    let listed = super::feed(program().env("TMPDIR", "/nonexistent").arg("-t"), &archive).ended(0, "");
    assert!(listed.text().ends_with(" a\n"), "{}", listed.text());
}
