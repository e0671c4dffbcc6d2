//! Names that climb, that are absolute, that lie about what they are.

use rustix::io::Errno;
use untar_in_root::{EscapingNames, Limit, Malformed, Options, Refusal};

use super::super::case::{Case, aimed, case};
use super::tar;
use crate::support::expected::Expected;
use crate::support::tarball::LongNames;

fn clamp(o: &mut Options) {
    o.escaping_names = EscapingNames::Clamp;
}

pub fn cases() -> Vec<Case> {
    let long = "n".repeat(256);
    let deep = "d/".repeat(9_000);
    vec![
        // CVE-2014-6407, CVE-2018-20990, CVE-2021-38511: `..` in names.
        case("dot-dot file (CVE-2014-6407)", tar().file("../victim", "evil")).refused(Expected::PathEscapes),
        case("dot-dot directory", tar().dir("../etc/")).refused(Expected::PathEscapes),
        case("dot-dot alone", tar().dir("..")).refused(Expected::PathEscapes),
        case("dot-dot as a file", tar().file("..", "evil")).refused(Expected::PathEscapes),
        case("dot-dot behind a slash", tar().file("/../victim", "evil")).refused(Expected::PathEscapes),
        case("dot-dot behind a dot", tar().file("./../victim", "evil")).refused(Expected::PathEscapes),
        case("dot-dot after a directory", tar().dir("a").file("a/../../victim", "evil")).refused(Expected::PathEscapes),
        case("dot-dot after a missing directory", tar().file("a/b/../../../victim", "evil"))
            .refused(Expected::PathEscapes),
        case("dot-dot with many slashes", tar().file("a//..//..//victim", "evil")).refused(Expected::PathEscapes),
        case("forty dot-dots", tar().file(format!("{}etc/passwd", "../".repeat(40)), "evil"))
            .refused(Expected::PathEscapes),
        case("dot-dot last", tar().dir("a/../..")).refused(Expected::PathEscapes),
        case("dot-dot in a PAX path", tar().file("harmless", "evil").with(|e| _ = e.pax("path", "../victim")))
            .refused(Expected::PathEscapes),
        case("dot-dot in a GNU long name", {
            let name = format!("{}victim", "../".repeat(60));
            tar().file(name, "evil").with(|e| _ = e.long_names(LongNames::Gnu))
        })
        .refused(Expected::PathEscapes),
        case("dot-dot in the ustar prefix", {
            tar().file("../victim", "evil").with(|e| _ = e.long_names(LongNames::Prefix(2)))
        })
        .refused(Expected::PathEscapes),
        case("dot-dot in a sparse file's own name", {
            tar().file("harmless", "").with(|e| {
                e.pax("GNU.sparse.name", "../victim").pax("GNU.sparse.numblocks", "0").pax("GNU.sparse.size", "0");
                e.pax("GNU.sparse.map", "");
            })
        })
        .refused(Expected::PathEscapes),
        case("clamped dot-dot", tar().file("../victim", "evil")).with(clamp).tree("victim=evil"),
        case("clamped dot-dot below", tar().file("a/../../../etc/passwd", "evil"))
            .with(clamp)
            .tree("etc/ etc/passwd=evil"),
        case("clamped dot-dot alone", tar().dir("..").with(|e| _ = e.mode(0o700))).with(clamp).tree(""),
        case("a name that only looks like dot-dot", tar().file("..victim", "1").file("...", "2").file(".. ", "3"))
            .tree("...=2 ..\\x20=3 ..victim=1"),
        case("folded inside", tar().file("a/../b", "1")).tree("b=1"),
        // CVE-2021-38511, node-tar CVE-2021-32804: absolute names.
        case("absolute (CVE-2021-32804)", tar().file("/etc/passwd", "evil")).tree("etc/ etc/passwd=evil"),
        case("absolute, doubled (node-tar)", tar().file("//etc/passwd", "evil")).tree("etc/ etc/passwd=evil"),
        case("absolute, hidden by dots", tar().file("././/etc/passwd", "evil")).tree("etc/ etc/passwd=evil"),
        aimed("the canary's absolute name", |out| tar().file(format!("{}/victim", out.display()), "evil").build())
            .applied(),
        case("absolute in a PAX path", tar().file("x", "evil").with(|e| _ = e.pax("path", "/etc/passwd")))
            .tree("etc/ etc/passwd=evil"),
        // GNU tar CVE-2025-45582 and the like compare prefixes.
        case("a sibling with the destination's name as prefix", tar().file("../dest-and-more/victim", "evil"))
            .refused(Expected::PathEscapes),
        // The root itself.
        case("the root as a file", tar().file("./", "evil").with(|e| _ = e.typeflag(b'7')))
            .refused(Refusal::RootNotDirectory),
        case("the root as a symlink (CVE-2021-29136)", tar().symlink(".", "/etc")).refused(Refusal::RootNotDirectory),
        case("the root as a symlink, folded", tar().symlink("a/..", "../etc")).refused(Refusal::RootNotDirectory),
        case("the root as a hardlink", tar().file("f", "").hardlink("./", "f")).refused(Refusal::RootNotDirectory),
        case("the root as a FIFO", tar().fifo("/")).refused(Refusal::RootNotDirectory),
        case("the root as a device", tar().char_dev(".", 1, 5)).refused(Refusal::RootNotDirectory),
        case("the root of mode 0000, then a file", tar().dir("./").with(|e| _ = e.mode(0)).file("f", "1")).applied(),
        // Bytes that mean something to somebody.
        case("NUL in a PAX path", tar().file("x", "").with(|e| _ = e.pax("path", b"a\0/../../victim")))
            .malformed(Malformed::NulInName),
        case("NUL cuts a header's name", tar().file("safe\0/../../victim", "1")).tree("safe=1"),
        case("an empty name", tar().file("", "1")).malformed(Malformed::EmptyName),
        case("a newline and escapes in a name (CVE-2025-46394)", tar().file("a\n\x1b[2Jb", "1"))
            .tree("a\\x0a\\x1b[2Jb=1"),
        case("not UTF-8", tar().file(b"\xff\xfe/\x80", "1")).tree("\\xff\\xfe/ \\xff\\xfe/\\x80=1"),
        case("backslashes are no slashes", tar().file("..\\victim", "1")).tree("..\\\\victim=1"),
        case("colons and stars", tar().file("C:*?", "1")).tree("C:*?=1"),
        case("only slashes", tar().dir("////")).tree(""),
        // Lengths.
        case("a component over NAME_MAX", tar().file(&long, "1")).fails(Errno::NAMETOOLONG),
        case("a parent component over NAME_MAX", tar().file(format!("{long}/f"), "1")).fails(Errno::NAMETOOLONG),
        case("deeper than the limit", tar().file(format!("{deep}f"), "1")).limited(Limit::Depth),
        case("deeper than PATH_MAX", tar().file(format!("{}f", "deep/".repeat(2_000)), "1")).applied(),
        case("depth that `..` takes back", tar().file(format!("{}{}f", "d/".repeat(5_000), "../".repeat(5_000)), "1"))
            .tree("f=1"),
        case("longer than the limit", tar().file("x", "1").with(|e| _ = e.pax("path", "n/".repeat(70_000))))
            .limited(Limit::NameBytes),
        case("a file as a parent", tar().file("f", "1").file("f/g", "2")).fails(Errno::NOTDIR),
        case("a FIFO as a parent", tar().fifo("f").file("f/g", "2")).fails(Errno::NOTDIR),
        case("the same name three thousand times", (0..3_000).fold(tar(), |tar, _| tar.file("f", "x"))).tree("f=x"),
        case("a file and a directory in turn", {
            (0..200).fold(tar(), |tar, i| if i % 2 == 0 { tar.dir("x") } else { tar.file("x", "f") })
        })
        .tree("x=f"),
    ]
}
