//! Rules 1, 2, 18 and 19: paths that were named.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use untar_in_root::{Cause, ErrorKind, PackOptions, Refusal};

use super::cli::as_nobody;
use super::{entries, names_of, pack_paths, packer, plain};
use crate::support::privilege::{need_root, need_tool, need_userns};
use crate::support::scratch::Scratch;

fn tree(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("root");
    for file in ["usr/lib/x", "usr/lib/deep/y", "usr/u", "a/f", "a/sub/g", "a/b.log"] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(path, file).expect("file");
    }
    for (target, link) in [("usr/lib", "lib"), ("/", "top"), ("../lib/deep", "usr/far"), ("/usr/lib", "a/up")] {
        symlink(target, root.join(link)).expect("link");
    }
    root
}

#[test]
fn pack_rule_01_where_dots_follow_a_link_the_name_is_that_of_where_it_leads() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let usr = "usr/ usr/far usr/lib/ usr/lib/deep/ usr/lib/deep/y usr/lib/x usr/u";
    for (paths, want) in [
        (&["lib/.."][..], usr),
        (&["lib/../u"], "usr/u"),
        (&["lib/deep/.."], "usr/lib/ usr/lib/deep/ usr/lib/deep/y usr/lib/x"),
        (&["a/up/../../a/f"], "a/f"),
        (&["top/../a/f"], "a/f"),
        (&["usr/far/../x"], "usr/lib/x"),
        (&["usr/far/y"], "usr/far/y"),
        // What was written is known by the name that it has.
        (&["lib/../u", "usr/u"], "usr/u"),
        (&["lib/..", "usr"], usr),
        (&["u/../a/f", "a/f"], ""),
    ] {
        if want.is_empty() {
            let error = paths.iter().fold(packer(&root, plain), |pack, path| pack.path(path)).to(std::io::sink());
            assert_eq!(error.expect_err("no u").kind(), ErrorKind::Entry);
        } else {
            assert_eq!(names_of(&pack_paths(&root, paths, plain)), want, "{paths:?}");
        }
    }
    let archive = pack_paths(&root, &["lib/../u"], plain);
    assert_eq!(entries(&archive)[0].body, b"usr/u");
}

#[test]
fn pack_rule_01_a_path_that_leads_nowhere_is_told_as_it_was_named() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for (path, errno) in [
        ("missing", 2),
        ("ab/../f", 2),
        ("ab/..", 2),
        ("a/../../missing", 2),
        ("a/f/../b.log", 20),
        ("a/f/", 20),
        ("a/f/.", 20),
        ("a/f//", 20),
        ("lib/x/", 20),
    ] {
        let error = packer(&root, plain).path(path).to(std::io::sink()).expect_err(path);
        let entry = error.failure().and_then(|failure| failure.entry.clone()).expect("an entry");
        assert_eq!((&entry.path[..], error.raw_os_error()), (path.as_bytes(), Some(errno)), "{error}");
        assert_eq!(error.kind(), ErrorKind::Entry, "{error}");
    }
}

/// As every tool has it: `lstat("f/")`.
#[test]
fn pack_rule_01_a_slash_at_the_end_is_a_step_into_a_directory() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for (path, want) in [
        ("a/sub/", "a/sub/ a/sub/g"),
        ("a/sub/.", "a/sub/ a/sub/g"),
        ("usr/far", "usr/far"),
        ("usr/far/", "usr/far/ usr/far/y"),
        ("usr/far/.", "usr/far/ usr/far/y"),
        (
            "./",
            "./ a/ a/b.log a/f a/sub/ a/sub/g a/up lib top usr/ usr/far usr/lib/ usr/lib/deep/ usr/lib/deep/y usr/lib/x usr/u",
        ),
    ] {
        assert_eq!(names_of(&pack_paths(&root, &[path], plain)), want, "{path}");
    }
}

#[test]
fn pack_rule_18_a_path_through_a_link_contradicts_that_link() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for paths in [&["lib/x", "lib"][..], &["lib", "lib/x"], &["", "lib/deep"], &["usr/far/y", "usr"]] {
        let pack = paths.iter().fold(packer(&root, plain), |pack, path| pack.path(path));
        let error = pack.to(std::io::sink()).expect_err("a link and a directory of one name");
        let cause = error.failure().map(|failure| failure.cause.clone());
        let name = if paths.contains(&"usr") { b"usr/far".to_vec() } else { b"lib".to_vec() };
        assert_eq!(cause, Some(Cause::SameName { name }), "{paths:?}: {error}");
    }
    // Each for itself they do not, nor where the link is no longer in the way.
    assert_eq!(names_of(&pack_paths(&root, &["lib/x", "lib/deep"], plain)), "lib/x lib/deep/ lib/deep/y");
    let aside = |o: &mut PackOptions| o.rebase = vec![(b"lib/x".to_vec(), b"x".to_vec())];
    assert_eq!(names_of(&pack_paths(&root, &["lib/x", "lib"], aside)), "x lib");
}

#[test]
fn pack_rule_18_no_file_but_a_directory_is_without_a_name() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for path in ["a/f", "lib"] {
        let rebased = |o: &mut PackOptions| o.rebase = vec![(path.as_bytes().to_vec(), Vec::new())];
        let error = packer(&root, rebased).path(path).to(std::io::sink()).expect_err("no name");
        let cause = error.failure().map(|failure| failure.cause.clone());
        assert_eq!(cause, Some(Cause::Refused(Refusal::Nameless)), "{error}");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
    // Nor can it be where others are directories.
    let over = |o: &mut PackOptions| o.rebase = vec![(b"a/f".to_vec(), b"usr".to_vec())];
    let error = packer(&root, over).path("a/f").path("usr/u").to(std::io::sink()).expect_err("a file and a directory");
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!(cause, Some(Cause::SameName { name: b"usr".into() }), "{error}");
}

#[test]
fn pack_rule_19_a_path_that_was_named_is_packed_with_what_is_below_it() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let without = |patterns: &'static [&str]| {
        move |o: &mut PackOptions| o.exclude = patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
    };
    let ignoring = |file: &'static str| move |o: &mut PackOptions| o.dockerignore = Some(file.into());
    let all = "a/ a/b.log a/f a/sub/ a/sub/g a/up";
    assert_eq!(names_of(&pack_paths(&root, &["a"], without(&["a"]))), all);
    assert_eq!(names_of(&pack_paths(&root, &["a"], without(&["a", "*.log", "a/sub"]))), "a/ a/f a/up");
    assert_eq!(names_of(&pack_paths(&root, &["a/sub"], without(&["a"]))), "a/sub/ a/sub/g");
    assert_eq!(
        names_of(&pack_paths(&root, &["a/sub", "a"], without(&["a/sub"]))),
        "a/sub/ a/sub/g a/ a/b.log a/f a/up"
    );
    assert_eq!(names_of(&pack_paths(&root, &["", "a/sub"], without(&["a", "usr"]))), "./ lib top a/sub/ a/sub/g");
    assert_eq!(names_of(&pack_paths(&root, &["a"], ignoring("a\n"))), all);
    assert_eq!(names_of(&pack_paths(&root, &["a"], ignoring("a\n**/*.log\n"))), "a/ a/f a/sub/ a/sub/g a/up");
    assert_eq!(names_of(&pack_paths(&root, &["a"], ignoring("*/*\n!a/f\n"))), "a/ a/f");
}

#[test]
fn pack_rule_01_a_directory_on_the_way_need_not_be_readable() {
    if !need_root() || !need_tool("setpriv") || !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for dir in ["a", "a/sub"] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o711)).expect("mode");
    }
    for dir in [scratch.path(), &root] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let name = root.to_str().expect("UTF-8");
    let said = as_nobody(&scratch, &["pack", "--unmapped-ids=nobody", "-q", name, "a/sub/g", "a/f"]);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(names_of(&said.stdout), "a/sub/g a/f");
    assert_eq!(as_nobody(&scratch, &["pack", "--unmapped-ids=nobody", "-q", name, "a/sub"]).status.code(), Some(1));
}

/// More than are held open, so that the rest is found twice.
#[test]
fn pack_rule_01_any_number_of_paths_is_packed_each_as_it_was_found() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let names: Vec<String> = (0..300).map(|i| format!("d{}/f{i}", i % 7)).collect();
    for name in &names {
        fs::create_dir_all(root.join(name).parent().expect("a parent")).expect("directory");
        fs::write(root.join(name), name).expect("file");
    }
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    let archive = pack_paths(&root, &paths, plain);
    assert_eq!(names_of(&archive), names.join(" "));
    assert!(entries(&archive).iter().all(|seen| seen.body == seen.name));
}
