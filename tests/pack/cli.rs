//! `untar-in-root pack`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{entries, names_of, pack, plain};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;

fn run(words: &[&str]) -> Output {
    Command::new(program_path()).args(words).env_remove("SOURCE_DATE_EPOCH").output().expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whoever has no rights.
pub fn as_nobody(scratch: &Scratch, words: &[&str]) -> Output {
    let program = scratch.join("untar-in-root");
    if !program.exists() {
        copy_program(&program_path(), &program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    command.arg(&program).args(words).output().expect("setpriv")
}

fn tree(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("root");
    scratch.dir("root/a");
    scratch.file("root/a/f", "f");
    scratch.file("root/b.log", "b");
    fs::hard_link(root.join("a/f"), root.join("a/g")).expect("link");
    root
}

#[track_caller]
fn packs(words: &[&str]) -> Vec<u8> {
    let said = run(words);
    assert_eq!((said.status.code(), text(&said.stderr).as_str()), (Some(0), ""), "{words:?}");
    said.stdout
}

#[test]
fn it_writes_to_standard_output_what_the_library_writes() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    assert!(packs(&["pack", name]) == pack(&root, plain).0);
    assert_eq!(names_of(&packs(&["pack", name, "a"])), "a/ a/f a/g");
    assert_eq!(names_of(&packs(&["pack", "--no-root", "--parents", name, "a/f"])), "a/ a/f");
    assert_eq!(names_of(&packs(&["pack", "--include", "a", "--exclude=*g", name])), "./ a/ a/f");
    assert_eq!(names_of(&packs(&["pack", "--rebase=a=x/y", name, "a"])), "x/y/ x/y/f x/y/g");
    assert_eq!(names_of(&packs(&["pack", "--rebase=a=", name, "a"])), "./ f g");
    let list = scratch.file("list", "*.log\n");
    let list = list.to_str().expect("UTF-8");
    assert_eq!(names_of(&packs(&["pack", "--exclude-from", list, name])), "./ a/ a/f a/g");
    assert_eq!(names_of(&packs(&["pack", "--include-from", list, name])), "./ b.log");
    assert_eq!(names_of(&packs(&["pack", "--dockerignore", list, name])), "./ a/ a/f a/g");
    for option in ["--sparse=no", "--times=seconds", "--clamp-mtime=7", "--xattrs=none", "--changes=fail"] {
        assert_eq!(entries(&packs(&["pack", option, name])).len(), 5, "{option}");
    }
    let seconds = entries(&packs(&["pack", "--times=seconds", name]));
    assert!(seconds.iter().all(|seen| seen.records.is_empty()));
}

#[test]
fn owners_are_mapped_and_given() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    assert!(entries(&packs(&["pack", "--chown=7:8", name])).iter().all(|seen| seen.owner == (7, 8)));
    let id = rustix::process::geteuid().as_raw();
    let map = format!("--uid-map=5:{id}:1");
    assert!(entries(&packs(&["pack", &map, "--gid-map=0:0:65536", name])).iter().all(|seen| seen.owner.0 == 5));
    let said = run(&["pack", "--uid-map=0:4000000000:1", name]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).contains("--unmapped-ids nobody"), "{}", text(&said.stderr));
    let said = run(&["pack", "--uid-map=0:4000000000:1", "--unmapped-ids=nobody", name]);
    assert_eq!(said.status.code(), Some(0));
    assert!(text(&said.stderr).contains("65534"), "{}", text(&said.stderr));
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let (file, short) = (scratch.join("out/archive"), scratch.dir("out").join("short"));
    let there = file.to_str().expect("UTF-8");
    packs(&["pack", "--gzip", "-o", there, name]);
    assert!(fs::read(&file).expect("archive").starts_with(b"\x1f\x8b\x08\0"));
    packs(&["pack", "--zstd=1", "--output", there, name]);
    assert!(fs::read(&file).expect("archive").starts_with(b"\x28\xb5\x2f\xfd"));
    let before = fs::read(&file).expect("archive");
    for to in [there, short.to_str().expect("UTF-8")] {
        let said = run(&["pack", "--max-entries=2", "-o", to, name]);
        assert_eq!(said.status.code(), Some(1));
        assert!(text(&said.stderr).contains("--max-entries"), "{}", text(&said.stderr));
    }
    let left: Vec<_> =
        fs::read_dir(scratch.join("out")).expect("directory").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left, ["archive"], "nothing else is left");
    assert_eq!(fs::read(&file).expect("archive"), before, "what was there stays");
    let said = run(&["pack", "-o", "/nonexistent/archive", name]);
    assert_eq!(said.status.code(), Some(5), "{}", text(&said.stderr));
}

#[test]
fn a_file_that_is_there_keeps_its_owner_and_mode() {
    use crate::support::privilege::is_root;
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let there = scratch.file("archive", "secret");
    fs::set_permissions(&there, fs::Permissions::from_mode(0o640)).expect("mode");
    let owner =
        if is_root() { (7, 8) } else { (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()) };
    std::os::unix::fs::chown(&there, Some(owner.0), Some(owner.1)).expect("owner");
    packs(&["pack", "-o", there.to_str().expect("UTF-8"), name]);
    let now = fs::metadata(&there).expect("archive");
    assert_eq!((now.mode() & 0o7777, now.uid(), now.gid()), (0o640, owner.0, owner.1));
    // Through a link the file that it leads to appears; of a link to nothing there is no archive.
    let link = scratch.join("link");
    std::os::unix::fs::symlink("archive", &link).expect("link");
    packs(&["pack", "--gzip", "-o", link.to_str().expect("UTF-8"), name]);
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert!(fs::read(&there).expect("archive").starts_with(b"\x1f\x8b"));
    let dangling = scratch.join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).expect("link");
    let said = run(&["pack", "-o", dangling.to_str().expect("UTF-8"), name]);
    assert_eq!(said.status.code(), Some(5), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("link to nothing"), "{}", text(&said.stderr));
    assert!(fs::symlink_metadata(&dangling).expect("the link").is_symlink() && !scratch.join("nowhere").exists());
}

#[test]
fn the_archive_is_not_packed_into_itself() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let inside = root.join("a/out.tar");
    let said = run(&["pack", "-o", inside.to_str().expect("UTF-8"), name]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("the archive itself"), "{}", text(&said.stderr));
    assert_eq!(names_of(&fs::read(&inside).expect("archive")), "./ a/ a/f a/g b.log");
    fs::remove_file(&inside).expect("file");
    let file = fs::File::create(&inside).expect("file");
    let said = Command::new(program_path()).args(["pack", name]).stdout(file).output().expect("the program");
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    assert_eq!(names_of(&fs::read(&inside).expect("archive")), "./ a/ a/f a/g b.log");
}

#[test]
fn a_terminal_is_no_place_for_an_archive() {
    use crate::support::privilege::need_tool;
    if !need_tool("script") {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let line = format!("{} pack {}; echo status $?", program_path().display(), root.display());
    let said = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().expect("script");
    let words = text(&said.stdout);
    assert!(words.contains("--output") && words.contains("status 2"), "{words}");
}

#[test]
fn json_tells_what_a_manifest_needs() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let said = run(&["pack", "--gzip=9", "--json", name]);
    let value: Value = serde_json::from_slice(&said.stderr).expect("one object");
    assert_eq!(value["ok"], true, "{value}");
    let report = &value["report"];
    assert_eq!(report["blob_size"], said.stdout.len(), "{value}");
    assert_eq!(report["media_type"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert!(report["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{value}");
    assert_eq!((&report["entries"]["files"], &report["entries"]["hardlinks"]), (&2.into(), &1.into()));
    let file = scratch.join("report.json");
    let said = run(&["pack", &format!("--json={}", file.display()), "--max-depth=1", name]);
    let value: Value = serde_json::from_slice(&fs::read(&file).expect("report")).expect("one object");
    assert_eq!((said.status.code(), &value["exit"], &value["ok"]), (Some(1), &1.into(), &false.into()), "{value}");
    assert_eq!(value["error"]["failure"]["stage"], "walk", "{value}");
    assert!(text(&said.stderr).contains("no whole archive"), "{}", text(&said.stderr));
}

#[test]
fn it_shows_entries_and_progress() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    let said = run(&["pack", "-v", name]);
    assert_eq!(text(&said.stderr), "./\na/\na/f\na/g\nb.log\n");
    let said = run(&["pack", "--progress", name]);
    assert!(text(&said.stderr).contains("entries"), "{}", text(&said.stderr));
    assert_eq!(text(&run(&["pack", "--quiet", name]).stderr), "");
}

#[test]
fn limits_and_what_contradicts_itself() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let name = root.to_str().expect("UTF-8");
    scratch.file("root/c", "c");
    fs::hard_link(root.join("c"), root.join("d")).expect("link");
    for option in ["--max-total-bytes=3K", "--max-file-bytes=0", "--max-hardlinks=1", "--max-name-bytes=2"] {
        let said = run(&["pack", option, name]);
        let option = option.split('=').next().expect("a name");
        assert_eq!(said.status.code(), Some(1), "{option}");
        assert!(text(&said.stderr).contains(option), "{}", text(&said.stderr));
    }
    for (option, most) in [("--gzip=0", 9), ("--gzip=10", 9), ("--gzip=fast", 9), ("--zstd=0", 19), ("--zstd=20", 19)] {
        let said = run(&["pack", option, name]);
        assert_eq!(said.status.code(), Some(2), "{option}");
        assert!(text(&said.stderr).contains(&format!("a level from 1 to {most}")), "{}", text(&said.stderr));
    }
    for words in [
        &["--gzip", "--zstd"][..],
        &["--rebase=a"],
        &["--xattrs=none", "--trusted-xattrs=allow"],
        &["--xattrs=capability", "--recorded-owners=allow"],
        &["--chown=1:1", "--uid-map=0:0:1"],
        &["--quiet", "--progress"],
        &["--clamp-mtime"],
    ] {
        assert_eq!(run(&[&["pack"], words, &[name]].concat()).status.code(), Some(2), "{words:?}");
    }
    assert_eq!(run(&["pack", "--security-xattrs=allow", "--recorded-owners=allow", name]).status.code(), Some(0));
    let said = run(&["pack", name, "missing"]);
    assert!(said.status.code() == Some(1) && text(&said.stderr).contains("\"missing\""), "{}", text(&said.stderr));
    let said = run(&["pack", "/nonexistent"]);
    assert_eq!(said.status.code(), Some(3));
    assert!(!text(&said.stderr).contains("mkdir"), "an empty one would not help: {}", text(&said.stderr));
}

/// Words of ours about wrong usage have the usage of the command that was used.
#[test]
fn wrong_usage_is_told_with_the_usage_of_its_own_command() {
    for (words, command) in [
        (&["pack", "--rebase=a", "."][..], "pack"),
        (&["pack", "--quiet", "--progress", "."], "pack"),
        (&["diff", "a"], "diff"),
        (&["diff", "--overlay", "a", "b"], "diff"),
        (&["copy", "nocolon", "a:b"], "copy"),
        (&["copy", "--quiet", "--progress", "a:b", "a:b"], "copy"),
        (&["image", "--quiet", "--progress", "a", "b"], "image"),
    ] {
        let said = run(words);
        assert_eq!(said.status.code(), Some(2), "{words:?}");
        let usage = format!("Usage: untar-in-root {command} [OPTIONS]");
        assert!(text(&said.stderr).contains(&usage), "{words:?}: {}", text(&said.stderr));
    }
}

#[test]
fn a_bad_dockerignore_is_wrong_usage() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let ignore = scratch.file("ignore", "a\n!\n");
    let said = run(&["pack", "--dockerignore", ignore.to_str().expect("UTF-8"), root.to_str().expect("UTF-8")]);
    assert_eq!(said.status.code(), Some(2), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains(&format!("{:?}: line 2: ", ignore)), "{}", text(&said.stderr));
}

#[test]
fn a_pipe_to_our_own_unpacking_is_a_copy() {
    use crate::support::tree::{Tree, assert_same};
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let dest = scratch.dir("dest");
    let mut unpack = Command::new(program_path()).arg(&dest).stdin(Stdio::piped()).spawn().expect("the program");
    let archive = packs(&["pack", root.to_str().expect("UTF-8")]);
    unpack.stdin.take().expect("a pipe").write_all(&archive).expect("room");
    assert!(unpack.wait().expect("its end").success());
    assert_same("a copy", &Tree::read(&dest), &Tree::read(&root), &[]);
}
