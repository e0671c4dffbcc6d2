//! Each limit ends the run with status 1 and names its option and value.

use super::{Dest, can_run, start};
use crate::support::tarball::{SparseFormat, Tarball, gz};
use std::time::Instant;

#[test]
fn limits_name_themselves() {
    if !can_run() {
        return;
    }
    let two = Tarball::new().file("a", [b'x'; 5000]).file("b", "x").build();
    let deep = Tarball::new().file("a/b/c/d", "x").build();
    let xattrs = Tarball::new().file("f", "x").with(|e| _ = e.xattr("user.a", "value").xattr("user.b", "v")).build();
    let sparse =
        Tarball::new().sparse("s", SparseFormat::Pax10, &[(0, b"a"), (9000, b"b"), (18000, b"c")], 20000).build();
    let bomb = gz(&Tarball::new().file("zeros", vec![0; 80 << 20]).build());
    for (option, value, archive) in [
        ("--max-total-bytes", "4K", &two),
        ("--max-file-bytes", "4999", &two),
        ("--max-entries", "1", &two),
        ("--max-depth", "3", &deep),
        ("--max-name-bytes", "6", &deep),
        ("--max-xattrs", "1", &xattrs),
        ("--max-xattr-bytes", "4", &xattrs),
        ("--max-extended-header-bytes", "32", &xattrs),
        ("--max-sparse-regions", "2", &sparse),
        ("--max-ratio", "100", &bomb),
    ] {
        let dest = Dest::new();
        let ran = dest.run(&[option, value], archive).ended(1, option);
        let number = if value == "4K" { "4096" } else { value };
        assert!(ran.err.contains(&format!("the limit of {number} ")), "{option}: {}", ran.err);
        dest.run(&["--xattrs", "none", "--max-ratio", "none"], archive).ended(0, "");
    }
}

#[test]
fn the_ratio_has_a_floor() {
    if !can_run() {
        return;
    }
    // 64 MiB, headers included: what is smaller passes, however well it is compressed.
    let zeros = |mebibytes: usize| gz(&Tarball::new().file("zeros", vec![0; mebibytes << 20]).build());
    Dest::new().run(&["--max-ratio", "1"], &zeros(63)).ended(0, "");
    Dest::new().run(&["--max-ratio", "1"], &zeros(65)).ended(1, "--max-ratio");
}

#[test]
fn a_stalled_source_runs_into_the_timeout() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let began = Instant::now();
    // Standard input stays open.
    let mut child = start(super::program().args(["--timeout", "300ms"]).arg(&dest.path));
    let _stdin = child.stdin.take();
    let output = child.wait_with_output().expect("the program");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("--timeout") && err.contains("300"), "{err}");
    assert!(began.elapsed().as_millis() >= 300, "{:?}", began.elapsed());
}

#[test]
fn events_over_the_limit_are_counted() {
    if !can_run() {
        return;
    }
    let archive =
        (0..40).fold(Tarball::new(), |t, n| t.symlink(format!("l{n}"), "t").with(|e| _ = e.size(512))).build();
    let ran =
        Dest::new().run(&["--json", "--max-events", "3", "--no-same-owner"], &archive).ended(0, "37 more warnings");
    let report = &ran.json()["report"];
    assert_eq!((report["events"].as_array().map(Vec::len), &report["event_count"]), (Some(3), &40.into()));
    // On the terminal fewer are shown than the report has.
    let ran = Dest::new().run(&["--no-same-owner"], &archive).ended(0, "10 more warnings");
    assert_eq!(ran.err.lines().count(), 31);
}

#[test]
fn advice_that_cannot_help_is_not_given() {
    if !can_run() {
        return;
    }
    let long = format!("user.{}", "n".repeat(260));
    let archive = Tarball::new().file("f", "x").with(|e| _ = e.xattr(&long, "v")).build();
    let ran = Dest::new().run(&[], &archive).ended(1, "no attribute with a longer name");
    assert!(!ran.err.contains("--"), "no option raises a limit of Linux: {}", ran.err);
    // What is not to be set is read and counted all the same.
    let two = Tarball::new().file("f", "x").with(|e| _ = e.xattr("user.a", "v").xattr("user.b", "v")).build();
    let ran = Dest::new().run(&["--xattrs", "none", "--max-xattrs", "1"], &two).ended(1, "--max-xattrs");
    assert!(!ran.err.contains("--xattrs none"), "{}", ran.err);
}
