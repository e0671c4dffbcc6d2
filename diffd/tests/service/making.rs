//! Layers that are made: what is in them, where they go, and what keeps them there.

use crate::commit::{Commit, SECOND, at_rest};
use crate::containerd::Containerd;
use crate::interface::diff::DiffRequest;
use crate::interface::types::Mount;
use crate::operation::metrics;
use crate::server::{GZIP, OCI, ZSTD, bind, digest, overlay, within};
use crate::support::tree::{Tree, assert_same};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";

fn plain(media_type: &str, blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    match media_type {
        _ if media_type.ends_with("gzip") => {
            _ = flate2::read::GzDecoder::new(blob).read_to_end(&mut tar).expect("gzip")
        }
        _ if media_type.ends_with("zstd") => tar = zstd::decode_all(blob).expect("zstd"),
        _ => tar.extend(blob),
    }
    tar
}

/// Through the other method of the same service, on the same image.
#[test]
fn what_is_made_of_a_container_and_applied_is_the_container() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    let types = [OCI, GZIP, ZSTD, DOCKER, &format!("{DOCKER}.gzip"), &format!("{DOCKER}.zstd")];
    for (number, media_type) in types.into_iter().enumerate() {
        let request = DiffRequest { labels: HashMap::from([("l".into(), "v".into())]), ..commit.request(media_type) };
        let made = commit.make(request).expect(media_type);
        let blob = commit.blob(&made);
        assert_eq!((made.media_type.as_str(), made.size), (media_type, i64::try_from(blob.len()).expect("small")));
        assert_eq!((digest(&blob), made.annotations.len()), (made.digest.clone(), 0));
        let labels = commit.containerd.kept().blobs[&made.digest].labels.clone();
        let tar = plain(media_type, &blob);
        let uncompressed = (tar != blob).then(|| digest(&tar));
        assert_eq!(labels.get("containerd.io/uncompressed"), uncompressed.as_ref(), "{media_type}");
        commit.containerd.kept().blobs.clear();
        let (again, lowers) = (commit.server.snapshot(&format!("again-{number}")), commit.lowers.clone());
        let stored = commit.server.blob(media_type, &blob);
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        let applied = commit.server.apply(stored, overlay(&again, &lowers, &[])).expect("applied");
        assert_eq!(applied.digest, digest(&tar));
        let [whole, again] = [&commit.upper, &again].map(|upper| shown(upper, &lowers));
        assert_same(media_type, &again, &whole, &[]);
    }
}

/// What overlayfs makes of it.
fn shown(upper: &Path, lowers: &[&Path]) -> Tree {
    // The snapshotter's own, and in no layer.
    at_rest(upper);
    let dir = tempfile::tempdir().expect("directory");
    let work = upper.with_file_name("work-of-the-test");
    fs::create_dir_all(&work).expect("directory");
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", lowers.join(":"), upper.display(), work.display());
    let options = std::ffi::CString::new(options).expect("no NUL");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", dir.path(), "overlay", flags, options.as_c_str()).expect("overlay");
    let tree = Tree::read(dir.path());
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    tree
}

#[test]
fn without_a_media_type_it_is_gzip_and_says_so_in_one_line() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    let made = commit.make(commit.request("")).expect("made");
    assert_eq!(made.media_type, GZIP);
    let (log, tar) = (commit.server.log(), plain(GZIP, &commit.blob(&made)));
    let line = log.lines().find(|line| line.contains(" made ")).expect("a line");
    for said in [
        format!("digest=\"{}\"", made.digest),
        format!("diff_id=\"{}\"", digest(&tar)),
        format!("bytes_out={} bytes_tar={}", made.size, tar.len()),
        "namespace=\"n\"".into(),
        "isolation=Pivot".into(),
    ] {
        assert!(line.contains(&said), "{said} is not in {line}");
    }
}

#[test]
fn a_lease_of_our_own_keeps_it_for_an_hour_and_the_callers_own_as_long_as_it_likes() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    commit.make(commit.request(OCI)).expect("made");
    {
        let mut kept = commit.containerd.kept();
        let [(id, labels)] = [kept.leases.drain().next().expect("a lease")];
        let until = &labels["containerd.io/gc.expire"];
        assert!(until.len() >= 20 && until.contains('T') && until.ends_with('Z'), "{until}");
        assert_eq!((&kept.called_under, &kept.namespaces), (&vec![id], &vec!["n".to_owned()]));
        kept.called_under.clear();
        kept.blobs.clear();
    }
    commit.make_under(commit.request(OCI), Some("theirs")).expect("made");
    let kept = commit.containerd.kept();
    assert_eq!((kept.leases.len(), kept.ingests.len()), (0, 0));
    assert_eq!(kept.called_under, ["theirs"]);
}

#[test]
fn what_is_there_already_is_made_and_gets_the_label_that_it_lacks() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    let first = commit.make(commit.request(GZIP)).expect("made");
    let label = commit.containerd.kept().blobs.get_mut(&first.digest).expect("a blob").labels.drain().next();
    assert_eq!(commit.make(commit.request(GZIP)).expect("made"), first);
    let kept = commit.containerd.kept();
    assert_eq!(kept.blobs[&first.digest].labels, label.into_iter().collect());
    assert!(kept.ingests.is_empty());
}

#[test]
fn nothing_changed_is_an_empty_archive() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    let made = commit.make(commit.request(OCI)).expect("made");
    assert_eq!(commit.blob(&made), vec![0; 1024]);
}

#[test]
fn nothing_in_it_is_later_than_the_epoch() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    let epoch = Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 5 });
    let made = commit.make(DiffRequest { source_date_epoch: epoch, ..commit.request(OCI) }).expect("made");
    let times: Vec<u64> = headers(&commit.blob(&made)).into_iter().map(|(_, time)| time).collect();
    assert!(times.contains(&1_000_000_000) && times.iter().all(|time| [0, 1_000_000_000].contains(time)), "{times:?}");
    std::thread::sleep(SECOND);
    fs::File::open(commit.upper.join("new"))
        .and_then(|dir| dir.set_modified(std::time::SystemTime::now()))
        .expect("time");
    let again = commit.make(DiffRequest { source_date_epoch: epoch, ..commit.request(OCI) }).expect("made");
    assert_eq!(again.digest, made.digest);
}

/// Name and time of each entry of an archive that has only short names.
fn headers(tar: &[u8]) -> Vec<(String, u64)> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches('\0').to_owned();
    let octal = |field: &[u8]| {
        let digits = std::str::from_utf8(field).expect("digits").trim_matches(|c| c == '\0' || c == ' ');
        u64::from_str_radix(digits, 8).expect("a number")
    };
    let (mut all, mut at) = (Vec::new(), 0);
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        if header[156] != b'x' {
            all.push((text(&header[..100]), octal(&header[136..148])));
        }
        at += 512 + usize::try_from(octal(&header[124..136])).expect("small").next_multiple_of(512);
    }
    all
}

#[test]
fn layers_that_are_made_are_counted_apart() {
    let dir = tempfile::tempdir().expect("directory");
    let place = dir.path().join("metrics.sock");
    let words = ["--metrics", place.to_str().expect("path")];
    let Some(mut commit) = Commit::of(Containerd::start(), &words) else { return };
    commit.make(commit.request(OCI)).expect("made");
    commit.make(DiffRequest { right: vec![], ..commit.request(OCI) }).expect_err("no mounts");
    let text = metrics(&place);
    for line in [
        "untar_in_root_applies_total 0",
        "untar_in_root_diffs_total 1",
        "untar_in_root_diff_failures_total{code=\"InvalidArgument\"} 1",
        "untar_in_root_diff_out_bytes_total 1024",
        "untar_in_root_diff_tar_bytes_total 1024",
        "untar_in_root_in_flight 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
    }
}

/// Whoever owns a directory can set those of the other prefix: they are data there.
#[test]
fn the_mounts_say_which_marks_are_in_force() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    fs::create_dir_all(commit.upper.join("etc/old")).expect("directory");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(commit.upper.join("etc"), "user.overlay.opaque", b"y", flags).expect("mark");
    let made = commit.make(commit.request(OCI)).expect("made");
    let plain: Vec<String> = headers(&commit.blob(&made)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(plain, ["etc/", "etc/old/"]);
    let mut request = commit.request(OCI);
    request.right[0].options.push("userxattr".into());
    let made = commit.make(request).expect("made");
    let marked: Vec<String> = headers(&commit.blob(&made)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(marked, ["etc/", "etc/.wh.gone", "etc/old/"]);
}

/// As the native snapshotter has them, and a bottom layer.
#[test]
fn two_directories_are_compared() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    let [_, left] = commit.lowers.clone();
    let right = commit.server.snapshot("copy");
    fs::create_dir_all(right.join("etc/old")).expect("directory");
    fs::write(right.join("more"), "3").expect("file");
    let request = |left: Vec<Mount>| DiffRequest { left, right: bind(&right), ..commit.request(OCI) };
    let (copy, bottom) = (request(bind(&left)), request(vec![]));
    let names = |tar: Vec<u8>| -> Vec<String> { headers(&tar).into_iter().map(|(name, _)| name).collect() };
    let made = commit.make(copy).expect("made");
    let copied = names(commit.blob(&made));
    assert!(copied.contains(&"etc/.wh.gone".into()) && copied.contains(&"more".into()), "{copied:?}");
    assert!(!copied.contains(&"etc/old/".into()), "{copied:?}");
    let made = commit.make(bottom).expect("made");
    assert_eq!(names(commit.blob(&made)), ["etc/", "etc/old/", "more"]);
}

#[test]
fn fifty_at_once_are_all_made_and_leave_no_descriptor() {
    let Some(mut commit) = Commit::of(Containerd::start(), &["--max-parallel", "2"]) else { return };
    commit.change();
    commit.make(commit.request(GZIP)).expect("made");
    let before = commit.server.descriptors();
    let calls: Vec<_> = (0..50).map(|_| commit.start()).collect();
    for call in calls {
        commit.server.runtime.block_on(call).expect("joined").expect("made");
    }
    within(SECOND * 10, "no descriptor more", || commit.server.descriptors() <= before);
    assert_eq!((commit.server.helpers(), commit.containerd.kept().ingests.len()), (0, 0));
}
