//! What `Tarball` writes, GNU tar, bsdtar and Python list and unpack.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::privilege::{need_tool, need_tools};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Checksum, Dialect, LongNames, SparseFormat, Tarball, bz2, gz, xz, zst};
use crate::support::tree::{But, Tree};

const LONG: &str = "a-directory-with-a-name-that-is-long/and-another-one-that-is-longer-still/\
                    and-a-file-whose-name-takes-the-whole-beyond-one-hundred-bytes";

/// Unpacked with GNU tar by whoever runs the test: owners are not looked at.
fn gnu_tar(archive: &[u8]) -> (Scratch, String) {
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let file = scratch.file("archive.tar", archive);
    let mut command = Command::new("tar");
    command.args(["--xattrs", "--xattrs-include=user.*", "--no-same-owner", "-xpf"]).arg(file).arg("-C").arg(&dest);
    let output = command.output().expect("tar");
    assert!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    let quiet = [But::Field("uid"), But::Field("gid"), But::Path(".")];
    (scratch, Tree::read(&dest).text(&quiet))
}

#[track_caller]
fn unpacks_to(tar: &Tarball, want: &str) {
    let (_scratch, got) = gnu_tar(&tar.build());
    assert_eq!(got.trim_end(), want.trim_end());
}

#[test]
fn gnu_tar_unpacks_every_kind() {
    if !need_tool("tar") || !crate::support::privilege::need_root() {
        return;
    }
    let tar = Tarball::new()
        .dir("a/")
        .file("a/b", b"hi")
        .with(|e| _ = e.mode(0o4755).mtime_ns(-5, 250_000_000).xattr("user.k", b"v\x00w"))
        .whiteout("a/x")
        .opaque("a")
        .symlink("l", "/etc")
        .hardlink("h", "a/b")
        .char_dev("null", 1, 3)
        .block_dev("loop", 7, 0)
        .fifo("p");
    let attr = "xattr.user.k=v\\x00w";
    let want = format!(
        "a dir mode=0755 mtime=3600.000000000\n\
         a/.wh..wh..opq file content= mode=0644 mtime=3600.000000000 size=0\n\
         a/.wh.x file content= mode=0644 mtime=3600.000000000 size=0\n\
         a/b file content=hi link=a/b mode=4755 mtime=-5.250000000 size=2 {attr}\n\
         h file content=hi link=a/b mode=4755 mtime=-5.250000000 size=2 {attr}\n\
         l symlink mode=0777 mtime=3600.000000000 target=/etc\n\
         loop block mode=0644 mtime=3600.000000000 rdev=7,0\n\
         null char mode=0644 mtime=3600.000000000 rdev=1,3\n\
         p fifo mode=0644 mtime=3600.000000000"
    );
    unpacks_to(&tar, &want);
}

#[test]
fn long_names_in_all_three_ways() {
    if !need_tool("tar") {
        return;
    }
    let split = LONG.rfind('/').expect("a slash");
    for how in [LongNames::Pax, LongNames::Gnu, LongNames::Prefix(split)] {
        let tar = Tarball::new().file(LONG, b"x").with(|e| _ = e.long_names(how));
        assert!(gnu_tar(&tar.build()).1.contains(LONG));
    }
}

#[test]
fn sparse_in_all_four_ways() {
    if !need_tool("tar") {
        return;
    }
    let piece = vec![b'x'; 65536];
    let pieces: Vec<(u64, &[u8])> = (1..40).map(|i| (i * 131_072, &piece[..])).collect();
    let mut seen = Vec::new();
    for format in [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        let tar = Tarball::new().sparse("s", format, &pieces, 8 << 20).file("after", b"");
        seen.push(gnu_tar(&tar.build()).1);
    }
    assert!(seen[0].contains("holes=131072+65536,262144+65536") && seen[0].contains("size=8388608"), "{}", seen[0]);
    assert!(seen.iter().all(|text| *text == seen[0]), "{seen:#?}");
}

/// Archives that are right: every reader lists these names.
fn right() -> Vec<(&'static str, Tarball, &'static str)> {
    let one = |change: fn(&mut crate::support::tarball::Entry)| Tarball::new().file("f", b"data").with(change);
    vec![
        ("empty", Tarball::new(), ""),
        ("plain", one(|_| {}), "f"),
        ("v7", one(|e| _ = e.dialect(Dialect::V7)), "f"),
        ("gnu", one(|e| _ = e.dialect(Dialect::Gnu)), "f"),
        ("star", one(|e| _ = e.dialect(Dialect::Star)), "f"),
        ("base-256", one(|e| _ = e.base256()), "f"),
        ("negative time", one(|e| _ = e.mtime(-1)), "f"),
        ("signed checksum", one(|e| _ = e.patch(300, b"\xff\xfe").checksum(Checksum::Signed)), "f"),
        ("renamed by pax", one(|e| _ = e.pax("path", "g")), "g"),
        ("long link, gnu", Tarball::new().symlink("l", LONG).with(|e| _ = e.long_names(LongNames::Gnu)), "l"),
        ("global header", Tarball::new().pax_global(&[("comment", "x")]).file("f", b""), "f"),
        ("two", Tarball::new().dir("d/").file("d/f", b"x".repeat(512)), "d/ d/f"),
        ("trailing zeros", Tarball::new().file("f", b"").trailing([0; 4096]), "f"),
        ("raw blocks", Tarball::new().raw(Tarball::new().file("r", b"").no_end().build()).file("f", b""), "r f"),
    ]
}

/// Archives that lie: every reader complains.
fn wrong() -> Vec<(&'static str, Tarball)> {
    let one = |change: fn(&mut crate::support::tarball::Entry)| Tarball::new().file("f", b"data").with(change);
    vec![
        ("checksum", one(|e| _ = e.checksum(Checksum::OffBy(1)))),
        ("size beyond the end", one(|e| _ = e.size(1 << 20))),
        ("cut in the body", Tarball::new().file("f", vec![7; 2000]).cut_at(1024)),
    ]
}

/// A program that lists standard input.
fn list(tool: &str, archive: &[u8]) -> Option<String> {
    let python = "import sys,tarfile as t\n\
                  for m in t.open(fileobj=sys.stdin.buffer,mode='r|'): print(m.name+('/' if m.isdir() else ''))";
    let mut command = Command::new(tool);
    match tool {
        "python3" => command.args(["-c", python]),
        _ => command.args(["-tf", "-"]),
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{tool}: {e}"));
    // A reader may stop before the end: a broken pipe is no failure of the test.
    _ = child.stdin.take().expect("pipe").write_all(archive);
    let output = child.wait_with_output().expect("output");
    let names = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    output.status.success().then_some(names)
}

#[test]
fn others_list_what_is_right() {
    let tools = ["tar", "bsdtar", "python3"];
    if !need_tools(&tools) {
        return;
    }
    for (what, tar, want) in right() {
        for tool in tools {
            let got = list(tool, &tar.build());
            assert_eq!(got.as_deref(), Some(want), "{what}: {tool}");
        }
    }
}

#[test]
fn others_refuse_what_lies() {
    let tools = ["tar", "bsdtar", "python3"];
    if !need_tools(&tools) {
        return;
    }
    for (what, tar) in wrong() {
        for tool in tools {
            assert_eq!(list(tool, &tar.build()), None, "{what}: {tool}");
        }
    }
}

#[test]
fn others_decompress() {
    let tar = Tarball::new().file("f", b"data").build();
    for (tool, packed) in [("gzip", gz(&tar)), ("zstd", zst(&tar)), ("xz", xz(&tar)), ("bzip2", bz2(&tar))] {
        if !need_tool(tool) {
            continue;
        }
        let scratch = Scratch::new();
        let file = std::fs::File::open(scratch.file("packed", packed)).expect("file");
        let output = Command::new(tool).arg("-dc").stdin(file).output().expect("tool");
        assert!(output.status.success() && output.stdout == tar, "{tool}");
    }
}
