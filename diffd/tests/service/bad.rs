//! Requests that nobody should send, and layers that are not what they should be: a code, one line, and nothing left.

use crate::interface::diff::{ApplyRequest, DiffRequest};
use crate::interface::types::{Descriptor, Mount};
use crate::server::{GZIP, OCI, Server, bind, overlay, within};
use crate::support::privilege::need_root;
use crate::support::tarball::{Checksum, Tarball, gz, xz};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tonic::Code;

fn mount(kind: &str, source: &str) -> Vec<Mount> {
    vec![Mount { r#type: kind.into(), source: source.into(), ..Default::default() }]
}

#[test]
fn a_request_that_cannot_be_meant_has_a_code_and_leaves_nothing() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let root = server.snapshot("1");
    let good = server.blob(OCI, &Tarball::new().file("f", b"1").build());
    let of = |change: fn(&mut Descriptor)| {
        let mut descriptor = good.clone();
        change(&mut descriptor);
        descriptor
    };
    let missing = Path::new("/nowhere/at/all");
    let cases = [
        (good.clone(), vec![], Code::InvalidArgument),
        (good.clone(), [bind(&root), bind(&root)].concat(), Code::Unimplemented),
        (good.clone(), mount("erofs", "/x"), Code::Unimplemented),
        (good.clone(), mount("bind", "relative"), Code::InvalidArgument),
        (good.clone(), mount("overlay", "overlay"), Code::InvalidArgument),
        (good.clone(), overlay(&root, &[], &["lowerdir+=/secret"]), Code::Unimplemented),
        (good.clone(), overlay(&root, &[Path::new("secret")], &[]), Code::InvalidArgument),
        (good.clone(), bind(Path::new("/proc/version")), Code::InvalidArgument),
        (good.clone(), overlay(&root, &[Path::new("/proc/version")], &[]), Code::InvalidArgument),
        (good.clone(), bind(missing), Code::NotFound),
        (good.clone(), overlay(missing, &[], &[]), Code::NotFound),
        (good.clone(), overlay(&root, &[missing], &[]), Code::NotFound),
        (of(|d| d.media_type = "text/html".into()), bind(&root), Code::Unimplemented),
        (of(|d| d.media_type += "+encrypted"), bind(&root), Code::Unimplemented),
        (of(|d| d.digest = String::new()), bind(&root), Code::InvalidArgument),
        (of(|d| d.digest = "sha256:../../../../etc/passwd".into()), bind(&root), Code::InvalidArgument),
        (of(|d| d.digest = d.digest.to_uppercase()), bind(&root), Code::InvalidArgument),
        (of(|d| d.digest = d.digest.replace("sha256", "sha512")), bind(&root), Code::InvalidArgument),
        (of(|d| d.digest = format!("sha512:{}", "0".repeat(128))), bind(&root), Code::Unimplemented),
        (of(|d| d.digest = format!("sha256:{}", "0".repeat(64))), bind(&root), Code::NotFound),
        (of(|d| d.size += 1), bind(&root), Code::DataLoss),
    ];
    for (number, (descriptor, mounts, code)) in cases.into_iter().enumerate() {
        let status = server.apply(descriptor, mounts).expect_err("refused");
        assert_eq!(status.code(), code, "case {number}: {status:?}");
        assert!(!status.message().is_empty() && !status.message().contains('\n'), "{status:?}");
        for host in ["/nowhere", "relative", "/secret", root.to_str().expect("path")] {
            assert!(!status.message().contains(host), "case {number} names {host}: {status:?}");
        }
    }
    let nothing = server.call(ApplyRequest::default()).expect_err("refused");
    assert_eq!(nothing.code(), Code::InvalidArgument);
    assert_eq!(std::fs::read_dir(&root).expect("root").count(), 0);
    server.apply(good, bind(&root)).expect("applied");
}

#[test]
fn making_a_layer_is_left_to_the_next_differ() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let made = server.runtime.block_on(server.client.diff(DiffRequest::default()));
    assert_eq!(made.expect_err("not here").code(), Code::Unimplemented);
}

#[test]
fn a_damaged_layer_says_where_and_nothing_of_the_host() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let tar = Tarball::new().file("first", b"1").file("second", vec![b'x'; 100_000]).build();
    let compressed = gz(&tar);
    let mut damaged = compressed.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    let wrong_sum = Tarball::new().file("bad", b"1").with(|e| _ = e.checksum(Checksum::OffBy(1))).build();
    for bytes in [&damaged, &compressed[..compressed.len() / 2].to_vec(), &tar[..2_000].to_vec(), &wrong_sum] {
        let (root, blob) = (server.snapshot("1"), server.blob(GZIP, bytes));
        let status = server.apply(blob, bind(&root)).expect_err("damaged");
        assert_eq!(status.code(), Code::DataLoss, "{status:?}");
        assert!(!status.message().contains(server.dir.path().to_str().expect("path")), "{status:?}");
    }
}

#[test]
fn a_layer_that_contradicts_itself_is_a_failed_precondition() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let tar = Tarball::new;
    for (said, layer) in [
        ("ENOTDIR", tar().file("f", b"").file("f/x", b"")),
        ("ELOOP", tar().symlink("l", "l").file("l/x", b"")),
        ("ENAMETOOLONG", tar().file("n".repeat(256), b"")),
        ("h", tar().hardlink("h", "missing")),
    ] {
        let (root, blob) = (server.snapshot("1"), server.blob(OCI, &layer.build()));
        let status = server.apply(blob, bind(&root)).expect_err(said);
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
}

/// The header that says it comes before the one with the name.
#[test]
fn what_an_extended_header_is_refused_for_is_told_with_the_name() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let file = || Tarball::new().file("first", b"1").file("etc/second", b"2");
    for (said, layer, code) in [
        ("extended attribute", file().with(|e| _ = e.xattr("user.a", vec![b'x'; 70_000])), Code::FailedPrecondition),
        ("negative", file().with(|e| _ = e.pax("uid", "-1")), Code::DataLoss),
        ("holds no number", file().with(|e| _ = e.patch(108, b"rubbish")), Code::DataLoss),
    ] {
        let (root, blob) = (server.snapshot("1"), server.blob(OCI, &layer.build()));
        let status = server.apply(blob, bind(&root)).expect_err(said);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains("\"etc/second\"") && status.message().contains(said), "{status:?}");
    }
}

#[test]
fn a_status_has_a_bound_and_no_advice_that_nobody_at_a_pull_can_follow() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let long = "\u{1}".repeat(250) + "/";
    let climbs = Tarball::new().file("../x", b"");
    let names = Tarball::new().file(long.repeat(15) + "f", b"").hardlink(long.repeat(15) + "h", long.repeat(15) + "g");
    let deep = Tarball::new().file("d/".repeat(9_000) + "f", b"");
    for layer in [climbs, names, deep] {
        let (root, blob) = (server.snapshot("1"), server.blob(OCI, &layer.build()));
        let status = server.apply(blob, bind(&root)).expect_err("refused");
        let text = status.message();
        assert!(text.len() <= 4096 && !text.contains("Limits::") && !text.contains("kept inside"), "{text}");
    }
}

/// What nobody at a pull can do is told nobody: the archive is a blob, and no pipe leads to it.
#[test]
fn what_is_no_layer_is_told_in_words_for_who_pulls() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let tar = Tarball::new().file("f", vec![b'x'; 100_000]).build();
    let mut damaged = gz(&tar);
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    let zip = [&b"PK\x03\x04"[..], &[0; 1024]].concat();
    let cut = gz(&tar)[..100].to_vec();
    for (bytes, words) in
        [(xz(&tar), "made the image"), (zip, "made the image"), (damaged, "ctr content rm"), (cut, "ctr content rm")]
    {
        let (root, blob) = (server.snapshot("1"), server.blob(GZIP, &bytes));
        let status = server.apply(blob, bind(&root)).expect_err("no layer");
        let text = status.message();
        assert!(text.contains(words), "{text}");
        for word in ["pipe", "bsdtar", "get the archive", "mkdir"] {
            assert!(!text.contains(word) && !server.log().contains(word), "{text}");
        }
    }
}

#[test]
fn which_directory_of_a_snapshot_is_gone_is_told_and_not_its_name() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (upper, lower) = (server.snapshot("2"), server.snapshot("1"));
    let blob = server.blob(OCI, &Tarball::new().file("f", b"1").build());
    let gone = Path::new("/nowhere/at/all");
    for (mounts, words) in [
        (bind(gone), "opening the snapshot's directory: No such file"),
        (overlay(gone, &[&lower], &[]), "opening the snapshot's upper directory: No such file"),
        (overlay(&upper, &[&lower, gone], &[]), "opening the snapshot's lower directory 2 of 2: No such file"),
    ] {
        let status = server.apply(blob.clone(), mounts).expect_err("gone");
        assert!(status.message().contains(words) && !status.message().contains("/nowhere"), "{status:?}");
        let log = server.log();
        let line = log.lines().last().expect("a line");
        assert!(line.contains("/nowhere/at/all") && !line.contains("mkdir"), "{line}");
    }
}

#[test]
fn what_was_left_out_of_a_layer_is_in_its_line() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&["--results", "spec"]);
    let tar = Tarball::new().file("signed", b"1").with(|e| _ = e.xattr("security.ima", "1")).build();
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &tar));
    server.apply(blob, bind(&root)).expect("applied");
    let log = server.log();
    let line = log.lines().last().expect("a line");
    assert!(line.contains("events=1 ") && line.contains("security.ima") && line.contains("signed"), "{line}");
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_data_loss() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    std::fs::write(server.blob_path(&blob.digest), Tarball::new().file("f", b"2").build()).expect("exchanged");
    let status = server.apply(blob, bind(&root)).expect_err("another");
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains("sha256:"), "{status:?}");
}

#[test]
fn who_talks_rubbish_is_hung_up_on_and_nobody_else_hears_of_it() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    server.apply(blob.clone(), bind(&root)).expect("applied");
    let before = server.descriptors();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames: [&[u8]; 3] =
        [&[0xff; 4096], b"\0\0\x04\0\0\0\0\0\x01abcd", b"\0\0\x05\x01\x05\0\0\0\x01\xff\xff\xff\xff\xff"];
    let framed = frames.map(|frame| [preface, frame].concat());
    let mut all: Vec<&[u8]> = framed.iter().map(Vec::as_slice).collect();
    all.extend([&[0; 4096][..], &[0xff; 4096], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0"]);
    for rubbish in all {
        let mut stream = UnixStream::connect(server.path("diff.sock")).expect("connected");
        // It may hang up in the middle.
        let _ = stream.write_all(rubbish);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        server.apply(blob.clone(), bind(&server.snapshot("2"))).expect("applied, on another connection");
    }
    within(Duration::from_secs(20), "no descriptor more", || server.descriptors() <= before);
}

/// The one begins a group that never ends, the other is longer than what containerd sends.
#[test]
fn a_message_that_is_none_or_too_long_fails_its_call_alone() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    for (method, bytes, code) in [
        ("/containerd.services.diff.v1.Diff/Apply", vec![0x0b; 64], Code::Internal),
        ("/containerd.services.diff.v1.Diff/Apply", vec![0; 17 << 20], Code::OutOfRange),
        ("/containerd.services.diff.v1.Diff/Nothing", vec![], Code::Unimplemented),
    ] {
        let status = server.rubbish(method, bytes);
        assert_eq!(status.code(), code, "{status:?}");
    }
    server.apply(blob, bind(&root)).expect("applied");
}
