//! Line by line what containerd's own applier decides otherwise: what comes out here, by `--results`.

use crate::server::{OCI, Server, bind, overlay};
use crate::support::privilege::need_root;
use crate::support::tarball::Tarball;
use crate::support::tree::{Tree, line};
use std::path::PathBuf;
use tonic::Code;

fn tar() -> Tarball {
    Tarball::new()
}

/// What lies below in each case.
fn below() -> Tarball {
    let lower = tar().dir("d/").with(|e| _ = e.mode(0o700).uid(7).gid(8).mtime(5));
    lower.file("d/f", b"f").file("t", b"t").symlink("lnk", "d").symlink("out", "/../../d")
}

/// What becomes of a layer: the tree as one line, or the code.
type Outcome = Result<&'static str, Code>;

const REFUSED: Outcome = Err(Code::FailedPrecondition);

/// A layer over the one below.
struct Over {
    server: Server,
    made: u32,
    lower: PathBuf,
}

impl Over {
    fn new(results: &str) -> Over {
        let mut server = Server::start(&["--results", results]);
        let (lower, blob) = (server.snapshot("lower"), server.blob(OCI, &below().build()));
        server.apply(blob, bind(&lower)).expect("the layer below");
        Over { server, made: 0, lower }
    }

    /// Into an upper directory over it.
    fn apply(&mut self, layer: &Tarball) -> Result<Tree, Code> {
        self.made += 1;
        let upper = self.server.snapshot(&self.made.to_string());
        let blob = self.server.blob(OCI, &layer.build());
        let applied = self.server.apply(blob, overlay(&upper, &[&self.lower], &[]));
        applied.map(|_| Tree::read(&upper)).map_err(|status| status.code())
    }

    /// Into the directory of the only layer.
    fn alone(&mut self, layer: &Tarball) -> Result<Tree, Code> {
        self.made += 1;
        let root = self.server.snapshot(&self.made.to_string());
        let blob = self.server.blob(OCI, &layer.build());
        self.server.apply(blob, bind(&root)).map(|_| Tree::read(&root)).map_err(|status| status.code())
    }

    #[track_caller]
    fn leads_to(&mut self, situation: &str, layer: &Tarball, want: Outcome) -> Option<Tree> {
        let outcome = self.apply(layer);
        assert_eq!(outcome.as_ref().map(line).map_err(|code| *code), want.map(str::to_owned), "{situation}");
        outcome.ok()
    }
}

/// Both results have this outcome.
#[track_caller]
fn both(cases: &[(&str, Tarball, Outcome)]) {
    for results in ["containerd", "spec"] {
        let mut over = Over::new(results);
        for (situation, layer, want) in cases {
            over.leads_to(&format!("{results}: {situation}"), layer, *want);
        }
    }
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    if !need_root() {
        return;
    }
    both(&[
        ("a whiteout of a missing name", tar().whiteout("no"), Ok("")),
        ("a whiteout below a missing directory", tar().whiteout("no/x"), Ok("")),
        ("a whiteout below a lower file", tar().whiteout("t/x"), Ok("")),
        ("an opaque marker in a lower file", tar().opaque("t"), Ok("")),
        ("a whiteout with an owner", tar().whiteout("t").with(|e| _ = e.uid(7)), Ok("t:0,0")),
        ("no name in a whiteout", tar().file("no/.wh.", b""), REFUSED),
        ("a whiteout of `.`", tar().file(".wh..", b""), REFUSED),
        ("a whiteout of `..`", tar().file(".wh...", b""), REFUSED),
        ("the same whiteout twice", tar().whiteout("t").whiteout("t"), Ok("t:0,0")),
        ("a file, then its whiteout", tar().file("t", b"new").whiteout("t"), Ok("t=new")),
        ("a directory, then its whiteout", tar().dir("new/").whiteout("new"), Ok("new/")),
        ("a whiteout, then a file below it", tar().whiteout("d").file("d/n", b"n"), Ok("d/ d/n=n")),
        ("a whiteout, then opaque of its directory", tar().whiteout("d/f").opaque("d"), Ok("d/")),
        ("opaque at the top", tar().opaque(""), Ok("d:0,0 lnk:0,0 out:0,0 t:0,0")),
        ("a whiteout in the middle of a name", tar().file(".wh.foo/bar", b""), REFUSED),
        ("bookkeeping of aufs", tar().file(".wh..wh.plnk/x", b"").file(".wh..wh.aufs", b""), Ok("")),
    ]);
    let mut over = Over::new("containerd");
    let tree = over.leads_to("hidden, then listed", &tar().whiteout("d").dir("d/"), Ok("d/")).expect("applied");
    assert_eq!(tree.get("d", "xattr.trusted.overlay.opaque"), "y");
    let tree = over.leads_to("an owner", &tar().whiteout("t").with(|e| _ = e.uid(7)), Ok("t:0,0")).expect("applied");
    assert_eq!(tree.get("t", "uid"), "0");
    let tree = over.leads_to("a symlink, then listed", &tar().symlink("s", "d").dir("s/"), Ok("s/")).expect("applied");
    assert_eq!(tree.get("s", "xattr.trusted.overlay.opaque"), "y");
    for layer in [tar().file("x", b"x").whiteout("x"), tar().whiteout("no/x").opaque("").file("x", b"x")] {
        assert_eq!(line(&over.alone(&layer).expect("a bottom layer")), "x=x");
    }
}

#[test]
fn an_opaque_marker_in_a_missing_directory_makes_it_as_containerd_does() {
    if !need_root() {
        return;
    }
    for (results, want) in [("containerd", "no/ no/x/"), ("spec", "")] {
        let mut over = Over::new(results);
        let tree = over.leads_to(results, &tar().opaque("no/x"), Ok(want)).expect("applied");
        let expected = if want.is_empty() { ["", ""] } else { ["0755", "0"] };
        assert_eq!(["mode", "uid"].map(|field| tree.get("no/x", field)), expected, "{results}");
        assert_eq!(line(&over.alone(&tar().opaque("no/x")).expect("a bottom layer")), want, "{results}");
    }
}

#[test]
fn hardlinks_are_names_and_change_nothing() {
    if !need_root() {
        return;
    }
    let forged = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o4600).uid(7).xattr("user.x", "1");
    both(&[
        ("to a whiteout of this layer", tar().whiteout("t").hardlink("h", "t"), Err(Code::FailedPrecondition)),
        ("a device 0:0", tar().char_dev("w", 0, 0), REFUSED),
        ("to what is in a lower layer alone", tar().hardlink("h", "t"), Ok("h=t t==h")),
        ("to itself", tar().file("x", b"x").hardlink("x", "x"), Ok("x=x")),
        ("to a name that climbs", tar().file("q", b"").dir("s/").hardlink("s/h", "../q"), REFUSED),
    ]);
    let mut over = Over::new("containerd");
    let layer = tar().file("x", b"x").hardlink("y", "x").with(forged);
    let tree = over.leads_to("another owner", &layer, Ok("x=x y==x")).expect("applied");
    assert_eq!(["mode", "uid", "xattr.user.x"].map(|field| tree.get("x", field)), ["0644", "0", ""]);
}

#[test]
fn names_that_climb_are_refused() {
    if !need_root() {
        return;
    }
    both(&[
        ("above the root", tar().file("../x", b""), REFUSED),
        ("above the root by way of a name", tar().file("q/../../x", b""), REFUSED),
        ("not above it", tar().file("q/../x", b"x"), Ok("x=x")),
        ("a root entry that is no directory", tar().file("./", b"").with(|e| _ = e.typeflag(b'1').link("t")), REFUSED),
        ("an empty name", tar().file("", b""), Err(Code::DataLoss)),
        ("a file with a slash", tar().file("q/", b""), Ok("q/")),
    ]);
}

#[test]
fn directories_that_a_path_implies_are_as_below_and_what_is_no_directory_gives_way() {
    if !need_root() {
        return;
    }
    both(&[
        ("through a lower file", tar().file("t/x", b"x"), Ok("t/ t/x=x")),
        ("through a lower symlink", tar().file("lnk/x", b"x"), Ok("d/ d/x=x")),
        ("through one that is absolute and climbs", tar().file("out/x", b"x"), Ok("d/ d/x=x")),
        ("a whiteout through a lower symlink", tar().whiteout("lnk/f"), Ok("d/ d/f:0,0")),
        ("a directory over a lower symlink", tar().dir("lnk/").file("lnk/x", b"x"), Ok("lnk/ lnk/x=x")),
    ]);
    let mut over = Over::new("containerd");
    let tree = over.leads_to("implied", &tar().file("d/n", b"n"), Ok("d/ d/n=n")).expect("applied");
    assert_eq!(["mode", "uid", "gid", "mtime"].map(|field| tree.get("d", field)), ["0700", "7", "8", "5.000000000"]);
}

#[test]
fn attributes_of_security_modules_are_set_as_containerd_does() {
    if !need_root() {
        return;
    }
    // A name that no security module takes for its own.
    let layer = tar().file("x", b"x").with(|e| _ = e.xattr("security.x", "1").xattr("trusted.x", "1"));
    for (results, want) in [("containerd", "1"), ("spec", "")] {
        let mut over = Over::new(results);
        for tree in [over.apply(&layer), over.alone(&layer)] {
            let tree = tree.expect("applied");
            assert_eq!(tree.get("x", "xattr.security.x"), want, "{results}");
            assert_eq!(tree.get("x", "xattr.trusted.x"), "", "{results}");
        }
    }
}

#[test]
fn other_attributes_are_the_contracts() {
    if !need_root() {
        return;
    }
    let mark = |e: &mut crate::support::tarball::Entry| _ = e.xattr("user.overlay.opaque", "y");
    let acl =
        |e: &mut crate::support::tarball::Entry| _ = e.pax("SCHILY.acl.access", "user::rw-,group::r--,other::---");
    for results in ["containerd", "spec"] {
        let mut over = Over::new(results);
        let tree = over.apply(&tar().dir("m/").with(mark)).expect("applied");
        let marks = ["xattr.user.overlay.opaque", "xattr.user.overlay.overlay.opaque"];
        assert_eq!(marks.map(|name| tree.get("m", name)), ["", "y"], "{results}");
        let twice = tar().dir("m/").with(|e| _ = e.xattr("user.a", "1")).dir("m/").with(|e| _ = e.xattr("user.b", "2"));
        let tree = over.apply(&twice).expect("applied");
        assert_eq!(["xattr.user.a", "xattr.user.b"].map(|name| tree.get("m", name)), ["", "2"], "{results}");
        let tree = over.apply(&tar().file("a", b"").with(acl)).expect("applied");
        assert_eq!(tree.get("a", "mode"), "0640", "{results}");
        let tree =
            over.apply(&tar().file("l", b"").with(|e| _ = e.pax("LIBARCHIVE.xattr.user.x", "MQ"))).expect("applied");
        assert_eq!(tree.get("l", "xattr.user.x"), "1", "{results}");
    }
}

#[test]
fn times_and_ids_are_as_they_are_or_refused() {
    if !need_root() {
        return;
    }
    let owned = |uid: i64| tar().file("x", b"x").with(|e| _ = e.uid(uid).pax("uid", uid.to_string()));
    both(&[
        ("an id of 2^32", owned(1 << 32), REFUSED),
        ("an id of 2^32-1", owned(u32::MAX.into()), REFUSED),
        ("a negative id", tar().file("x", b"").with(|e| _ = e.uid(-1).base256()), REFUSED),
    ]);
    let mut over = Over::new("containerd");
    let early = over.apply(&tar().file("x", b"").with(|e| _ = e.mtime(-5).base256())).expect("applied");
    assert_eq!(early.get("x", "mtime"), "-5.000000000");
}

#[test]
fn types_that_containerd_does_not_know_are_applied() {
    if !need_root() {
        return;
    }
    both(&[
        ("a contiguous file", tar().entry("x", b'7', b"x"), Ok("x=x")),
        ("a directory of GNU tar's dumps", tar().entry("x/", b'D', b""), Ok("x/")),
        ("a volume's name", tar().entry("x", b'V', b""), Ok("")),
        ("a type that nobody knows", tar().entry("x", b'Z', b""), REFUSED),
    ]);
}
