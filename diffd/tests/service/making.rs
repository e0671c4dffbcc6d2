//! Layers that are made: what is in them, where they go, and what is left where they are not.

use crate::containerd::{Containerd, Mood};
use crate::interface::diff::DiffRequest;
use crate::interface::types::{Descriptor, Mount};
use crate::operation::metrics;
use crate::server::{GZIP, OCI, Server, ZSTD, bind, digest, overlay, within};
use crate::support::privilege::need_root;
use crate::support::tree::{Tree, assert_same};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::{Code, Request, Status};

const SECOND: Duration = Duration::from_secs(1);
const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A time of a layer: it has no fractions.
const WHOLE: rustix::fs::Timespec = rustix::fs::Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };

fn at_rest(path: &Path) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("time");
}

/// A service, what it takes for containerd, and a container on an image of two layers.
struct Commit {
    server: Server,
    containerd: Containerd,
    upper: PathBuf,
    lowers: [PathBuf; 2],
}

impl Commit {
    fn of(containerd: Containerd, words: &[&str]) -> Option<Commit> {
        if !need_root() {
            return None;
        }
        let address = containerd.socket.to_str().expect("path");
        let server = Server::start(&[&["--containerd-address", address], words].concat());
        let [bottom, middle, upper] = ["1", "2", "3"].map(|name| server.snapshot(name));
        fs::create_dir_all(bottom.join("etc/old")).expect("directory");
        fs::write(bottom.join("etc/gone"), "1").expect("file");
        fs::write(middle.join("kept"), "2").expect("file");
        Some(Commit { server, containerd, upper, lowers: [middle, bottom] })
    }

    /// As a container changes it: files, a link, a whiteout, an opaque directory, an attribute.
    fn change(&self) {
        let upper = &self.upper;
        fs::create_dir_all(upper.join("etc/old")).expect("directory");
        fs::create_dir(upper.join("new")).expect("directory");
        fs::write(upper.join("new/tool"), vec![7; 3 << 20]).expect("file");
        fs::set_permissions(upper.join("new/tool"), fs::Permissions::from_mode(0o4755)).expect("mode");
        fs::hard_link(upper.join("new/tool"), upper.join("new/same")).expect("link");
        symlink("tool", upper.join("new/link")).expect("symlink");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join("etc/old"), "trusted.overlay.opaque", b"y", flags).expect("mark");
        rustix::fs::setxattr(upper.join("new"), "user.said", b"by the container", flags).expect("attribute");
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
        rustix::fs::mknodat(rustix::fs::CWD, upper.join("etc/gone"), kind, mode, 0).expect("whiteout");
        for dir in ["etc/old", "etc", "new/tool", "new"] {
            at_rest(&upper.join(dir));
        }
        let (link, times) =
            (upper.join("new/link"), rustix::fs::Timestamps { last_access: WHOLE, last_modification: WHOLE });
        rustix::fs::utimensat(rustix::fs::CWD, link, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("time");
    }

    /// What containerd sends for it.
    fn request(&self, media_type: &str) -> DiffRequest {
        let lowers: Vec<&Path> = self.lowers.iter().map(PathBuf::as_path).collect();
        let right = overlay(&self.upper, &lowers, &["index=off", "workdir=/nowhere"]);
        DiffRequest { left: view(&lowers), right, media_type: media_type.into(), ..DiffRequest::default() }
    }

    fn make(&mut self, request: DiffRequest) -> Result<Descriptor, Status> {
        self.make_under(request, None)
    }

    fn make_under(&mut self, request: DiffRequest, lease: Option<&str>) -> Result<Descriptor, Status> {
        let made = self.server.runtime.block_on(self.server.client.diff(called(request, lease)))?;
        Ok(made.into_inner().diff.expect("a descriptor"))
    }

    fn blob(&self, made: &Descriptor) -> Vec<u8> {
        self.containerd.kept().blobs[&made.digest].bytes.clone()
    }

    /// A call that goes on.
    fn start(&self) -> tokio::task::JoinHandle<Result<(), Status>> {
        let (mut client, request) = (self.server.client.clone(), called(self.request(OCI), None));
        self.server.runtime.spawn(async move { client.diff(request).await.map(drop) })
    }

    /// It has failed with this code, and nothing is left of it.
    #[track_caller]
    fn failed(&self, what: &str, outcome: Result<Descriptor, Status>, code: Code, said: &str) {
        let status = outcome.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(status.message().contains(said), "{what}: {said:?} is not in {status:?}");
        let host = self.server.dir.path().to_str().expect("path");
        assert!(!status.message().contains(host) && !status.message().contains("/var/lib"), "{what}: {status:?}");
        within(SECOND * 10, "nothing is left", || self.containerd.has_nothing() && self.server.helpers() == 0);
        assert!(self.containerd.kept().blobs.is_empty(), "{what}");
        let log = self.server.log();
        let line = log.lines().rev().find(|line| line.contains("not made")).expect("a line");
        assert!(line.contains(&format!("code={code:?}")) && line.contains("namespace=\"n\""), "{what}: {line}");
    }
}

fn called(request: DiffRequest, lease: Option<&str>) -> Request<DiffRequest> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("containerd-namespace", "n".parse().expect("a value"));
    if let Some(lease) = lease {
        request.metadata_mut().insert("containerd-lease", lease.parse().expect("a value"));
    }
    request
}

/// What is shown of committed snapshots.
fn view(lowers: &[&Path]) -> Vec<Mount> {
    if let [only] = lowers {
        return bind(only);
    }
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    let options = vec!["index=off".into(), format!("lowerdir={}", lowers.join(":"))];
    vec![Mount { r#type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}

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
fn what_cannot_be_made_has_a_code_and_leaves_nothing() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    let good = commit.request(OCI);
    let (elsewhere, missing) = (commit.server.snapshot("9"), Path::new("/nowhere/at/all"));
    let lowers = |commit: &Commit| commit.lowers.clone();
    let [middle, bottom] = lowers(&commit);
    let with = |change: &dyn Fn(&mut DiffRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let cases = [
        (with(&|r| r.media_type = "text/html".into()), Code::Unimplemented, "text/html"),
        (with(&|r| r.media_type = format!("{GZIP}+encrypted")), Code::Unimplemented, "not made"),
        (with(&|r| r.right.clear()), Code::InvalidArgument, "no mounts"),
        (with(&|r| r.right.extend(bind(&elsewhere))), Code::Unimplemented, "2 mounts"),
        (with(&|r| r.left = bind(&elsewhere)), Code::Unimplemented, "one layer more"),
        (with(&|r| r.left.clear()), Code::Unimplemented, "one layer more"),
        (with(&|r| r.right = bind(Path::new("relative"))), Code::InvalidArgument, "absolute"),
        (with(&|r| r.right[0].r#type = "erofs".into()), Code::Unimplemented, "erofs"),
        (with(&|r| r.right = overlay(missing, &[&middle, &bottom], &[])), Code::NotFound, "upper directory"),
        (
            with(&|r| {
                r.left = view(&[missing, &bottom]);
                r.right = overlay(&elsewhere, &[missing, &bottom], &[]);
            }),
            Code::NotFound,
            "lower directory 1 of 2",
        ),
        (
            with(&|r| {
                r.left = bind(Path::new("/proc/version"));
                r.right = bind(&elsewhere);
            }),
            Code::InvalidArgument,
            "",
        ),
    ];
    for (request, code, said) in cases {
        let what = format!("{:?} {:?}", request.left, request.right);
        let outcome = commit.make(request);
        commit.failed(&what, outcome, code, said);
    }
}

#[test]
fn a_name_that_would_delete_and_a_mark_that_cannot_be_followed_fail_with_their_entry() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    fs::write(commit.upper.join(".wh.kept"), "").expect("file");
    let outcome = commit.make(commit.request(OCI));
    commit.failed("a reserved name", outcome, Code::FailedPrecondition, ".wh.kept");
    fs::remove_file(commit.upper.join(".wh.kept")).expect("removed");
    fs::write(commit.upper.join("moved"), "").expect("file");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(commit.upper.join("moved"), "trusted.overlay.metacopy", b"", flags).expect("mark");
    let outcome = commit.make(commit.request(OCI));
    commit.failed("a mark", outcome, Code::FailedPrecondition, "metacopy");
}

#[test]
fn a_store_that_refuses_fails_the_call_and_keeps_nothing() {
    let full = "write /var/lib/containerd/x/ingest/data: no space left on device";
    let cases = [
        (Mood::RefusesToBegin(Status::unavailable("ref is locked")), Code::Unavailable, "ref is locked"),
        (Mood::RefusesToBegin(Status::unimplemented("no such thing")), Code::Internal, "no such thing"),
        (Mood::RefusesBeyond(1 << 20, Status::unknown(full)), Code::ResourceExhausted, "no space left on device"),
        (Mood::RefusesBeyond(0, Status::permission_denied("no")), Code::PermissionDenied, "no"),
        (Mood::RefusesToCommit(Status::unknown("rename: disk quota exceeded")), Code::ResourceExhausted, "quota"),
        (Mood::RefusesToCommit(Status::failed_precondition("unexpected")), Code::FailedPrecondition, "unexpected"),
        (Mood::HangsUpBeyond(1 << 20), Code::Unavailable, "ended the writing"),
        (Mood::Bends, Code::DataLoss, "other bytes"),
    ];
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    commit.change();
    for (mood, code, said) in cases {
        commit.containerd.kept().mood = mood;
        let outcome = commit.make(commit.request(OCI));
        commit.failed(said, outcome, code, said);
    }
    commit.containerd.kept().mood = Mood::Takes;
    commit.make(commit.request(OCI)).expect("made");
}

/// Somebody else writes to it.
#[test]
fn an_ingest_of_the_callers_name_that_was_refused_stays_whose_it_is() {
    let locked = Mood::RefusesToBegin(Status::unavailable("locked"));
    let Some(mut commit) = Commit::of(Containerd::start().in_the_mood(locked), &[]) else { return };
    commit.containerd.kept().ingests.insert("theirs".into(), vec![1]);
    let request = DiffRequest { r#ref: "theirs".into(), ..commit.request(OCI) };
    let status = commit.make(request.clone()).expect_err("locked");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    within(SECOND * 10, "no lease", || commit.containerd.kept().leases.is_empty());
    assert!(commit.containerd.kept().ingests.contains_key("theirs"));
    commit.containerd.kept().mood = Mood::Takes;
    // What was there of it is begun anew.
    let made = commit.make(request).expect("made");
    assert_eq!(commit.blob(&made), vec![0; 1024]);
}

#[test]
fn without_containerd_it_is_unavailable_and_layers_are_applied_all_the_same() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&["--containerd-address", "/nowhere/containerd.sock"]);
    let (upper, lower) = (server.snapshot("2"), server.snapshot("1"));
    let (left, right) = (bind(&lower), overlay(&upper, &[&lower], &[]));
    let request = called(DiffRequest { left, right, ..DiffRequest::default() }, None);
    let status = server.runtime.block_on(server.client.diff(request)).expect_err("nobody there");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("containerd-address") && !status.message().contains("/nowhere"), "{status:?}");
    assert!(server.log().contains("/nowhere/containerd.sock"), "{}", server.log());
    let blob = server.blob(OCI, &[0; 1024]);
    server.apply(blob, bind(&upper)).expect("applied");
}

/// As containerd 1.7 calls.
#[test]
fn without_a_namespace_another_differ_is_asked() {
    let Some(mut commit) = Commit::of(Containerd::start(), &[]) else { return };
    let made = commit.server.runtime.block_on(commit.server.client.diff(commit.request(OCI)));
    let status = made.expect_err("not here");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("walking"), "{status:?}");
    assert!(commit.containerd.kept().namespaces.is_empty());
}

#[test]
fn a_call_that_is_given_up_leaves_no_helper_no_ingest_and_no_lease() {
    let stalls = Containerd::start().in_the_mood(Mood::StallsBeyond(1 << 20));
    let Some(mut commit) = Commit::of(stalls, &["--max-parallel", "1"]) else { return };
    commit.change();
    fs::write(commit.upper.join("large"), vec![1; 32 << 20]).expect("file");
    let call = commit.start();
    within(SECOND * 20, "it is under way", || commit.server.helpers() == 1 && !commit.containerd.has_nothing());
    call.abort();
    within(SECOND * 10, "nothing", || commit.server.helpers() == 0 && commit.containerd.has_nothing());
    within(SECOND * 10, "a line", || commit.server.log().contains("given up"));
    // Its turn has ended with it.
    commit.containerd.kept().mood = Mood::Takes;
    commit.make(commit.request(OCI)).expect("made");
}

#[test]
fn a_helper_that_is_killed_fails_its_call_and_leaves_nothing() {
    let stalls = Containerd::start().in_the_mood(Mood::StallsBeyond(1 << 20));
    let Some(commit) = Commit::of(stalls, &[]) else { return };
    fs::write(commit.upper.join("large"), vec![1; 32 << 20]).expect("file");
    let call = commit.start();
    within(SECOND * 20, "a helper", || commit.server.helpers() == 1);
    within(SECOND * 20, "bytes", || commit.containerd.kept().ingests.values().any(|bytes| !bytes.is_empty()));
    commit.server.signal_helper(Signal::SIGKILL);
    commit.containerd.kept().mood = Mood::Takes;
    let outcome = commit.server.runtime.block_on(call).expect("joined").map(|()| Descriptor::default());
    commit.failed("helper killed", outcome, Code::Internal, "helper has ended");
}

/// A container that nobody has paused.
#[test]
fn what_changes_meanwhile_is_told_with_what_helps_and_is_no_layer() {
    let stalls = Containerd::start().in_the_mood(Mood::StallsBeyond(1 << 20));
    let Some(commit) = Commit::of(stalls, &[]) else { return };
    fs::create_dir(commit.upper.join("busy")).expect("directory");
    fs::write(commit.upper.join("busy/large"), vec![1; 64 << 20]).expect("file");
    let call = commit.start();
    within(SECOND * 20, "bytes", || commit.containerd.kept().ingests.values().any(|bytes| !bytes.is_empty()));
    let large = fs::File::options().write(true).open(commit.upper.join("busy/large")).expect("file");
    large.set_len(1 << 20).expect("shorter");
    commit.containerd.kept().mood = Mood::Takes;
    let outcome = commit.server.runtime.block_on(call).expect("joined").map(|()| Descriptor::default());
    commit.failed("a change", outcome, Code::FailedPrecondition, "busy/large");
    assert!(commit.server.log().contains("pause or stop the container"), "{}", commit.server.log());
}

/// Of both kinds together no more run than may.
#[test]
fn making_and_applying_share_their_turns() {
    let stalls = Containerd::start().in_the_mood(Mood::StallsBeyond(0));
    let Some(commit) = Commit::of(stalls, &["--max-parallel", "1"]) else { return };
    fs::write(commit.upper.join("large"), vec![1; 32 << 20]).expect("file");
    let call = commit.start();
    within(SECOND * 20, "a helper", || commit.server.helpers() == 1);
    let (root, blob) = (commit.server.snapshot("waits"), commit.server.blob(OCI, &[0; 1024]));
    let request = crate::interface::diff::ApplyRequest { diff: Some(blob), mounts: bind(&root), ..Default::default() };
    let mut client = commit.server.client.clone();
    let second = commit.server.runtime.spawn(async move { client.apply(request).await.map(drop) });
    std::thread::sleep(SECOND);
    assert!(!second.is_finished() && commit.server.helpers() == 1);
    commit.containerd.kept().mood = Mood::Takes;
    commit.server.runtime.block_on(call).expect("joined").expect("made");
    commit.server.runtime.block_on(second).expect("joined").expect("applied");
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
