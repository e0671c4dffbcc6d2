//! Text of others: whatever the door, nothing that a terminal obeys, reorders or hides is printed as it is.

use super::{Dest, Ran, can_run, run};
use crate::support::layout::{Document, Layout, Packing};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// One of each kind: bidirectional, invisible, filler, joiner, tag, selector, separator, private, unassigned, control.
const HIDDEN: &str = "\u{61c}\u{ad}\u{3164}\u{200d}\u{e0041}\u{fe0f}\u{180e}\u{fff9}\u{1d173}\u{600}\u{2028}\u{202e}\u{e000}\
                      \u{fdd0}\u{378}\u{9b}";

impl Ran {
    /// It said something with such a name in it, and nothing of it raw.
    #[track_caller]
    fn hides_nothing(&self, door: &str) {
        let said = format!("{}{}", self.text(), self.err);
        let raw: Vec<char> = HIDDEN.chars().filter(|c| said.contains(*c)).collect();
        assert!(raw.is_empty(), "{door}: {raw:x?} in {said:?}");
        assert!(
            ["\\330\\234", "\\u061c", "\\u{61c}"].iter().any(|shown| said.contains(shown)),
            "{door}: nothing shown: {said:?}"
        );
    }
}

#[test]
fn what_reorders_or_hides_text_goes_through_no_door() {
    if !can_run() {
        return;
    }
    let name = format!("a{HIDDEN}b");
    let archive = Tarball::new()
        .file(&name, "x")
        .symlink("l", &name)
        .entry(&name, b'V', "")
        .file("attribute", "")
        .with(|e| _ = e.xattr(&format!("trusted.{HIDDEN}"), "v"))
        .build();
    for options in [&["-t"][..], &["-t", "--json"], &["-v"], &[], &["--json", "-q"]] {
        let door = options.join(" ");
        let ran = if door.contains("-t") { run(options, &archive) } else { Dest::new().run(options, &archive) };
        ran.ended(0, "").hides_nothing(&door);
    }
    let missing = Tarball::new().hardlink(&name, format!("{name}2")).build();
    for options in [&[][..], &["--json"]] {
        Dest::new().run(options, &missing).ended(1, "is not there").hides_nothing("an error");
    }
}

#[test]
fn what_reorders_or_hides_text_in_an_image_goes_through_no_door() {
    if !can_run() {
        return;
    }
    let scratch = Scratch::new();
    let of = |name: &str, what: fn(Document, &mut serde_json::Value)| {
        let dir = scratch.join(name);
        let layout = Layout::new().layer(&Tarball::new().file("f", "x"), Packing::Plain).tagged(HIDDEN);
        layout.write_with(&dir, what);
        format!("oci:{}", dir.display())
    };
    let good = of("good", |_, _| ());
    let foreign = of("platform", |document, value| {
        if document == Document::Config {
            value["os"] = HIDDEN.into();
        }
    });
    let bad = of("bad", |document, value| {
        if document == Document::Index {
            value["schemaVersion"] = HIDDEN.into();
        }
    });
    for json in [&[][..], &["--json"]] {
        let with = |words: &[&str]| run([words, json].concat(), b"");
        with(&["inspect", &good]).ended(0, "").hides_nothing("inspect");
        with(&["inspect", &foreign]).ended(0, "").hides_nothing("inspect, platform");
        // A tag that nobody could type is not offered.
        with(&["inspect", &format!("{good}:no-such-tag")]).ended(2, "there is sha256:");
        with(&["inspect", &bad]).ended(1, "").hides_nothing("no document");
        let store = scratch.join("store").display().to_string();
        with(&["image", &good, "--store", &store, "--name", HIDDEN, "-q"]).ended(0, "");
        with(&["store", "list", &store]).ended(0, "").hides_nothing("store list");
        let unknown = format!("{HIDDEN}?");
        with(&["store", "forget", &store, &unknown]).ended(1, "").hides_nothing("store forget");
    }
}
