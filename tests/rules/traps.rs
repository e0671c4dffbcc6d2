//! "Format traps", as far as they show from outside; the reader's own tests have the rest.

use untar_in_root::{ErrorKind, EventKind, Limit, Malformed, Refusal};

use crate::support::expected::Expected;
use crate::support::run::{Run, both, plain};
use crate::support::tarball::{BLOCK, Checksum, Dialect, SparseFormat, Tarball};

fn tar() -> Tarball {
    Tarball::new()
}

/// An archive of one file, to be smuggled in a body.
fn smuggled() -> Vec<u8> {
    tar().file("smuggled", "x").no_end().build()
}

#[test]
fn trap_pax_size_wins_over_the_headers() {
    // CVE-2025-62518: the header says 0, PAX says the truth; the body must not be read as entries.
    let inner = smuggled();
    let size = inner.len().to_string();
    both(&[tar().file("f", &inner).with(|e| _ = e.size(0).pax("size", &size)).file("g", "")], |run| {
        let run = run.has("f", "size", &size).has("g", "type", "file");
        assert!(!run.tree().has("smuggled"));
    });
    // And the other way: the header has the size, PAX says 0.
    let run = plain(tar().file("f", &inner).with(|e| _ = e.pax("size", "0")));
    run.leads_to("f= smuggled=x");
}

#[test]
fn trap_an_empty_pax_value_keeps_the_headers() {
    let archive = tar().file("f", "1").with(|e| {
        _ = e.pax("path", "").pax("size", "").pax("uid", "").pax("mtime", "");
    });
    plain(archive).leads_to("f=1").has("f", "mtime", "3600.000000000");
}

#[test]
fn trap_pax_numbers() {
    for (key, value, want) in [
        ("size", "1x", Malformed::PaxValue),
        ("size", "0x1", Malformed::PaxValue),
        ("size", "-1", Malformed::NegativeNumber),
        ("size", "99999999999999999999", Malformed::NumberRange),
        ("size", " 1", Malformed::PaxValue),
        ("uid", "-1", Malformed::NegativeNumber),
        ("gid", "1.5", Malformed::PaxValue),
        ("uid", "99999999999999999999", Malformed::NumberRange),
        ("mtime", "x", Malformed::PaxValue),
        ("mtime", "1.2.3", Malformed::PaxValue),
        ("mtime", "99999999999999999999", Malformed::NumberRange),
    ] {
        both(&[tar().file("f", "1").with(|e| _ = e.pax(key, value))], |run| {
            run.fails(ErrorKind::Archive, want).leaves("");
        });
    }
    plain(tar().file("f", "1").with(|e| _ = e.pax("mtime", "-1.25"))).has("f", "mtime", "-2.750000000");
}

#[test]
fn trap_pax_record_lengths() {
    for record in [
        "5 a=b\n",
        "7 a=b\n",
        "6 a=b",
        "x a=b\n",
        "0 a=b\n",
        "6a=b\n",
        "4 ab\n",
        "99999999999999999999 a=b\n",
        "-6 a=b\n",
    ] {
        both(&[tar().file("f", "1").with(|e| _ = e.pax_raw(record))], |run| {
            run.fails(ErrorKind::Archive, Malformed::PaxRecord).leaves("");
        });
    }
    // A newline in a value is part of it.
    plain(tar().file("f", "1").with(|e| _ = e.xattr("user.x", "a\n9 path=e\n"))).leads_to("f=1");
}

#[test]
fn trap_header_only_types_have_no_body_whatever_their_size() {
    let inner = smuggled();
    for flag in [b'1', b'2', b'5', b'6'] {
        // The size is a lie: what follows is the next header.
        let archive = || tar().file("t", "").entry("e", flag, "").with(|e| _ = e.size(512).link("t")).file("g", "1");
        both(&[archive()], |run| {
            run.report();
            assert_eq!(run.tree().get("g", "content"), "1");
            run.tells(&[EventKind::HeaderOnlySize(512)]);
        });
        Run::of(&[archive()], |o| o.strict_sizes = true)
            .fails(ErrorKind::Refused, Refusal::HeaderOnlySize)
            .leaves("t=");
        // With a body all the same, that body is read as entries, as Go does.
        let archive = tar().file("t", "").entry("e", flag, &inner).with(|e| _ = e.link("t"));
        let run = plain(archive);
        run.report();
        assert!(run.tree().has("smuggled"));
    }
}

#[test]
fn trap_gnu_dumpdirs_have_a_body_that_is_skipped() {
    both(&[tar().entry("d/", b'D', "Yfile\0\0").with(|e| _ = e.dialect(Dialect::Gnu)).file("g", "1")], |run| {
        run.leads_to("d/ g=1").tells(&[]);
    });
}

#[test]
fn trap_checksums() {
    for wrong in [1, -1, 256] {
        let archive = tar().file("a", "1").file("f", "1").with(|e| _ = e.checksum(Checksum::OffBy(wrong)));
        both(&[archive], |run| {
            run.fails(ErrorKind::Archive, (Malformed::Checksum, 1024)).leaves("a=1");
        });
    }
    plain(tar().file(b"\xff\xfe", "1").with(|e| _ = e.checksum(Checksum::Signed))).leads_to("\\xff\\xfe=1");
}

#[test]
fn trap_truncation_anywhere() {
    let whole = tar().file("a", "1").file("f", "x".repeat(600)).build();
    let end = 5 * BLOCK;
    for cut in [1, 511, 512, 1025, 1500, 1536, 1600, 2000, end - 512] {
        let run = plain(tar().raw(&whole[..cut]).no_end());
        run.fails(ErrorKind::Archive, Malformed::Truncated);
    }
    // A missing last padding, and no end marker, are fine.
    plain(tar().raw(&whole[..1536 + 600]).no_end()).has("f", "size", "600").tells(&[EventKind::NoEndMarker]);
    plain(tar().raw(&whole[..end]).no_end()).has("f", "size", "600").tells(&[EventKind::NoEndMarker]);
    // One zero block of two.
    let run = plain(tar().raw(&whole[..end + BLOCK]).no_end());
    run.has("f", "size", "600");
}

/// Go drops what does not parse, and wraps; this page refuses.
#[test]
fn trap_where_go_is_lenient_this_page_wins() {
    // A type flag that Go passes on, an id that it keeps as it is, a climbing name that it hands to its caller.
    plain(tar().entry("f", b'Z', "")).fails(ErrorKind::Refused, Refusal::UnknownType(b'Z')).leaves("");
    plain(tar().file("f", "").with(|e| _ = e.uid(-5))).fails(ErrorKind::Refused, Refusal::Uid).leaves("");
    plain(tar().file("a/../../f", "")).fails(ErrorKind::Refused, Expected::PathEscapes).leaves("");
}

#[test]
fn trap_an_empty_archive() {
    both(&[tar()], |run| {
        run.leads_to("").tells(&[]);
    });
    both(&[tar().no_end()], |run| {
        run.leads_to("").tells(&[EventKind::NoEndMarker]);
    });
}

#[test]
fn trap_a_stray_zero_block() {
    let archive = tar().file("a", "1").raw([0; BLOCK]).file("f", "1");
    both(&[archive], |run| {
        run.fails(ErrorKind::Archive, (Malformed::StrayZeroBlock, 1024)).leaves("a=1");
    });
}

#[test]
fn trap_what_follows_the_end_marker_is_not_read_as_entries() {
    both(&[tar().file("a", "1").trailing(smuggled())], |run| {
        run.leads_to("a=1").tells(&[EventKind::AnotherArchive { bytes: 1024 }]);
    });
    plain(tar().file("a", "1").trailing("data")).leads_to("a=1").tells(&[EventKind::TrailingData { bytes: 4 }]);
    plain(tar().file("a", "1").trailing(vec![0; 10_240])).leads_to("a=1").tells(&[]);
    Run::of(&[tar().file("a", "1").trailing(vec![1; 3 << 20])], |o| o.limits.total_bytes = 1 << 20)
        .fails(ErrorKind::Limit, Limit::TotalBytes);
}

#[test]
fn trap_numbers_in_headers() {
    for (field, what) in [(100, "mode"), (108, "uid"), (124, "size"), (136, "mtime")] {
        let bad = tar().file("f", "").with(|e| _ = e.patch(field, b"9x"));
        assert!(plain(bad).result.is_err(), "{what}");
    }
    plain(tar().file("f", "1").with(|e| _ = e.size(-1))).fails(ErrorKind::Archive, Malformed::NegativeNumber);
    plain(tar().file("f", "1").with(|e| _ = e.size(1 << 70))).fails(ErrorKind::Archive, Malformed::NumberRange);
    // Space-padded and NUL-ended octal, base-256, V7.
    plain(tar().file("f", "1").with(|e| _ = e.patch(100, b"   644 \0").patch(124, b"          1 "))).leads_to("f=1");
    plain(tar().file("f", "1").with(|e| _ = e.base256())).leads_to("f=1");
    plain(tar().file("f", "1").with(|e| _ = e.dialect(Dialect::V7))).leads_to("f=1");
    plain(tar().file("f", "1").with(|e| _ = e.dialect(Dialect::Star))).leads_to("f=1");
}

#[test]
fn trap_extended_headers_are_bounded() {
    for flag in [b'x', b'L', b'K', b'g'] {
        let archive = tar().entry("m", flag, "").with(|e| _ = e.size(2 << 20)).raw(vec![b'a'; 2 << 20]);
        plain(archive.file("f", "")).fails(ErrorKind::Limit, Limit::ExtendedHeaderBytes).leaves("");
        // A lie about the size is refused before anything is waited for or allocated.
        let archive = tar().entry("m", flag, "").with(|e| _ = e.size(1 << 40)).no_end();
        plain(archive).fails(ErrorKind::Limit, Limit::ExtendedHeaderBytes).leaves("");
    }
    let many = (0..3000).fold(tar(), |tar, _| tar.entry("x", b'x', vec![b'x'; 0]));
    plain(many.file("f", "1")).leads_to("f=1");
}

#[test]
fn trap_sparse_maps() {
    let lie = |map: &str| {
        tar().file("f", "data").with(|e| {
            _ = e.pax("GNU.sparse.size", "100").pax("GNU.sparse.numblocks", "2").pax("GNU.sparse.map", map);
        })
    };
    for (map, want) in [
        ("0,2,1,2", Malformed::SparseMap),
        ("0,2,200,2", Malformed::SparseMap),
        ("0,2,50", Malformed::SparseMap),
        ("0,2,50,-2", Malformed::NegativeNumber),
        ("2,2,0,2", Malformed::SparseMap),
        ("0,2,9223372036854775807,2", Malformed::SparseMap),
        ("a,b,c,d", Malformed::PaxValue),
    ] {
        both(&[lie(map)], |run| {
            run.fails(ErrorKind::Archive, want).leaves("");
        });
    }
    plain(lie("0,2,50,2")).has("f", "size", "100");
    // More data in the map than in the body, and less.
    plain(lie("0,2,50,3")).fails(ErrorKind::Archive, Malformed::SparseMap).leaves("");
    let huge = tar().sparse("f", SparseFormat::Pax10, &[(0, b"x")], 1 << 60);
    plain(huge).fails(ErrorKind::Limit, Limit::FileBytes).leaves("");
}

#[test]
fn trap_a_name_may_not_hide_in_the_ustar_prefix() {
    plain(tar().file("x", "1").with(|e| _ = e.patch(345, b"..")))
        .fails(ErrorKind::Refused, Expected::PathEscapes)
        .leaves("");
    plain(tar().file("x", "1").with(|e| _ = e.patch(345, b"/d/"))).leads_to("d/ d/x=1");
}

#[test]
fn limits_end_a_run_with_a_limit() {
    let archive = || tar().file("a", "12345").file("b", "1").file("c/d/e/f", "");
    Run::of(&[archive()], |o| o.limits.entries = 2).fails(ErrorKind::Limit, Limit::Entries).leaves("a=12345 b=1");
    Run::of(&[archive()], |o| o.limits.entries = 3).leads_to("a=12345 b=1 c/ c/d/ c/d/e/ c/d/e/f=");
    Run::of(&[archive()], |o| o.limits.file_bytes = 4).fails(ErrorKind::Limit, Limit::FileBytes).leaves("");
    Run::of(&[archive()], |o| o.limits.depth = 3).fails(ErrorKind::Limit, Limit::Depth);
    Run::of(&[archive()], |o| o.limits.name_bytes = 6).fails(ErrorKind::Limit, Limit::NameBytes);
    Run::of(&[archive()], |o| o.limits.total_bytes = 600).fails(ErrorKind::Limit, Limit::TotalBytes);
}

#[test]
fn events_are_capped_and_counted() {
    let many = (0..20).fold(tar(), |tar, i| tar.entry(format!("v{i}"), b'V', ""));
    let run = Run::of(&[many], |o| o.limits.events = 7);
    assert_eq!((run.report().events.len(), run.report().event_count), (7, 20));
}
