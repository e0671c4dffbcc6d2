//! Headers, extended headers and sparse maps that lie.

use super::super::case::{Case, bytes, case};
use super::tar;
use crate::support::expected::Expected;
use crate::support::tarball::{Checksum, Dialect, LongNames, SparseFormat, Tarball};
use untar_in_root::{Limit, LooksLike, Malformed, Refusal};

fn pax(record: &[u8]) -> Tarball {
    tar().file("f", "1").with(|e| _ = e.pax_raw(record))
}

/// An archive inside a file of another: what a reader finds that takes the wrong size.
fn inner() -> Vec<u8> {
    tar().file("smuggled", "evil").with(|e| _ = e.mode(0o4755)).no_end().build()
}

pub fn cases() -> Vec<Case> {
    let mut all = headers();
    all.extend(extended());
    all.extend(sizes());
    all.extend(sparse());
    all
}

fn headers() -> Vec<Case> {
    vec![
        case("a wrong checksum", tar().file("f", "1").with(|e| _ = e.checksum(Checksum::OffBy(1))))
            .malformed(Malformed::Checksum),
        case(
            "a wrong checksum later",
            tar().file("a", "1").file("f", "1").with(|e| _ = e.checksum(Checksum::OffBy(-1))),
        )
        .malformed(Malformed::Checksum),
        case("no number as size", tar().file("f", "").with(|e| _ = e.patch(124, b"evil, evil!\0")))
            .malformed(Malformed::Number),
        case("a negative size (Python CVE-2025-8194)", tar().file("f", "1").with(|e| _ = e.size(-512)))
            .malformed(Malformed::NegativeNumber),
        case("the most negative size", tar().file("f", "1").with(|e| _ = e.size(i64::MIN.into())))
            .malformed(Malformed::NegativeNumber),
        case("a size of 2^63", tar().file("f", "1").with(|e| _ = e.size(1 << 63))).malformed(Malformed::NumberRange),
        case("a size of 2^64 and more", tar().file("f", "1").with(|e| _ = e.size(1 << 66)))
            .malformed(Malformed::NumberRange),
        case("a size of 2^63 - 1", tar().file("f", "1").with(|e| _ = e.size((1 << 63) - 1))).limited(Limit::FileBytes),
        case("a size of 2^62 on an unknown type", tar().entry("f", b'Z', "").with(|e| _ = e.size(1 << 62)))
            .refused(Refusal::UnknownType(b'Z')),
        case("a size of 2^62 on a directory", tar().dir("d").with(|e| _ = e.size(1 << 62)).file("f", "1"))
            .tree("d/ f=1"),
        case("a body that is not there", tar().file("f", "").with(|e| _ = e.size(1 << 20)).no_end())
            .malformed(Malformed::Truncated),
        case("cut in a header", tar().file("f", "1").file("g", "1").cut_at(1_300)).malformed(Malformed::Truncated),
        case("cut in a body", tar().file("f", "x".repeat(5_000)).cut_at(3_000)).malformed(Malformed::Truncated),
        case("a stray zero block", tar().file("f", "1").raw([0; 512]).file("g", "2"))
            .malformed(Malformed::StrayZeroBlock),
        case("no end", tar().file("f", "1").no_end()).tree("f=1"),
        case("a second archive after the end", tar().file("f", "1").trailing(inner())).tree("f=1"),
        case("garbage after the end", tar().file("f", "1").trailing("x".repeat(100_000))).tree("f=1"),
        bytes("nothing", Vec::new()).tree(""),
        bytes("one byte", vec![b'x']).malformed(Malformed::Truncated),
        bytes("a block of noise", (0..512).map(|i| (i * 7 % 251) as u8).collect()).malformed(Malformed::Checksum),
        bytes("zeros only", vec![0; 10_240]).tree(""),
        bytes("a program", b"\x7fELF\x02\x01\x01".iter().copied().chain([0; 4_000]).collect())
            .malformed(LooksLike::Program),
        bytes("text", b"#!/bin/sh\nrm -rf /\n".repeat(100)).malformed(LooksLike::Script),
        case("base-256 in all fields", tar().file("f", "1").with(|e| _ = e.base256())).tree("f=1"),
        case(
            "a mode in base-256 that is negative",
            tar().file("f", "1").with(|e| _ = e.patch(100, b"\xff\xff\xff\xff\xff\xff\xff\xff")),
        )
        .tree("f=1"),
        case("V7 with a ustar prefix", tar().file("f", "1").with(|e| _ = e.dialect(Dialect::V7).patch(345, "../..")))
            .tree("f=1"),
        case("GNU with times where the prefix would be", {
            tar().file("f", "1").with(|e| _ = e.dialect(Dialect::Gnu).patch(345, "../../etc"))
        })
        .refused(Expected::PathEscapes),
        case("a hundred bytes of name without an end", tar().file("n".repeat(100), "1")).applied(),
        case("every type flag", (0..=255u8).fold(tar(), |tar, flag| tar.entry(format!("f{flag}"), flag, "")))
            .refused(Refusal::UnknownType(1)),
        case("a type that nobody has", tar().entry("f", b'!', "1")).refused(Refusal::UnknownType(b'!')),
        case("a volume label, a multi-volume part", tar().entry("v", b'V', "").entry("m", b'M', "")).tree(""),
        case("a type of 0 with a slash and a body (node-tar)", tar().entry("d/", b'0', inner()).file("f", "1"))
            .tree("d/ f=1"),
        case("a socket by its mode", tar().file("s", "").with(|e| _ = e.mode(0o140_755))).tree("s="),
    ]
}

fn extended() -> Vec<Case> {
    vec![
        case("a PAX length that is too long", pax(b"99 path=x\n")).malformed(Malformed::PaxRecord),
        case("a PAX length that is too short", pax(b"5 path=../victim\n")).malformed(Malformed::PaxRecord),
        case("a PAX length of zero", pax(b"0 path=x\n")).malformed(Malformed::PaxRecord),
        case("a PAX length that wraps", pax(b"18446744073709551628 path=x\n")).malformed(Malformed::PaxRecord),
        case("a negative PAX length", pax(b"-12 path=x\n")).malformed(Malformed::PaxRecord),
        case("a PAX record without a newline", pax(b"10 path=xx")).malformed(Malformed::PaxRecord),
        case("a PAX record without `=`", pax(b"8 pathx\n")).malformed(Malformed::PaxRecord),
        case("a PAX record without a key", pax(b"5 =x\n")).malformed(Malformed::PaxRecord),
        case("a newline in a PAX value (tar-rs CVE-2026-33055)", {
            tar().file("f", "1").with(|e| _ = e.pax("comment", "x\n20 path=../victim\n"))
        })
        .tree("f=1"),
        case(
            "a PAX header for a PAX header",
            tar().entry("x", b'x', "9 size=0\n").entry("y", b'x', "12 path=new\n").file("f", "1"),
        )
        .tree("new=1"),
        case("a PAX header for a GNU name", {
            let long = "n".repeat(150);
            tar().entry("x", b'x', "9 size=0\n").file(long, "1").with(|e| _ = e.long_names(LongNames::Gnu))
        })
        .malformed(Malformed::Checksum),
        case("a PAX header at the end", tar().file("f", "1").entry("x", b'x', "12 path=new\n"))
            .malformed(Malformed::DanglingExtendedHeader),
        case("a GNU name at the end", tar().entry("x", b'L', "name\0")).malformed(Malformed::DanglingExtendedHeader),
        case("a thousand PAX headers for one file", {
            (0..1_000).fold(tar(), |tar, _| tar.entry("x", b'x', "12 path=new\n")).file("f", "1")
        })
        .tree("new=1"),
        case("a thousand GNU names for one file", {
            (0..1_000).fold(tar(), |tar, _| tar.entry("x", b'L', "new\0")).file("f", "1")
        })
        .tree("new=1"),
        case(
            "a PAX header of two megabytes (CVE-2022-2879)",
            tar().file("f", "").with(|e| _ = e.pax("comment", "x".repeat(2 << 20))),
        )
        .limited(Limit::ExtendedHeaderBytes),
        case("a PAX header that claims 2^40 bytes", tar().entry("x", b'x', "").with(|e| _ = e.size(1 << 40)))
            .limited(Limit::ExtendedHeaderBytes),
        case(
            "a GNU name that claims 2^40 bytes (CVE-2022-2879)",
            tar().entry("x", b'L', "").with(|e| _ = e.size(1 << 40)),
        )
        .limited(Limit::ExtendedHeaderBytes),
        case("a global header that claims 2^62 bytes", tar().entry("x", b'g', "").with(|e| _ = e.size(1 << 62)))
            .limited(Limit::ExtendedHeaderBytes),
        case("many small PAX headers beyond the limit", {
            let body = format!("{:<4000}", "");
            let record = format!("4012 comment={}\n", &body[..3998]);
            (0..400).fold(tar(), |tar, _| tar.entry("x", b'x', &record)).file("f", "1")
        })
        .limited(Limit::ExtendedHeaderBytes),
        case("a global header that renames all (CVE in tar-rs's successors)", {
            tar().pax_global(&[("path", "../victim"), ("linkpath", "/etc/passwd"), ("uid", "0")]).file("f", "1")
        })
        .tree("f=1"),
        case("a global header that renames all, believed", {
            tar().pax_global(&[("path", "../victim")]).file("f", "1")
        })
        .with(|o| o.pax_globals = true)
        .refused(Expected::PathEscapes),
        case("a global size, believed", tar().pax_global(&[("size", "1024")]).file("f", inner()))
            .with(|o| o.pax_globals = true)
            .applied(),
        case("global headers that grow", {
            (0..200)
                .fold(tar(), |tar, i| tar.pax_global(&[(&format!("SCHILY.xattr.user.a{i}"), &"x".repeat(8_000))]))
                .file("f", "1")
        })
        .with(|o| o.pax_globals = true)
        .limited(Limit::ExtendedHeaderBytes),
    ]
}

fn sizes() -> Vec<Case> {
    vec![
        // CVE-2025-62518 (TARmageddon), CVE-2026-33055: whose size is right?
        case("a header's size of 0 and PAX's true one (CVE-2025-62518)", {
            tar().file("f", inner()).with(|e| _ = e.size(0).pax("size", "1024"))
        })
        .fact("f", "size", "1024")
        .fact("smuggled", "content", "")
        .applied(),
        case("a header's true size and PAX's of 0", tar().file("f", inner()).with(|e| _ = e.pax("size", "0")))
            .tree("f= smuggled=evil"),
        case("a negative PAX size", tar().file("f", "1").with(|e| _ = e.pax("size", "-1")))
            .malformed(Malformed::NegativeNumber),
        case("a PAX size that is no number", tar().file("f", "1").with(|e| _ = e.pax("size", "1 ")))
            .malformed(Malformed::PaxValue),
        case("a PAX size of 2^70", tar().file("f", "1").with(|e| _ = e.pax("size", "1180591620717411303424")))
            .malformed(Malformed::NumberRange),
        case("a PAX size in octal", tar().file("f", "1234567890").with(|e| _ = e.pax("size", "010")))
            .tree("f=1234567890"),
        case("an empty PAX size keeps the header's", tar().file("f", "1").with(|e| _ = e.pax("size", ""))).tree("f=1"),
        case("a PAX size on a symlink", tar().symlink("l", "..").with(|e| _ = e.pax("size", "512")).file("f", "1"))
            .tree("f=1 l->.."),
        case("a PAX size on a hardlink, with an archive in it", {
            tar().file("f", "1").hardlink("l", "f").with(|e| _ = e.pax("size", "1024").body(inner()))
        })
        .tree("f=1 l==f smuggled=evil"),
        case(
            "a directory with an archive in it",
            tar().dir("d").with(|e| _ = e.body(inner()).size(1_024)).file("f", "1"),
        )
        .tree("d/ f=1 smuggled=evil"),
        case("a GNU directory list with an archive in it", tar().entry("d/", b'D', inner()).file("f", "1"))
            .tree("d/ f=1"),
        case("an unpadded body", tar().file("f", "1").with(|e| _ = e.unpadded()).file("g", "2"))
            .malformed(Malformed::Checksum),
    ]
}

fn sparse() -> Vec<Case> {
    let formats = [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10];
    let names =
        ["huge and empty, old GNU", "huge and empty, PAX 0.0", "huge and empty, PAX 0.1", "huge and empty, PAX 1.0"];
    let mut all: Vec<Case> = formats
        .iter()
        .zip(names)
        .map(|(format, name)| case(name, tar().sparse("f", *format, &[], 1 << 50)).limited(Limit::FileBytes))
        .collect();
    let names = ["backwards, old GNU", "backwards, PAX 0.0", "backwards, PAX 0.1", "backwards, PAX 1.0"];
    all.extend(formats.iter().zip(names).map(|(format, name)| {
        case(name, tar().sparse("f", *format, &[(4_096, b"b"), (0, b"a")], 8_192)).malformed(Malformed::SparseMap)
    }));
    let names =
        ["beyond its end, old GNU", "beyond its end, PAX 0.0", "beyond its end, PAX 0.1", "beyond its end, PAX 1.0"];
    all.extend(formats.iter().zip(names).map(|(format, name)| {
        case(name, tar().sparse("f", *format, &[(4_096, b"b")], 10)).malformed(Malformed::SparseMap)
    }));
    let map = |map: &str, count: &str| {
        let (map, count) = (map.to_owned(), count.to_owned());
        tar().file("f", "x").with(|e| {
            e.pax("GNU.sparse.size", "4096").pax("GNU.sparse.numblocks", count).pax("GNU.sparse.map", map);
        })
    };
    all.extend([
        case("a sparse map that overlaps", map("0,1,0,1", "2")).malformed(Malformed::SparseMap),
        case("a sparse map with an odd number", map("0,1,5", "2")).malformed(Malformed::SparseMap),
        case("a sparse map that is negative", map("-1,1", "1")).malformed(Malformed::NegativeNumber),
        case("a sparse map that wraps", map("18446744073709551615,1", "1")).malformed(Malformed::NumberRange),
        case("a sparse map that ends at 2^63", map("9223372036854775807,1", "1")).malformed(Malformed::SparseMap),
        case("a sparse map of another count", map("0,1", "99")).malformed(Malformed::SparseMap),
        case("a sparse map of 2^60 regions (CVE-2026-32288)", map("0,1", "1152921504606846976"))
            .malformed(Malformed::SparseMap),
        case("a sparse map in a body of 2^60 regions (CVE-2025-58183)", {
            tar().file("f", format!("{:\0<512}", "1152921504606846976\n0\n1\n")).with(|e| {
                e.pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0").pax("GNU.sparse.realsize", "4096");
            })
        })
        .limited(Limit::SparseRegions),
        case("a sparse map in a body that never ends", {
            tar().file("f", "1".repeat(1 << 20)).with(|e| {
                e.pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0").pax("GNU.sparse.realsize", "4096");
            })
        })
        .malformed(Malformed::SparseMap),
        case("a sparse map in a body longer than the body", {
            tar().file("f", format!("{:\0<512}", "100\n0\n1\n")).with(|e| {
                e.pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0").pax("GNU.sparse.realsize", "4096");
            })
        })
        .malformed(Malformed::SparseMap),
        case("an old map that goes on for ever", {
            let block = [&[0; 504][..], &[1], &[0; 7]].concat();
            let tar = tar().entry("f", b'S', "").with(|e| {
                e.dialect(Dialect::Gnu).patch(482, [1]).patch(483, b"00000010000\0");
            });
            (0..2_000).fold(tar, |tar, _| tar.raw(&block)).file("g", "1")
        })
        .malformed(Malformed::Number),
        case("an old map on a directory", tar().dir("d").with(|e| _ = e.dialect(Dialect::Gnu).patch(482, [1])))
            .tree("d/"),
        case("a sparse symlink", {
            tar().symlink("l", "..").with(|e| {
                _ = e.pax("GNU.sparse.map", "0,1").pax("GNU.sparse.size", "9").pax("GNU.sparse.numblocks", "1")
            })
        })
        .malformed(Malformed::SparseMap),
        case("two hundred thousand regions", {
            let text: String = (0..60_000).map(|i| format!("{},0,", i * 2)).collect();
            map(text.trim_end_matches(','), "60000")
        })
        .malformed(Malformed::SparseMap),
        case("a sparse version that nobody has", {
            tar().file("f", "x").with(|e| _ = e.pax("GNU.sparse.major", "9").pax("GNU.sparse.minor", "9"))
        })
        .tree("f=x"),
        case(
            "a hole before everything, honestly",
            tar().sparse("f", SparseFormat::Pax10, &[(1 << 30, b"x")], (1 << 30) + 1),
        )
        .fact("f", "size", "1073741825")
        .applied(),
    ]);
    all
}
