//! `--json` is valid, complete, and safe to look at.

use super::{Dest, can_run, run};
use crate::support::tarball::Tarball;
use serde_json::json;

#[test]
fn a_report_is_complete() {
    if !can_run() {
        return;
    }
    let archive =
        Tarball::new().dir("d/").file("d/f", "xyz").symlink("l", "t").fifo("p").entry("label", b'V', b"").build();
    let ran = Dest::new().run(&["--json"], &archive).ended(0, "type 'V'");
    let value = ran.json();
    assert_eq!(ran.text().lines().count(), 1);
    assert_eq!((&value["ok"], &value["exit"], &value["error"]), (&json!(true), &json!(0), &json!(null)));
    let report = &value["report"];
    let entries = json!({ "files": 1, "directories": 1, "symlinks": 1, "hardlinks": 0, "devices": 0, "fifos": 1,
        "whiteouts": 0, "skipped": 1 });
    assert_eq!(report["entries"], entries);
    assert_eq!((&report["bytes_written"], &report["compression"]), (&json!(3), &json!("none")));
    assert_eq!(report["bytes_in"], archive.len());
    assert!(report["diff_id"].as_str().is_some_and(|digest| digest.starts_with("sha256:") && digest.len() == 71));
    assert!(report["times"]["total_us"].as_u64().is_some_and(|us| us > 0));
    assert_eq!(report["events"][0]["entry"]["path"], "label");
    assert_eq!(report["events"][0]["what"], json!({ "skipped_type": 86 }));
    for field in ["root", "fallback", "mount_restricted", "capabilities", "no_new_privs", "seccomp", "landlock_abi"] {
        assert!(report["confinement"].get(field).is_some(), "{field}");
    }
}

#[test]
fn a_failure_is_complete() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("a", "x").hardlink(b"l\xff\x1b", b"t\xfe").build();
    let value = Dest::new().run(&["--json"], &archive).ended(1, "l\\377\\033").json();
    assert_eq!((&value["ok"], &value["exit"]), (&json!(false), &json!(1)));
    assert_eq!((&value["error"]["kind"], &value["error"]["errno"]), (&json!("entry"), &json!(null)));
    assert!(value["error"]["message"].as_str().is_some_and(|text| text.contains("is not there")));
    let failure = &value["error"]["failure"];
    assert_eq!((&failure["stage"], &failure["entry"]["kind"]), (&json!("apply"), &json!("hardlink")));
    assert_eq!(
        (&failure["entry"]["path"], &failure["entry"]["path_base64"]),
        (&json!("l\u{fffd}\x1b"), &json!("bP8b"))
    );
    assert_eq!(failure["cause"]["link_target_missing"]["target_base64"], "dP4=");
    assert_eq!(value["report"]["entries"]["files"], 1);
}

#[test]
fn a_failure_has_what_may_help_and_which_option_that_is() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("a", "xyz").hardlink("l", "t").build();
    let advice = |options: &[&str], status| {
        let ran = Dest::new().run(&[&["--json"], options].concat(), &archive).ended(status, "");
        ran.json()["error"]["advice"].clone()
    };
    let raise = advice(&["--max-file-bytes", "2"], 1);
    assert_eq!((&raise["name"], &raise["limit"]), (&json!("raise_limit"), &json!("file_bytes")));
    assert_eq!(raise["options"], "--max-file-bytes");
    assert!(raise["text"].as_str().is_some_and(|text| text.contains("Limits::file_bytes")), "{raise}");
    let first = advice(&[], 1);
    assert_eq!((&first["name"], &first["limit"]), (&json!("target_first"), &json!(null)));
    // Nothing helps against a wrong digest.
    assert_eq!(advice(&["--digest", &format!("sha256:{}", "0".repeat(64)), "--exclude", "l"], 4), json!(null));
}

#[test]
fn failures_without_a_report_are_objects_too() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let value = run(["--json", "/nonexistent"], b"").ended(3, "").json();
    assert_eq!((&value["error"]["kind"], &value["error"]["errno_name"]), (&json!("root"), &json!("ENOENT")));
    assert!(value["report"].is_null());
    let words = ["--json".into(), dest.path.display().to_string(), "/nonexistent".into()];
    assert_eq!(run(words, b"").ended(5, "").json()["error"]["kind"], "read");
}

#[test]
fn a_listing_is_lines_and_the_outcome_last() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new()
        .file("f\u{202e}\u{9b}", "xyz")
        .with(|e| _ = e.mode(0o4755).uid(5).gid(6).mtime_ns(7, 8).xattr("user.a", "v"))
        .symlink("l", "t")
        .build();
    let ran = run(["-t", "--json"], &archive).ended(0, "");
    let text = ran.text();
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    let want = json!({ "index": 0, "offset": lines[0]["entry"]["offset"], "path": "f\u{202e}\u{9b}", "link": "",
        "kind": "file", "mode": 0o4755, "uid": 5, "gid": 6, "size": 3, "mtime": 7, "mtime_ns": 8, "device": null,
        "xattrs": [{ "name": "user.a" }] });
    assert_eq!(lines[0]["entry"], want);
    assert_eq!((&lines[1]["entry"]["kind"], &lines[1]["entry"]["link"]), (&json!("symlink"), &json!("t")));
    assert_eq!(lines[2]["ok"], true);
    let cut = run(["-t", "--json"], &archive[..archive.len() - 1400]).ended(1, "");
    assert_eq!(cut.json()["error"]["kind"], "archive");
}
