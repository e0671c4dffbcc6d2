//! Symlinks and hardlinks: out, through each other, replaced in the middle.

use std::os::unix::fs::symlink;

use rustix::io::Errno;
use untar_in_root::{Malformed, Options, Refusal};

use super::super::case::{Case, aimed, case};
use super::tar;
use crate::support::expected::Expected;

fn keep(o: &mut Options) {
    o.keep_directory_symlink = true;
}

fn outside(out: &std::path::Path, name: &str) -> String {
    format!("{}/{name}", out.display())
}

pub fn cases() -> Vec<Case> {
    let mut all = symlinks();
    all.extend(replaced());
    all.extend(hardlinks());
    all
}

fn symlinks() -> Vec<Case> {
    vec![
        // CVE-2018-20990, CVE-2025-47290: a parent that is a symlink out.
        case("through a relative symlink out (CVE-2018-20990)", tar().symlink("l", "..").file("l/victim", "evil"))
            .tree("l->.. victim=evil"),
        case("through a symlink far out", tar().symlink("l", "../../../../etc").file("l/passwd", "evil"))
            .tree("etc/ etc/passwd=evil l->../../../../etc"),
        aimed("through an absolute symlink out", |out| {
            tar().symlink("l", outside(out, "etc")).file("l/passwd", "evil").build()
        })
        .applied(),
        case("through a symlink to the root", tar().symlink("l", "/").file("l/etc/passwd", "evil"))
            .tree("etc/ etc/passwd=evil l->/"),
        case("through a symlink to itself", tar().symlink("l", "l").file("l/f", "1")).fails(Errno::LOOP),
        case("through a loop of two", tar().symlink("a", "b").symlink("b", "a").file("a/f", "1")).fails(Errno::LOOP),
        case("through a loop below itself", tar().symlink("a", "a/a").file("a/f", "1")).fails(Errno::LOOP),
        case("forty-one symlinks", {
            let links = (0..41).fold(tar().dir("d"), |tar, i| tar.symlink(format!("l{i}"), format!("l{}", i + 1)));
            links.symlink("l41", "d").file("l0/f", "1")
        })
        .fails(Errno::LOOP),
        case("forty symlinks are well", {
            let links = (0..39).fold(tar().dir("d"), |tar, i| tar.symlink(format!("l{i}"), format!("l{}", i + 1)));
            links.symlink("l39", "d").file("l0/f", "1")
        })
        .fact("d/f", "content", "1")
        .applied(),
        // Two hops: each link harmless, the two together not (CVE-2024-12905, tar-fs; CVE-2026-26960, node-tar).
        case("two hops (CVE-2024-12905)", tar().symlink("a", ".").symlink("a/b", "..").file("a/b/victim", "evil"))
            .tree("a->. b->.. victim=evil"),
        case("two hops by directories", {
            tar().dir("d").symlink("d/up", "..").symlink("l", "d/up/..").file("l/victim", "evil")
        })
        .tree("d/ d/up->.. l->d/up/.. victim=evil"),
        case("three hops", {
            tar().symlink("a", "b/..").dir("b").symlink("c", "a/..").symlink("d", "c/..").file("d/victim", "evil")
        })
        .tree("a->b/.. b/ c->a/.. d->c/.. victim=evil"),
        // Python CVE-2025-4517: beyond PATH_MAX a check by realpath stops resolving.
        case("a link that a realpath gives up on (CVE-2025-4517)", {
            let (mut tar, mut path) = (tar(), String::new());
            for step in "abcdefghijklmnop".chars() {
                let long = "d".repeat(247);
                tar = tar.dir(format!("{path}{long}")).symlink(format!("{path}{step}"), &long);
                path = format!("{path}{long}/");
            }
            let through: String = "abcdefghijklmnop".chars().map(|c| format!("{c}/")).collect();
            let link = format!("{through}{}", "l".repeat(254));
            tar.symlink(&link, "../".repeat(16))
                .symlink("escape", format!("{link}/../../.."))
                .file("escape/victim", "evil")
        })
        .applied(),
        case("magic links", tar().symlink("l", "/proc/self/root").file("l/victim", "evil")).applied(),
        case("magic links to descriptors", tar().symlink("l", "/proc/self/fd/0").file("l", "evil")).tree("l=evil"),
        case("a dangling symlink as parent", tar().symlink("l", "no/where").file("l/f", "1"))
            .tree("l->no/where no/ no/where/ no/where/f=1"),
        case("a dangling symlink out as parent", tar().symlink("l", "../../nowhere").file("l/f", "1"))
            .tree("l->../../nowhere nowhere/ nowhere/f=1"),
        case("a symlink to a file as parent", tar().file("f", "1").symlink("l", "f").file("l/g", "2"))
            .fails(Errno::NOTDIR),
        case("a symlink of 4095 bytes", tar().symlink("l", "x".repeat(4095))).applied(),
        case("a symlink of 4096 bytes", tar().symlink("l", "x".repeat(4096))).fails(Errno::NAMETOOLONG),
        case("an empty symlink", tar().symlink("l", "")).malformed(Malformed::EmptyLink),
        case(
            "a symlink with a body",
            tar().symlink("l", "..").with(|e| _ = e.body("x".repeat(512)).size(512)).file("f", "1"),
        )
        .malformed(Malformed::Checksum),
        case("NUL in a link target", tar().symlink("l", "x").with(|e| _ = e.pax("linkpath", b"a\0b")))
            .malformed(Malformed::NulInName),
        case("a quarter of a million link steps", {
            let up = format!("{}l", "d/../".repeat(800));
            let links = (0..39).fold(tar().dir("d"), |tar, i| tar.symlink(format!("l{i}"), format!("{up}{}", i + 1)));
            (0..8).fold(links.symlink("l39", "d"), |tar, i| tar.dir("e").file(format!("l0/f{i}"), ""))
        })
        .applied(),
    ]
}

fn replaced() -> Vec<Case> {
    vec![
        // node-tar CVE-2021-32803, CVE-2021-37701: a cache of names that went stale.
        case("a directory becomes a symlink (CVE-2021-32803)", {
            tar().dir("d").file("d/a", "1").symlink("d", "..").file("d/victim", "evil")
        })
        .tree("d->.. victim=evil"),
        case("a directory becomes a symlink, absolute", {
            tar().dir("d").file("d/a", "1").symlink("d", "/etc").file("d/passwd", "evil")
        })
        .tree("d->/etc etc/ etc/passwd=evil"),
        case("its parent becomes a symlink", {
            tar().dir("p/d").file("p/d/a", "1").symlink("p", "../etc").file("p/d/b", "evil")
        })
        .tree("etc/ etc/d/ etc/d/b=evil p->../etc"),
        case("back and forth", {
            tar()
                .dir("d")
                .symlink("d", "..")
                .dir("d")
                .file("d/victim", "in")
                .symlink("d", "..")
                .file("d/victim", "evil")
        })
        .tree("d->.. victim=evil"),
        case("a symlink becomes a directory", tar().symlink("d", "..").dir("d").file("d/victim", "in"))
            .tree("d/ d/victim=in"),
        case("a symlink that is kept", tar().symlink("d", "..").dir("d").file("d/victim", "in"))
            .with(keep)
            .tree("d->.. victim=in"),
        case("a kept symlink to nowhere", tar().symlink("d", "../no").dir("d").file("d/f", "in"))
            .with(keep)
            .tree("d/ d/f=in"),
        case("a kept symlink's directory gets the mode (CVE-2021-32760)", {
            tar().dir("t").symlink("d", "../t").dir("d").with(|e| _ = e.mode(0o700))
        })
        .with(keep)
        .fact("t", "mode", "0700")
        .tree("d->../t t/"),
        case("a file over a symlink out", tar().symlink("f", "../victim").file("f", "in")).tree("f=in"),
        case("a FIFO over a symlink out", tar().symlink("f", "../victim").fifo("f")).tree("f|"),
        case("a symlink over a symlink", tar().symlink("f", "../victim").symlink("f", "x")).tree("f->x"),
        case("a memo of a parent, then a link in it", {
            tar().dir("a/b").file("a/b/1", "").symlink("a/b", "../..").file("a/b/victim", "evil").file("a/b/v2", "e")
        })
        .tree("a/ a/b->../.. v2=e victim=evil"),
        // On what is there before.
        case("a symlink out that is there before", tar().file("l/victim", "evil").dir("l/x"))
            .on(|dest, _| symlink("..", dest.join("l")).expect("symlink"))
            .tree("l->.. victim=evil x/"),
        case("a symlink to a file that is there before", tar().file("l", "in"))
            .on(|dest, _| symlink("../victim", dest.join("l")).expect("symlink"))
            .tree("l=in"),
        case("a symlink to a directory that is there before", tar().dir("l").with(|e| _ = e.mode(0o777).uid(7)))
            .on(|dest, _| symlink("../etc", dest.join("l")).expect("symlink"))
            .without_other_owners()
            .tree("l/"),
        case("a symlink of the layer below", tar().file("l/victim", "evil"))
            .over(tar().symlink("l", ".."))
            .layer()
            .tree("l->.. victim=evil"),
        case("metadata through a symlink (CVE-2021-32760)", {
            tar().symlink("l", "../victim").with(|e| _ = e.mode(0o4777).uid(0).mtime(1))
        })
        .tree("l->../victim"),
        case("deferred times of a directory that became a link (libarchive CVE-2021-31566)", {
            tar().dir("d").with(|e| _ = e.mode(0o777).mtime(1)).symlink("d", "..")
        })
        .tree("d->.."),
        case("deferred mode of a directory that moved under a link (libarchive CVE-2021-23177)", {
            tar().dir("a/etc").with(|e| _ = e.mode(0)).symlink("a", "..")
        })
        .tree("a->.."),
    ]
}

fn hardlinks() -> Vec<Case> {
    vec![
        // CVE-2014-9357's sibling: hardlinks to the host.
        case("a hardlink out (tar-rs, CVE-2018-20990)", tar().hardlink("l", "../victim"))
            .refused(Expected::LinkEscapes),
        case("a hardlink far out", tar().hardlink("l", "../../../../etc/passwd")).refused(Expected::LinkEscapes),
        case("an absolute hardlink", tar().hardlink("l", "/etc/passwd")).fails(Expected::LinkTargetMissing),
        aimed("a hardlink to the canary's absolute name", |out| tar().hardlink("l", outside(out, "victim")).build())
            .fails(Expected::LinkTargetMissing),
        case("a hardlink through a symlink out", tar().symlink("s", "..").hardlink("l", "s/victim"))
            .fails(Expected::LinkTargetMissing),
        case("a hardlink through a symlink to /etc", tar().symlink("s", "/etc").hardlink("l", "s/passwd"))
            .fails(Expected::LinkTargetMissing),
        case("a hardlink to a symlink out is of the symlink", {
            tar().symlink("s", "../victim").hardlink("l", "s").file("l", "in")
        })
        .tree("l=in s->../victim"),
        case("a hardlink with a body (libarchive CVE-2016-5418)", {
            tar().file("f", "1").hardlink("l", "f").with(|e| _ = e.body("evil".repeat(128)).size(512))
        })
        .malformed(Malformed::Checksum),
        case("a hardlink with a body to a symlink out", {
            tar().symlink("s", "../victim").hardlink("l", "s").with(|e| _ = e.body("evil".repeat(128)).size(512))
        })
        .malformed(Malformed::Checksum),
        case("a hardlink with mode and owner alters nothing (CVE-2021-32760)", {
            tar().file("f", "1").hardlink("l", "f").with(|e| _ = e.mode(0o4777).uid(7).gid(7).mtime(9))
        })
        .tree("f=1 l==f")
        .fact("f", "mode", "0644")
        .fact("f", "mtime", "3600.000000000"),
        case("a hardlink with xattrs alters nothing", {
            tar().file("f", "1").hardlink("l", "f").with(|e| _ = e.xattr("user.evil", "1"))
        })
        .fact("f", "xattr.user.evil", "")
        .tree("f=1 l==f"),
        case("a hardlink to itself", tar().file("f", "1").hardlink("f", "f")).tree("f=1"),
        case("a hardlink to itself, spelled otherwise", tar().dir("d").file("f", "1").hardlink("d/../f", "./d/../f"))
            .tree("d/ f=1"),
        case("a hardlink to a directory", tar().dir("d").hardlink("l", "d")).refused(Refusal::HardlinkToDirectory),
        case("a hardlink to the root", tar().hardlink("l", "/")).refused(Refusal::HardlinkToDirectory),
        case("a hardlink to its own parent", tar().dir("d").hardlink("d/l", "d")).refused(Refusal::HardlinkToDirectory),
        case("a hardlink forward", tar().hardlink("l", "f").file("f", "1")).fails(Expected::LinkTargetMissing),
        case("a hardlink whose target it replaces", tar().file("d/f", "1").hardlink("d", "d/f"))
            .fails(Expected::LinkTargetMissing),
        case("a file through a hardlink of a lower layer stays below", tar().file("l", "new"))
            .over(tar().file("f", "old").hardlink("l", "f"))
            .layer()
            .tree("f=old l=new"),
        case("an empty hardlink", tar().hardlink("l", "")).malformed(Malformed::EmptyLink),
        case("a hardlink to a FIFO", tar().fifo("p").hardlink("l", "p").file("l", "1")).tree("l=1 p|"),
        case("a hardlink to a device", tar().char_dev("c", 1, 5).hardlink("l", "c"))
            .tree("c:1,5 l==c")
            .without_devices(),
        case("a thousand hardlinks, then a file over each", {
            let links = (0..1_000).fold(tar().file("f", "1"), |tar, i| tar.hardlink(format!("l{i:03}"), "f"));
            (0..1_000).fold(links, |tar, i| tar.file(format!("l{i:03}"), "2"))
        })
        .fact("f", "content", "1")
        .applied(),
        case("an unknown link type", tar().entry("l", b'9', "").with(|e| _ = e.link("../victim")))
            .refused(Refusal::UnknownType(b'9')),
    ]
}
