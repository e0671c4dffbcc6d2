//! Layers that come out right, by every kind of mount and media type.

use crate::server::{GZIP, OCI, Server, ZSTD, bind, digest, overlay};
use crate::support::privilege::need_root;
use crate::support::tarball::{Tarball, gz, zst};
use rustix::fs::getxattr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

fn layer() -> Vec<u8> {
    Tarball::new().dir("d/").file("d/f", b"text").with(|e| _ = e.mode(0o4755).uid(7).gid(8)).symlink("l", "d/f").build()
}

fn is_layer(root: &Path) {
    let file = fs::metadata(root.join("d/f")).expect("file");
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o4755, 7, 8));
    assert_eq!(fs::read(root.join("l")).expect("file"), b"text");
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

#[test]
fn the_bottom_layer_goes_into_its_bind_mount() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (root, tar) = (server.snapshot("1"), layer());
    let blob = server.blob(GZIP, &gz(&tar));
    let applied = server.apply(blob, bind(&root)).expect("applied");
    is_layer(&root);
    assert_eq!(applied.digest, digest(&tar));
    assert_eq!(applied.size, i64::try_from(tar.len()).expect("small"));
    assert_eq!(applied.media_type, OCI);
}

#[test]
fn a_layer_above_is_written_as_an_upper_directory() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (lower, upper) = (server.snapshot("1"), server.snapshot("2"));
    fs::create_dir_all(lower.join("d/old")).expect("lower");
    fs::create_dir_all(lower.join("e")).expect("lower");
    fs::write(lower.join("gone"), "").expect("lower");
    let tar = Tarball::new().whiteout("gone").opaque("d/").file("e/new", b"1").build();
    let blob = server.blob(ZSTD, &zst(&tar));
    server.apply(blob, overlay(&upper, &[&lower], &["index=off", "workdir=/nowhere"])).expect("applied");
    assert!(is_whiteout(&upper.join("gone")));
    let mut value = [0u8; 8];
    assert_eq!(getxattr(upper.join("d"), "trusted.overlay.opaque", &mut value), Ok(1));
    assert_eq!(fs::read(upper.join("e/new")).expect("file"), b"1");
}

#[test]
fn a_mount_with_userxattr_has_user_marks() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (lower, upper) = (server.snapshot("1"), server.snapshot("2"));
    fs::create_dir(lower.join("d")).expect("lower");
    let blob = server.blob(OCI, &Tarball::new().dir("d/").opaque("d/").build());
    server.apply(blob, overlay(&upper, &[&lower], &["userxattr"])).expect("applied");
    let mut value = [0u8; 8];
    assert_eq!(getxattr(upper.join("d"), "user.overlay.opaque", &mut value), Ok(1));
}

#[test]
fn layers_unpacked_side_by_side_are_applied_and_told() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let upper = server.snapshot("2");
    let blob = server.blob(OCI, &Tarball::new().whiteout("gone").file("d/f", b"1").build());
    server.apply(blob, overlay(&upper, &[], &["rw"])).expect("applied");
    assert!(is_whiteout(&upper.join("gone")));
    assert!(upper.join("d/f").exists());
    assert!(server.log().contains("unpacked without the layers below"), "{}", server.log());
}

#[test]
fn a_label_of_compression_is_not_believed_and_the_plain_type_is() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    let cases: [(&str, Vec<u8>); 6] = [
        (GZIP, zst(&layer())),
        (ZSTD, gz(&layer())),
        (GZIP, layer()),
        (docker, gz(&layer())),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", layer()),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", zst(&layer())),
    ];
    for (number, (media_type, bytes)) in cases.iter().enumerate() {
        let root = server.snapshot(&number.to_string());
        let blob = server.blob(media_type, bytes);
        let applied = server.apply(blob, bind(&root)).expect(media_type);
        assert_eq!(applied.digest, digest(&layer()));
        is_layer(&root);
    }
    let (root, blob) = (server.snapshot("plain"), server.blob(OCI, &gz(&layer())));
    assert_eq!(server.apply(blob, bind(&root)).expect_err("no tar").code(), tonic::Code::DataLoss);
}

#[test]
fn an_empty_blob_is_a_layer() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, b""));
    let applied = server.apply(blob, bind(&root)).expect("applied");
    assert_eq!((applied.digest, applied.size), (digest(b""), 0));
}

#[test]
fn the_snapshots_own_directory_is_the_snapshotters_unless_the_spec_is_asked_for() {
    if !need_root() {
        return;
    }
    let tar = Tarball::new().dir("./").with(|e| _ = e.mode(0o700).uid(5)).build();
    for (results, expected) in [("containerd", (0o755, 0)), ("spec", (0o700, 5))] {
        let mut server = Server::start(&["--results", results]);
        let root = server.snapshot("1");
        let blob = server.blob(OCI, &tar);
        server.apply(blob, bind(&root)).expect("applied");
        let metadata = fs::metadata(&root).expect("root");
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), expected, "{results}");
    }
}

#[test]
fn nothing_of_a_hostile_layer_is_outside_its_snapshot() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let outside = server.path("outside");
    fs::create_dir(&outside).expect("directory");
    let climbing = format!("{}/x", "../".repeat(12) + outside.to_str().expect("path"));
    let layers = [
        (Tarball::new().file("../x", b"1").build(), true),
        (Tarball::new().file(&climbing, b"1").build(), true),
        (Tarball::new().symlink("l", outside.as_os_str().as_encoded_bytes()).file("l/x", b"1").build(), false),
        (Tarball::new().hardlink("h", "../../../etc/passwd").build(), true),
        (Tarball::new().char_dev("w", 0, 0).build(), true),
    ];
    for (number, (tar, refused)) in layers.iter().enumerate() {
        let upper = server.snapshot(&format!("{number}"));
        let blob = server.blob(OCI, tar);
        let outcome = server.apply(blob, overlay(&upper, &[], &[]));
        assert_eq!(outcome.is_err(), *refused, "{number}: {outcome:?}");
        if let Err(status) = outcome {
            assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status:?}");
        }
        assert_eq!(fs::read_dir(&outside).expect("directory").count(), 0, "{number}");
        assert!(!upper.parent().expect("snapshot").join("x").exists(), "{number}");
    }
}
