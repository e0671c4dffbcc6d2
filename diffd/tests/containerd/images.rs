//! Images of known layers.

use crate::machine::{Machine, put};
use crate::support::layout::{Layout, Packing, pack};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// How they are called there.
pub const NAME: &str = "localhost/t:latest";

/// Four layers: plain, gzip and zstd, with files, links, whiteouts, an opaque directory and a directory that comes back.
pub fn sample() -> Layout {
    let tool = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o4755).uid(7).gid(8);
    let first = Tarball::new()
        .dir("bin/")
        .file("bin/tool", b"#!/bin/sh\n")
        .with(tool)
        .hardlink("bin/same", "bin/tool")
        .with(tool)
        .symlink("sh", "bin/tool")
        .dir("gone/")
        .file("gone/f", b"1")
        .dir("back/")
        .file("back/old", b"old")
        .file("two", b"2");
    let second = Tarball::new().whiteout("gone").whiteout("back").dir("etc/").file("etc/new", vec![7; 100_000]);
    let third = Tarball::new().dir("etc/").opaque("etc/").file("etc/newer", b"3").file("deep/er/f", b"4");
    let fourth =
        Tarball::new().dir("back/").file("back/new", b"new").whiteout("two").char_dev("null", 1, 3).fifo("pipe");
    Layout::new()
        .layer(&first, Packing::Gzip)
        .layer(&second, Packing::Zstd)
        .layer(&third, Packing::Plain)
        .layer(&fourth, Packing::Gzip)
}

/// As an archive in a machine.
pub fn archive(machine: &Machine, name: &str, layout: &Layout) -> String {
    let scratch = Scratch::new();
    layout.write(&scratch.join("oci"));
    put(machine, name, &pack(&scratch.join("oci")).build())
}
