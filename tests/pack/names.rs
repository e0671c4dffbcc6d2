//! Rules 7, 8, 18 and 19: headers, names, rebase, patterns.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use untar_in_root::{BadPattern, Cause, Encoding, ErrorKind, EventKind, PackOptions};

use super::{entries, events, names_of, pack, pack_paths, plain, try_pack};
use crate::support::scratch::Scratch;

#[test]
fn pack_rule_07_plain_where_it_fits_and_records_where_not() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/short", "1");
    scratch.file(format!("root/{}", "n".repeat(101)), "2");
    for entry in fs::read_dir(&root).expect("root").map(|entry| entry.expect("entry").path()) {
        let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &entry, &times, rustix::fs::AtFlags::empty()).expect("time");
    }
    let (archive, _) = pack(&root, |o| o.no_root = true);
    let flags: Vec<u8> =
        archive.chunks(512).filter(|block| block[257..].starts_with(b"ustar\0")).map(|b| b[156]).collect();
    assert_eq!(flags, b"x00", "{}", names_of(&archive));
    let headers = archive.chunks(512).filter(|block| block[257..].starts_with(b"ustar\0"));
    for block in headers {
        // No names of users and groups, and the mode's low twelve bits alone.
        assert!(block[265..329].iter().all(|byte| *byte == 0) && block[100..108].starts_with(b"0000"), "{block:?}");
    }
}

#[test]
fn pack_rule_08_names_are_bytes_and_the_end_is_two_blocks_of_zeros() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let names: [&[u8]; 6] = [b"\xff\xfe", b"a\nb", b"back\\slash", b"\x01\x7f", "é".as_bytes(), b" "];
    for name in names {
        fs::write(root.join(OsStr::from_bytes(name)), b"x").expect("file");
    }
    let (archive, _) = pack(&root, |o| o.no_root = true);
    let mut want: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).into();
    want.sort();
    assert_eq!(entries(&archive).into_iter().map(|seen| seen.name).collect::<Vec<_>>(), want);
    let empty = scratch.dir("empty");
    assert_eq!(pack(&empty, |o| o.no_root = true).0, vec![0; 1024]);
    assert!(archive.ends_with(&[0; 1024]) && archive[..archive.len() - 1024].chunks(512).last() != Some(&[0; 512]));
}

fn tree(scratch: &Scratch) -> std::path::PathBuf {
    let root = scratch.dir("root");
    for file in ["a/b/f", "a/g", "c/h", "node_modules/x/y", "node_modules/keep", "k.log"] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(path, file).expect("file");
    }
    fs::hard_link(root.join("a/g"), root.join("c/link")).expect("link");
    root
}

#[test]
fn pack_rule_18_names_and_targets_of_hardlinks_are_rebased() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    std::os::unix::fs::symlink("a/g", root.join("c/symlink")).expect("link");
    let rebase = |from: &str, to: &str| {
        let rule = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
        move |o: &mut PackOptions| o.rebase = vec![rule]
    };
    let archive = pack_paths(&root, &["a", "c"], rebase("a", "x/y"));
    assert_eq!(names_of(&archive), "x/y/ x/y/b/ x/y/b/f x/y/g c/ c/h c/link c/symlink");
    let links: Vec<_> =
        entries(&archive).into_iter().filter(|seen| !seen.link.is_empty()).map(|seen| seen.link).collect();
    assert_eq!(links, [&b"x/y/g"[..], b"a/g"]);
    assert_eq!(names_of(&pack_paths(&root, &["a/b"], rebase("a/b", ""))), "./ f");
    assert_eq!(names_of(&pack_paths(&root, &["a/b/f"], rebase("a/b", ""))), "f");
    let (error, _) = try_pack(&root, rebase("a/b/f", "a/g")).expect_err("two names become one");
    let cause = error.failure().map(|failure| failure.cause.clone());
    assert_eq!((error.kind(), cause), (ErrorKind::Entry, Some(Cause::SameName { name: b"a/g".into() })));
    for (from, to) in [("a/", "b"), ("../a", "b"), ("a", "./b")] {
        assert_eq!(try_pack(&root, rebase(from, to)).expect_err("no whole name").0.kind(), ErrorKind::Options);
    }
}

#[test]
fn pack_rule_18_a_name_that_looks_like_a_whiteout_stays() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/.wh.x", "");
    assert_eq!(names_of(&pack(&root, plain).0), "./ .wh.x");
}

#[test]
fn pack_rule_19_globs_as_in_applying() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for (include, exclude, want) in [
        (&["a"][..], &[][..], "./ a/ a/b/ a/b/f a/g"),
        (&["a/b"], &[], "./ a/b/ a/b/f"),
        (&["*/f"], &[], "./ a/b/f"),
        (&[], &["a", "node_modules"], "./ c/ c/h c/link k.log"),
        (&["a"], &["a/b"], "./ a/ a/g"),
        (&[], &["*.log", "*h", "node_modules", "c/link"], "./ a/ a/b/ a/b/f a/g c/"),
    ] {
        let (archive, _) = pack(&root, |o| {
            o.include = include.iter().map(ToString::to_string).collect();
            o.exclude = exclude.iter().map(ToString::to_string).collect();
        });
        assert_eq!(names_of(&archive), want, "{include:?} {exclude:?}");
    }
    let (_, packed) = pack(&root, |o| o.exclude = vec!["nothing*".into()]);
    assert_eq!(events(&packed), [EventKind::PatternUnmatched { pattern: "nothing*".into() }]);
    // What was named is packed whatever the patterns say, and what is below it as they say.
    let exclude = |o: &mut PackOptions| o.exclude = vec!["a".into(), "*.log".into()];
    assert_eq!(names_of(&pack_paths(&root, &["k.log", "a/b/f"], exclude)), "k.log a/b/f");
}

#[test]
fn pack_rule_19_a_dockerignore_means_what_docker_means() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    for (ignore, want) in [
        ("node_modules\n*.log", "./ a/ a/b/ a/b/f a/g c/ c/h c/link"),
        ("node_modules\n!node_modules/keep\na\nc\n*.log\n", "./ node_modules/keep"),
        ("**\n!a/b\n", "./ a/b/ a/b/f"),
        ("# a\n\\#\n*/b\nc\nnode_modules\n*.log", "./ a/ a/g"),
    ] {
        let (archive, _) = pack(&root, |o| o.dockerignore = Some(ignore.into()));
        assert_eq!(names_of(&archive), want, "{ignore:?}");
    }
    for (ignore, line, what) in [("!", 1, BadPattern::LoneException), ("a\n[", 2, BadPattern::Class)] {
        let (error, _) = try_pack(&root, |o| o.dockerignore = Some(ignore.into())).expect_err("bad");
        let cause = error.failure().map(|failure| failure.cause.clone());
        assert_eq!(cause, Some(Cause::IgnoreLine { line, what }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Options);
    }
}

#[test]
fn a_level_that_there_is_not_is_refused() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for encoding in [Encoding::Gzip { level: 0 }, Encoding::Gzip { level: 10 }, Encoding::Zstd { level: 20 }] {
        let (error, archive) = try_pack(&root, |o| o.encoding = encoding).expect_err("no such level");
        assert_eq!((error.kind(), archive.len()), (ErrorKind::Options, 0));
    }
}
