//! Archives of images: unpacked in the sandbox first.

use super::{SAMPLE, flatten, line, names, opener, sample, tar};
use crate::support::layout::{Layout, Packing, pack};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, gz, xz};
use std::os::unix::fs::PermissionsExt;
use untar_in_root::image::Problem;
use untar_in_root::{Error, ErrorKind, Limits};

/// Opens what is in this file from a staging directory that must be empty afterwards, and flattens it.
fn flat(scratch: &Scratch, prefix: &str, archive: &[u8], reference: &str) -> Result<String, Error> {
    let file = scratch.file("image.tar", archive);
    let staging = scratch.dir("staging");
    let image = opener(format!("{prefix}{}{reference}", file.display())).staging_in(&staging).open();
    let result = image.and_then(|image| {
        let place = names(&staging);
        assert_eq!(place.len(), 1);
        let mode = staging.join(&place[0]).metadata().expect("staging").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "nobody else can enter");
        let root = scratch.join("root");
        flatten(&image, &root)?;
        let seen = line(&root);
        std::fs::remove_dir_all(root).expect("scratch");
        Ok(seen)
    });
    assert_eq!(names(&staging), Vec::<String>::new(), "nothing is left");
    result
}

#[test]
fn archives_of_a_layout() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let archive = pack(&scratch.join("oci")).build();
    for prefix in ["oci-archive:", ""] {
        assert_eq!(flat(&scratch, prefix, &archive, "").expect("flat"), SAMPLE);
        assert_eq!(flat(&scratch, prefix, &archive, ":latest").expect("flat"), SAMPLE);
        assert_eq!(flat(&scratch, prefix, &gz(&archive), "").expect("flat"), SAMPLE);
    }
    let error = flat(&scratch, "docker-archive:", &archive, "").expect_err("no manifest.json");
    assert_eq!(error.image_problem(), Some(&Problem::NotAnImage));
}

/// `docker save` that failed, before a pipe.
#[test]
fn of_an_archive_not_one_byte_came() {
    if !need_root() {
        return;
    }
    let error = flat(&Scratch::new(), "", &[], "").expect_err("nothing");
    assert_eq!(error.image_problem(), Some(&Problem::NothingCame));
}

#[test]
fn archives_of_docker() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let archive = sample().docker_archive("docker.io/library/sample:1").build();
    for (prefix, reference) in
        [("docker-archive:", ""), ("", ""), ("docker-archive:", ":sample:1"), ("", ":docker.io/library/sample:1")]
    {
        assert_eq!(flat(&scratch, prefix, &archive, reference).expect("flat"), SAMPLE, "{prefix}{reference}");
    }
    assert_eq!(flat(&scratch, "", &xz(&archive), "").expect("flat"), SAMPLE);
    for (prefix, reference, want) in
        [("docker-archive:", ":sample", "docker.io/library/sample:1"), ("oci-archive:", "", "oci-layout")]
    {
        let error = flat(&scratch, prefix, &archive, reference).expect_err("not so");
        assert!(error.to_string().contains(want), "{error}");
    }
}

/// Layers of older archives may be links to others; a layer may be compressed.
#[test]
fn archives_of_docker_with_links_and_compressed_layers() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let one = tar().file("f", "f").build();
    let mut layout = Layout::new().bytes(&one, Packing::Plain);
    let written = layout.docker_archive("x:1").build();
    assert_eq!(flat(&scratch, "docker-archive:", &written, "").expect("flat"), "f=f");
    let linked = |target: &str| {
        let archive = layout.docker_archive("x:1");
        archive.file("real.tar", &one).symlink("0/layer.tar", target).build()
    };
    assert_eq!(flat(&scratch, "docker-archive:", &linked("../real.tar"), "").expect("flat"), "f=f");
    for target in ["/etc/passwd", "../../../../../etc/passwd", "/proc/self/root/etc/passwd"] {
        let error = flat(&scratch, "docker-archive:", &linked(target), "").expect_err("outside");
        assert_eq!(error.image_problem(), Some(&Problem::Leaves), "{target}: {error}");
    }
    layout.layers[0].tar = gz(&one);
    let compressed = layout.docker_archive("x:1").build();
    // The diff ID is of the uncompressed tar, which the configuration here does not have.
    let error = flat(&scratch, "docker-archive:", &compressed, "").expect_err("diff ID");
    assert_eq!(error.kind(), ErrorKind::Digest);
}

/// Whatever is in the archive, it is files below the staging directory or an error.
#[test]
fn archives_that_are_hostile() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("victim", "untouched");
    let layout = |tweak: fn(Tarball) -> Tarball| {
        let scratch = Scratch::new();
        sample().write(&scratch.join("oci"));
        tweak(pack(&scratch.join("oci"))).build()
    };
    for (what, archive) in [
        ("climbs", layout(|tar| tar.file("../victim", "changed"))),
        ("through a link", layout(|tar| tar.symlink("out", "..").file("out/victim", "changed"))),
        ("index.json is a FIFO", layout(|tar| tar.fifo("index.json"))),
        ("index.json is a device", layout(|tar| tar.char_dev("index.json", 1, 5))),
        ("index.json leads out", layout(|tar| tar.symlink("index.json", "../../victim"))),
        ("index.json leads nowhere", layout(|tar| tar.symlink("index.json", "index.json"))),
        ("cut short", {
            let whole = layout(|tar| tar);
            whole[..whole.len() / 2].to_vec()
        }),
        ("no archive", vec![7; 5000]),
        ("empty", Vec::new()),
    ] {
        let outcome = flat(&scratch, "oci-archive:", &archive, "");
        if what == "through a link" {
            // A link in the root of a chroot leads to its root.
            assert_eq!(outcome.expect(what), SAMPLE);
        } else {
            let error = outcome.expect_err(what).to_string();
            assert!(!error.contains('\n'), "{what}: {error}");
        }
        assert_eq!(std::fs::read(scratch.join("victim")).expect("victim"), b"untouched", "{what}");
    }
}

#[test]
fn archives_are_bounded_and_regular_files() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let file = scratch.file("image.tar", pack(&scratch.join("oci")).build());
    let mut limits = Limits::default();
    limits.entries = 3;
    let staging = scratch.dir("staging");
    let error = opener(&file).staging_in(&staging).limits(limits).open().expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(names(&staging), Vec::<String>::new());
    let fifo = scratch.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("fifo");
    let error = opener(&fifo).open().expect_err("a FIFO");
    assert_eq!(error.image_problem(), Some(&Problem::NotAFile));
}
