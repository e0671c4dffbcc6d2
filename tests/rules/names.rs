//! Rules 1 to 3: meta entries, names, the root.

use rustix::io::Errno;
use untar_in_root::{EntryKind, ErrorKind, EscapingNames, EventKind, Malformed, Refusal};

use crate::support::expected::Expected;
use crate::support::run::{Run, both, layer, layers, literal, plain};
use crate::support::tarball::{LongNames, Tarball};

fn tar() -> Tarball {
    Tarball::new()
}

#[test]
fn rule_01_a_pax_global_header_creates_nothing_and_is_ignored() {
    both(&[tar().pax_global(&[("comment", "x"), ("mtime", "9")]).file("f", "hi")], |run| {
        run.leads_to("f=hi").tells(&[]).has("f", "mtime", "3600.000000000");
    });
}

#[test]
fn rule_01_a_pax_global_header_applies_if_asked() {
    let archive = tar().pax_global(&[("mtime", "9")]).file("f", "hi");
    Run::of(&[archive], |o| o.pax_globals = true).leads_to("f=hi").has("f", "mtime", "9.000000000");
}

#[test]
fn rule_01_extended_headers_apply_to_the_next_entry_only() {
    let archive = tar().file("a", "").with(|e| _ = e.mtime_ns(5, 7)).file("b", "");
    let run = plain(archive).has("a", "mtime", "5.000000007");
    run.has("b", "mtime", "3600.000000000");
    let long = "n".repeat(150);
    let archive = tar().file(&long, "").with(|e| _ = e.long_names(LongNames::Gnu)).file("b", "");
    plain(archive).leads_to(&format!("b= {long}="));
}

#[test]
fn rule_01_extended_headers_skip_other_meta_headers() {
    // x, then g, then the entry: x is the entry's.
    let archive = tar().entry("x", b'x', "12 path=new\n").pax_global(&[("comment", "c")]).file("old", "1");
    both(&[archive], |run| {
        run.leads_to("new=1");
    });
    // An `L` names the entry, not the `x` between them.
    let archive = tar().entry("././@LongLink", b'L', "long\0").entry("x", b'x', "11 mtime=7\n").file("old", "1");
    plain(archive).leads_to("long=1").has("long", "mtime", "7.000000000");
}

#[test]
fn rule_01_a_second_pax_header_replaces_the_first() {
    let archive = tar().entry("x", b'x', "12 path=new\n").entry("x", b'x', "11 mtime=7\n").file("old", "1");
    plain(archive).leads_to("old=1").has("old", "mtime", "7.000000000");
}

#[test]
fn rule_01_an_extended_header_with_no_entry_after_it_is_malformed() {
    for flag in [b'x', b'L', b'K'] {
        let body = if flag == b'x' { "12 path=new\n" } else { "name\0" };
        both(&[tar().file("f", "").entry("m", flag, body)], |run| {
            run.fails(ErrorKind::Archive, Malformed::DanglingExtendedHeader).leaves("f=");
        });
    }
}

#[test]
fn rule_02_prefixes_are_stripped_and_dots_folded() {
    for name in ["/m", "./m", "//m", "././/m", "a/../m", "a/b/../../m", "/./a/..//m", "a/./../m"] {
        both(&[tar().file(name, "1")], |run| {
            run.leads_to("m=1");
        });
    }
}

#[test]
fn rule_02_climbing_above_the_root_is_refused() {
    for name in ["../x", "/../x", "a/../../x", "..", "./../x"] {
        both(&[tar().file("before", "").file(name, "1")], |run| {
            run.fails(ErrorKind::Refused, Expected::PathEscapes).leaves("before=");
        });
    }
}

#[test]
fn rule_02_climbing_above_the_root_can_be_clamped() {
    for name in ["../x", "/../../x", "a/../../x"] {
        Run::of(&[tar().file(name, "1")], |o| o.escaping_names = EscapingNames::Clamp)
            .leads_to("x=1")
            .tells(&[EventKind::Clamped]);
    }
}

#[test]
fn rule_02_hardlink_targets_fold_and_escape_as_names_do() {
    let linked = |target: &str| tar().file("d/f", "1").hardlink("h", target);
    for target in ["d/f", "/d/f", "./d/f", "d/x/../f", "//d//f"] {
        both(&[linked(target)], |run| {
            run.leads_to("d/ d/f=1 h==d/f");
        });
    }
    both(&[linked("../d/f")], |run| {
        run.fails(ErrorKind::Refused, Expected::LinkEscapes).leaves("d/ d/f=1");
    });
}

#[test]
fn rule_02_names_are_bytes() {
    both(&[tar().file(b"\xff\xfe", "1").file("a\nb", "2").symlink("l", b"\xfe\x01")], |run| {
        run.leads_to("\\xff\\xfe=1 a\\x0ab=2 l->\\xfe\\x01");
    });
}

#[test]
fn rule_02_nul_or_nothing_as_a_name_is_malformed() {
    let nul = tar().file("f", "").with(|e| _ = e.pax("path", b"a\0b"));
    plain(nul).fails(ErrorKind::Archive, Malformed::NulInName).leaves("");
    plain(tar().file("", "1")).fails(ErrorKind::Archive, Malformed::EmptyName).leaves("");
    plain(tar().symlink("l", "")).fails(ErrorKind::Archive, Malformed::EmptyLink).leaves("");
    plain(tar().hardlink("l", "")).fails(ErrorKind::Archive, Malformed::EmptyLink).leaves("");
}

#[test]
fn rule_02_names_longer_than_path_max_work() {
    let component = "c".repeat(200);
    let deep = vec![component.as_str(); 40].join("/");
    for how in [LongNames::Pax, LongNames::Gnu] {
        let archive = tar().file(format!("{deep}/f"), "1").with(|e| _ = e.long_names(how));
        let archive = archive.hardlink("h", format!("{deep}/f")).with(|e| _ = e.long_names(how));
        both(&[archive], |run| {
            run.report();
            assert_eq!(run.tree().paths().len(), 43, "root, 40 directories, two files");
            assert_eq!(run.tree().get("h", "content"), "1");
        });
    }
}

#[test]
fn rule_02_a_component_over_name_max_is_an_os_error_that_names_the_entry() {
    let name = "c".repeat(256);
    for path in [name.clone(), format!("d/{name}"), format!("{name}/f")] {
        let run = plain(tar().file("a", "").file(&path, "1")).fails(ErrorKind::Entry, Errno::NAMETOOLONG);
        let entry = run.error().failure().and_then(|failure| failure.entry.clone()).expect("an entry");
        assert_eq!((entry.index, entry.kind, entry.path), (Some(1), EntryKind::File, path.into_bytes()));
    }
}

#[test]
fn rule_02_a_whiteout_over_name_max_hides_nothing() {
    // Nothing of that name can be there: it is as good as absent, or an error that names the entry.
    let run = layers(&[tar().file("f", ""), tar().whiteout("c".repeat(255))]);
    if let Err(error) = &run.result {
        assert_eq!(error.raw_os_error(), Some(36), "{error:?}");
    }
    run.leaves("f=");
}

#[test]
fn rule_03_the_root_entry_gives_the_root_its_metadata() {
    for name in [".", "./", "/", "a/.."] {
        let archive = tar().dir(name).with(|e| _ = e.mode(0o1750).mtime_ns(77, 5).xattr("user.r", "1")).file("f", "");
        both(&[archive], |run| {
            let run = run.leads_to("f=").has(".", "mode", "1750").has(".", "mtime", "77.000000005");
            run.has(".", "xattr.user.r", "1");
        });
    }
}

#[test]
fn rule_03_the_root_metadata_can_be_ignored() {
    let archive = tar().dir("./").with(|e| _ = e.mode(0o1750)).file("f", "");
    Run::of(&[archive], |o| o.ignore_root_metadata = true).leads_to("f=").has(".", "mode", "0755");
}

#[test]
fn rule_03_the_root_entry_must_be_a_directory() {
    for name in [".", "a/.."] {
        for archive in [tar().file(name, "1"), tar().symlink(name, "/tmp"), tar().fifo(name)] {
            both(&[archive], |run| {
                run.fails(ErrorKind::Refused, Refusal::RootNotDirectory).leaves("");
            });
        }
    }
    plain(tar().file("f", "").hardlink(".", "f")).fails(ErrorKind::Refused, Refusal::RootNotDirectory).leaves("f=");
}

#[test]
fn rule_03_a_clamped_name_that_is_the_root_must_be_a_directory() {
    for name in ["..", "../..", "a/../..", "/../"] {
        for archive in [tar().symlink(name, "/tmp"), tar().fifo(name), tar().file("f", "").hardlink(name, "f")] {
            let run = Run::of(&[archive], |o| o.escaping_names = EscapingNames::Clamp);
            let run = run.fails(ErrorKind::Refused, Refusal::ClampedToRoot);
            assert!(run.error().to_string().contains("its name climbs above the destination"), "{name}");
        }
        Run::of(&[tar().dir(name)], |o| o.escaping_names = EscapingNames::Clamp).leads_to("");
    }
}

#[test]
fn rule_03_an_empty_name_is_not_the_root() {
    for archive in [tar().file("", "1"), tar().symlink("", "/tmp"), tar().dir("")] {
        both(&[archive], |run| {
            let run = run.fails(ErrorKind::Archive, Malformed::EmptyName).leaves("");
            assert!(run.error().to_string().contains("a name is empty"), "{:?}", run.error());
        });
    }
    // What is nothing but dots and slashes is not empty, and is told apart.
    let run = plain(tar().symlink("./", "/tmp")).fails(ErrorKind::Refused, Refusal::RootNotDirectory);
    assert!(run.error().to_string().contains("its name leads to the destination itself"), "{:?}", run.error());
}

#[test]
fn rule_03_the_root_is_never_removed_or_replaced() {
    for marker in [".wh..", ".wh...", "./.wh.", "a/../.wh.."] {
        layers(&[tar().file("f", "1"), tar().file(marker, "")])
            .fails(ErrorKind::Refused, Refusal::WhiteoutName)
            .leaves("f=1");
    }
}

#[test]
fn malformed_errors_tell_the_offset() {
    let archive = tar().file("a", "1").entry("m", b'x', "bad");
    let run = Run::of(&[archive], literal).fails(ErrorKind::Archive, Malformed::PaxRecord);
    let failure = run.error().failure().expect("a failure");
    let want = untar_in_root::Cause::Malformed { what: Malformed::PaxRecord, offset: 1536 };
    assert_eq!(failure.cause, want);
    Run::of(&[tar().file("a", "1")], layer).leads_to("a=1");
}
