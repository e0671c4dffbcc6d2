//! Bounds that hold whatever the reason: bytes that are written, descriptors, names, steps by way of links. Memory is
//! in `bombs`.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use untar_in_root::{Limit, Limits, Mode, Options, Untar};

use crate::support::expected::Expected;
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{apply, layer, literal, program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

fn tar() -> Tarball {
    Tarball::new()
}

/// Overlay mode over these.
fn over(lower: Vec<PathBuf>) -> impl FnOnce(&mut Options) {
    move |options| {
        options.mode = Mode::Overlay(crate::support::run::over(lower));
    }
}

/// 3 MiB of content in the midst of 64.
fn file_with_holes(path: &Path) {
    let file = fs::File::create(path).expect("lower");
    file.set_len(64 << 20).expect("holes");
    for at in [0, 20 << 20, 40 << 20] {
        file.write_all_at(&vec![7; 1 << 20], at).expect("content");
    }
}

#[test]
fn bytes_are_counted_and_bounded_also_those_that_are_copied_up() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let lower = scratch.dir("lower");
    file_with_holes(&lower.join("one"));
    file_with_holes(&lower.join("two"));
    let archive = tar().hardlink("1", "one").hardlink("1b", "one").hardlink("2", "two").build();
    let run = |name: &str, limits: &dyn Fn(&mut Limits)| {
        let dest = scratch.dir(name);
        let result = apply(&dest, &archive, |options| {
            limits(&mut options.limits);
            over(vec![lower.clone()])(options);
        });
        (dest, result)
    };
    let (dest, result) = run("free", &|_| {});
    assert_eq!(result.expect("applied").bytes_written, 6 << 20);
    let copy = fs::read(dest.join("2")).expect("copy");
    assert!(copy == fs::read(lower.join("two")).expect("lower") && copy.len() == 64 << 20);
    let on_disk = fs::metadata(dest.join("2")).expect("copy").blocks() * 512;
    assert!(on_disk <= 4 << 20, "its holes are filled: {on_disk}");
    type Change<'a> = &'a dyn Fn(&mut Limits);
    let limited: [(&str, Limit, Change<'_>); 3] = [
        ("total", Limit::TotalBytes, &|limits| limits.total_bytes = 1 << 20),
        ("second", Limit::TotalBytes, &|limits| limits.total_bytes = 4 << 20),
        ("file", Limit::FileBytes, &|limits| limits.file_bytes = 32 << 20),
    ];
    for (name, limit, change) in limited {
        let (dest, result) = run(name, change);
        let error = result.expect_err(name);
        Expected::Limit(limit).assert_of(&error);
        let written = |file| fs::metadata(dest.join(file)).map_or(0, |meta| meta.blocks() * 512);
        assert!(written("one") + written("two") <= 5 << 20, "{name}");
    }
}

/// The program with so many descriptors.
fn with_files(limit: u32, words: &[&str], paths: &[&Path]) -> (bool, String) {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={limit}")).arg(program_path()).args(words).args(paths);
    let output = command.output().expect("the program");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn descriptors_are_bounded_in_every_mode_and_at_every_moment() {
    if !need_root() || !need_tools(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.tmpfs("fs", 1 << 30).expect("tmpfs");
    let chain = "d/".repeat(400);
    // Down in one name, from the top again, up one by one, and through a link; small files go to writers.
    let mut deep = tar().file(format!("{chain}f"), "deep").symlink("l", &chain[..600]);
    for depth in (0..400).step_by(7) {
        deep = deep.file(format!("{}up", &chain[..2 * (400 - depth)]), "up").file(format!("l/{depth}"), "l");
    }
    let wide = (0..20).fold(deep, |tar, i| tar.dir(format!("w{i}")).file(format!("w{i}/{chain}f"), "w"));
    let hide = tar().whiteout("d").file("w0/n", "n").opaque("w1");
    let (wide, hide) = (scratch.file("wide.tar", wide.build()), scratch.file("hide.tar", hide.build()));
    let below = scratch.chain("fs/lower", "d", 400);
    let below = below.to_str().expect("a plain name");
    let over = tar().file(format!("{chain}g"), "g").hardlink("again", format!("{chain}end")).build();
    let over = scratch.file("over.tar", over);
    for limit in [48, 64, 1024] {
        let upper = scratch.dir(format!("fs/upper-{limit}"));
        let dest = scratch.dir(format!("fs/dest-{limit}"));
        let runs: [(&[&str], [&Path; 2]); 3] = [
            (&["--writers", "4"], [&dest, &wide]),
            (&["--layer"], [&dest, &hide]),
            (&["--overlay", "--lower", below], [&upper, &over]),
        ];
        for (words, paths) in runs {
            let (done, said) = with_files(limit, words, &paths);
            assert!(done, "{words:?} with {limit}: {said}");
        }
        assert!(!dest.join("d").exists() && dest.join("w0/n").exists());
    }
}

#[test]
fn descriptors_of_five_hundred_lower_layers_fit_below_the_usual_limit() {
    if !need_root() || !need_tools(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut words = vec!["--overlay".to_owned()];
    for number in 0..500 {
        let lower = scratch.dir(format!("lower/{number}"));
        scratch.dir(format!("lower/{number}/a/b/c"));
        words.extend(["--lower".to_owned(), lower.to_str().expect("a plain name").to_owned()]);
    }
    scratch.file("lower/499/a/b/c/target", "target");
    let archive = tar().file("a/b/f", "f").file("a/b/c/g", "g").hardlink("again", "a/b/c/target");
    let archive = scratch.file("archive.tar", archive.build());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let upper = scratch.dir("upper");
    let (done, said) = with_files(1024, &words, &[&upper, &archive]);
    assert!(done, "{said}");
    assert_eq!(fs::read(upper.join("again")).expect("copied up"), b"target");
}

#[test]
fn descriptors_of_a_stores_listing_do_not_grow_with_the_depth() {
    if !need_root() || !need_tools(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let tree = tar().file(format!("{}f", "d/".repeat(600)), "f").file("e/f", "f").file("c/f", "f");
    Layout::new().layer(&tree, Packing::Gzip).write(&scratch.join("oci"));
    let (image, store) = (format!("oci:{}", scratch.join("oci").display()), scratch.join("store"));
    let run = |words: &[&str]| with_files(256, words, &[&store]);
    let (done, said) = run(&["image", &image, "--store"]);
    assert!(done, "{said}");
    let (done, said) = run(&["store", "verify"]);
    assert!(done, "{said}");
}

#[test]
fn a_limit_that_is_too_low_for_anything_is_told_by_name() {
    if !need_tools(&["prlimit"]) {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("archive.tar", tar().file("f", "f").build());
    let (done, said) = with_files(20, &[], &[&scratch.dir("dest"), &archive]);
    assert!(!done && said.contains("of 20 descriptors (RLIMIT_NOFILE)") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn names_that_only_the_lower_layers_have_count_as_entries() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let memory = scratch.tmpfs("fs", 256 << 20).expect("tmpfs");
    let lower = scratch.dir("fs/lower");
    (0..17_000).for_each(|number| drop(fs::File::create(lower.join(number.to_string())).expect("lower")));
    let run = |name: &str, entries| {
        apply(&scratch.dir(memory.join(name)), &tar().file(".wh..wh..opq", "").build(), |options| {
            options.limits.entries = entries;
            over(vec![lower.clone()])(options);
        })
    };
    let error = run("few", 10).expect_err("too many whiteouts");
    Expected::Limit(Limit::Entries).assert_of(&error);
    run("more", 1000).expect("enough");
    assert_eq!(fs::read_dir(scratch.join("fs/more")).expect("upper").count(), 17_000);
}

/// 38 links that lead 800 directories down and up again, all in one path, and files through links to that.
fn through_links(count: usize, replaced: bool) -> Tarball {
    let way = format!("{}{}", "d/".repeat(800), "../".repeat(800));
    let links: Vec<String> = (0..38).map(|i| format!("a{i}")).collect();
    let start = tar().dir("d/".repeat(800)).symlink("b", links.join("/"));
    let start = links.iter().fold(start, |tar, link| tar.symlink(link, &way));
    (0..count).fold(start, |tar, i| {
        let tar = if replaced { tar.file("x", "") } else { tar };
        tar.symlink(format!("l{i}"), "b").file(format!("l{i}/f{i}"), "")
    })
}

#[test]
fn steps_by_way_of_links_are_remembered_and_bounded() {
    let scratch = Scratch::new();
    // Each way has 60,000 steps: 200 of them would be beyond the bound.
    let dest = scratch.dir("remembered");
    apply(&dest, &through_links(200, false).build(), literal).expect("remembered");
    assert!(dest.join("f0").exists() && dest.join("f199").exists());
    // What is replaced may be a link on the way: all that is known of links is void each time.
    let error = apply(&scratch.dir("void"), &through_links(200, true).build(), layer).expect_err("too many steps");
    Expected::Limit(Limit::Depth).assert_of(&error);
}

#[test]
fn links_that_are_remembered_lead_elsewhere_once_they_are_replaced() {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let archive = tar()
        .symlink("l", "one")
        .symlink("to-l", "l")
        .file("to-l/a", "")
        .symlink("l", "two")
        .file("to-l/b", "")
        .symlink("l", "/three/./x/..")
        .file("to-l/c", "")
        .dir("l")
        .file("to-l/d", "");
    apply(&dest, &archive.build(), layer).expect("applied");
    for path in ["one/a", "two/b", "three/c", "l/d"] {
        assert!(dest.join(path).exists(), "{path}");
    }
    // Forty links are as many as ever, remembered or not.
    let chain = (1..=41).fold(tar().dir("0"), |tar, i| tar.symlink(i.to_string(), (i - 1).to_string()));
    let error = apply(&scratch.dir("loop"), &chain.file("40/f", "").file("41/f", "").build(), literal);
    Expected::Os(Errno::LOOP).assert_of(&error.expect_err("a loop"));
    assert!(scratch.join("loop/0/f").exists());
}

#[test]
fn attributes_of_directories_that_wait_are_set_however_many_there_are() {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let value = "v".repeat(3500);
    // More than may wait, and files that come back to all of them; the writers have some in hand.
    let with = |tar: Tarball, i: u32| {
        let tar = tar.dir(format!("d{i}")).with(|e| _ = e.xattr("user.a", &value).mtime(7).mode(0o700));
        tar.file(format!("d{i}/f"), "f")
    };
    let first = (0..2500).fold(tar(), with);
    let archive = (0..2500).fold(first, |tar, i| tar.file(format!("d{i}/g"), "g"));
    if Untar::open(&dest).is_err()
        || rustix::fs::setxattr(&dest, "user.t", b"", rustix::fs::XattrFlags::empty()).is_err()
    {
        crate::support::privilege::skip("no user attributes here");
        return;
    }
    let report = Untar::open(&dest).expect("destination").program(program()).apply(&archive.build()[..]);
    report.expect("applied");
    for i in (0..2500).step_by(97) {
        let directory = dest.join(format!("d{i}"));
        let mut found = [0; 4096];
        let length = rustix::fs::getxattr(&directory, "user.a", &mut found[..]).expect("its attribute");
        let meta = fs::metadata(&directory).expect("a directory");
        assert_eq!((length, meta.mtime(), meta.mode() & 0o7777), (3500, 7, 0o700), "d{i}");
    }
}
