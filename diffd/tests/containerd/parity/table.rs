//! The table of docs/containerd.md, of what the two make differently on purpose, and beside it what ours makes as
//! containerd's own although the image-spec leaves room: one small image each, and what becomes of its top layer by either.

use super::Both;
use crate::chroots::RELEASES;
use crate::images::archive;
use crate::support::layout::{Layout, Packing};
use crate::support::tarball::Tarball;
use crate::support::tree::{Tree, line};
use crate::views::View;

/// A layer over another, and what the two make of it: the upper directory and the view, or nothing.
struct Case {
    name: &'static str,
    lower: Tarball,
    upper: Tarball,
    /// The view cannot be read: overlayfs lists what it does not find.
    unreadable: bool,
    /// Fields that decide, of the upper directory.
    fields: &'static [(&'static str, &'static str)],
    ours: &'static str,
    walking: &'static str,
}

fn tar() -> Tarball {
    Tarball::new()
}

fn case(name: &'static str, lower: Tarball, upper: Tarball) -> Case {
    Case { name, lower, upper, unreadable: false, fields: &[], ours: "", walking: "" }
}

impl Case {
    fn of(self, fields: &'static [(&'static str, &'static str)]) -> Case {
        Case { fields, ..self }
    }

    fn unreadable(self) -> Case {
        Case { unreadable: true, ..self }
    }

    fn is(self, ours: &'static str, walking: &'static str) -> Case {
        Case { ours, walking, ..self }
    }

    fn told(&self, both: &Both, containerd: &str, number: usize) -> String {
        let layout = Layout::new().layer(&self.lower, Packing::Plain).layer(&self.upper, Packing::Gzip);
        let archive = archive(&both.machine, "case.tar", &layout);
        let namespace = format!("case{number}");
        if !both.import(containerd, &namespace, &archive) {
            return "not applied".into();
        }
        let view = View::of(&both.machine, containerd, &namespace, "localhost/t:latest");
        let upper = Tree::read(&view.layers[1]);
        let shown = if self.unreadable { String::new() } else { line(&Tree::read(&view.place)) };
        let fields: Vec<_> = self.fields.iter().map(|(path, field)| upper.get(path, field).to_owned()).collect();
        [line(&upper), shown, fields.join(" ")].join(" | ").trim_end_matches([' ', '|']).to_owned()
    }
}

fn cases() -> Vec<Case> {
    let lower = || tar().dir("d/").file("d/old", b"1").file("f", b"2");
    vec![
        case("a whiteout, then the directory again", lower(), tar().whiteout("d").dir("d/").file("d/new", b"3"))
            .is("d/ d/new=3 | d/ d/new=3 f=2", "d/ d/new=3 | d/ d/new=3 d/old=1 f=2"),
        case("an opaque marker at the top", lower(), tar().opaque("").file("new", b"3"))
            .is("d:0,0 f:0,0 new=3 | new=3", "new=3 | d/ d/old=1 f=2 new=3"),
        case(
            "a hardlink header with another mode",
            lower(),
            tar().file("a", b"3").hardlink("b", "a").with(|e| _ = e.mode(0o4600).uid(7)),
        )
        .of(&[("a", "mode"), ("a", "uid")])
        .is("a=3 b==a | a=3 b==a d/ d/old=1 f=2 | 0644 0", "a=3 b==a | a=3 b==a d/ d/old=1 f=2 | 4600 7"),
        case("a device 0:0", lower(), tar().char_dev("f", 0, 0)).is("not applied", "f:0,0 | d/ d/old=1"),
        case("a hardlink to a whiteout", lower(), tar().whiteout("f").hardlink("g", "f"))
            .is("not applied", "f:0,0 g==f | d/ d/old=1"),
        case(
            "user.overlay attributes",
            lower(),
            tar().dir("d/").with(|e| _ = e.pax("SCHILY.xattr.user.overlay.opaque", "y")),
        )
        .of(&[("d", "xattr.user.overlay.opaque"), ("d", "xattr.user.overlay.overlay.opaque")])
        .is("d/ | d/ d/old=1 f=2 |  y", "d/ | d/ d/old=1 f=2 | y"),
        case("a name that climbs", lower(), tar().file("../x", b"3")).is("not applied", "x=3 | d/ d/old=1 f=2 x=3"),
        case("a hardlink's target that climbs", lower(), tar().file("x", b"3").hardlink("y", "../x"))
            .is("not applied", "x=3 y==x | d/ d/old=1 f=2 x=3 y==x"),
        case("an id that no file can have", lower(), tar().file("x", b"3").with(|e| _ = e.pax("uid", "4294967296")))
            .is("not applied", "x=3 | d/ d/old=1 f=2 x=3"),
        case(
            "a path through a symlink of a lower layer",
            tar().dir("usr/lib/").symlink("lib", "usr/lib"),
            tar().file("lib/x", b"3"),
        )
        .is(
            "usr/ usr/lib/ usr/lib/x=3 | lib->usr/lib usr/ usr/lib/ usr/lib/x=3",
            "lib/ lib/x=3 | lib/ lib/x=3 usr/ usr/lib/",
        ),
        case("a whiteout of a missing name", lower(), tar().whiteout("none"))
            .is(" | d/ d/old=1 f=2", "none:0,0 | d/ d/old=1 f=2"),
        case("a whiteout below a missing directory", lower(), tar().whiteout("no/ne"))
            .unreadable()
            .is("", "no/ no/ne:0,0"),
        case("a whiteout below a file", lower(), tar().whiteout("f/x")).unreadable().is("", "f/ f/x:0,0"),
        case("a file for a directory, then a whiteout below it", lower(), tar().file("d", b"3").whiteout("d/old"))
            .is("d=3 | d=3 f=2", "not applied"),
        case("the same whiteout twice", lower(), tar().whiteout("f").whiteout("f"))
            .is("f:0,0 | d/ d/old=1", "not applied"),
        case("a file, then its whiteout", lower(), tar().file("f", b"3").whiteout("f"))
            .is("f=3 | d/ d/old=1 f=3", "not applied"),
        case("a whiteout, then a file below it", lower(), tar().whiteout("d").file("d/new", b"3"))
            .is("d/ d/new=3 | d/ d/new=3 f=2", "not applied"),
        case("a whiteout, then opaque of its directory", lower(), tar().whiteout("d/old").opaque("d"))
            .unreadable()
            .is("d/", "d/ d/old:0,0"),
        case("a hardlink to a file of a lower layer", lower(), tar().hardlink("g", "f"))
            .is("f=2 g==f | d/ d/old=1 f=2 g==f", "not applied"),
        case("a hardlink to itself", lower(), tar().file("x", b"3").hardlink("x", "x"))
            .is("x=3 | d/ d/old=1 f=2 x=3", "not applied"),
        case("a path through a lower file", lower(), tar().file("f/x", b"3"))
            .is("f/ f/x=3 | d/ d/old=1 f/ f/x=3", "f/ f/x=3 | d/ d/old=1 f/ f/x=3"),
        case("a marker of aufs", lower(), tar().file(".wh..wh.plnk/x", b"3").file(".wh..wh.aufs", b"")).is(
            " | d/ d/old=1 f=2",
            ".wh..wh.plnk/ .wh..wh.plnk/x=3 .wh.aufs:0,0 | .wh..wh.plnk/ .wh..wh.plnk/x=3 d/ d/old=1 f=2",
        ),
        case("a name below a marker", lower(), tar().file(".wh.foo/bar", b"3"))
            .is("not applied", ".wh.foo/ .wh.foo/bar=3 | .wh.foo/ .wh.foo/bar=3 d/ d/old=1 f=2"),
        case("a root entry that is no directory", lower(), tar().file(".", b"").file("x", b"3"))
            .is("not applied", "x=3 | d/ d/old=1 f=2 x=3"),
        case("an ACL that is none", lower(), tar().file("x", b"3").with(|e| _ = e.pax("SCHILY.acl.access", "rubbish")))
            .is("not applied", "x=3 | d/ d/old=1 f=2 x=3"),
        case("a time before 1970", lower(), tar().file("x", b"3").with(|e| _ = e.pax("mtime", "-1")))
            .of(&[("x", "mtime")])
            .is("x=3 | d/ d/old=1 f=2 x=3 | -1.000000000", "x=3 | d/ d/old=1 f=2 x=3 | 0.000000000"),
        case("a directory by its name alone", lower(), tar().file("q/", b""))
            .is("q/ | d/ d/old=1 f=2 q/", "q= | d/ d/old=1 f=2 q="),
        case("a contiguous file", lower(), tar().entry("x", b'7', b"3")).is("x=3 | d/ d/old=1 f=2 x=3", "not applied"),
        case(
            "an attribute of libarchive",
            lower(),
            tar().file("x", b"3").with(|e| _ = e.pax("LIBARCHIVE.xattr.user.a", "Yg")),
        )
        .of(&[("x", "xattr.user.a")])
        .is("x=3 | d/ d/old=1 f=2 x=3 | b", "x=3 | d/ d/old=1 f=2 x=3"),
        case("an opaque marker in a missing directory", lower(), tar().opaque("no"))
            .is("no/ | d/ d/old=1 f=2 no/", "no/ | d/ d/old=1 f=2 no/"),
        case(
            "a security attribute",
            lower(),
            tar().file("x", b"3").with(|e| _ = e.pax("SCHILY.xattr.security.ima", "z")),
        )
        .of(&[("x", "xattr.security.ima")])
        .is("x=3 | d/ d/old=1 f=2 x=3 | z", "x=3 | d/ d/old=1 f=2 x=3 | z"),
    ]
}

#[test]
fn the_table_of_differences_is_as_written() {
    for release in RELEASES {
        let Some(both) = Both::of(release) else { return };
        let (mut wrong, version) = (Vec::new(), both.machine.version());
        for (number, case) in cases().iter().enumerate() {
            let told = ["c", "w"].map(|containerd| case.told(&both, containerd, number));
            if told != [case.ours, case.walking] {
                wrong.push(format!("{}\n  ours    {}\n  walking {}", case.name, told[0], told[1]));
            }
        }
        assert!(wrong.is_empty(), "{version}:\n{}", wrong.join("\n"));
        let differ = cases().iter().filter(|case| case.ours != case.walking).count();
        println!(
            "PARITY | {version} | the table | {} small images, {differ} on which they differ on purpose |",
            cases().len()
        );
    }
}
