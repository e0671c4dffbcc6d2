//! Layers that are not made: the code, one line, and that nothing is left of them, with containerd neither.

use crate::commit::{Commit, SECOND, called, view};
use crate::containerd::{Containerd, Mood};
use crate::interface::diff::{ApplyRequest, DiffRequest};
use crate::interface::types::Descriptor;
use crate::server::{GZIP, OCI, Server, bind, overlay, within};
use crate::support::privilege::need_root;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use tonic::{Code, Status};

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
    let request = ApplyRequest { diff: Some(blob), mounts: bind(&root), ..Default::default() };
    let mut client = commit.server.client.clone();
    let second = commit.server.runtime.spawn(async move { client.apply(request).await.map(drop) });
    std::thread::sleep(SECOND);
    assert!(!second.is_finished() && commit.server.helpers() == 1);
    commit.containerd.kept().mood = Mood::Takes;
    commit.server.runtime.block_on(call).expect("joined").expect("made");
    commit.server.runtime.block_on(second).expect("joined").expect("applied");
}

/// containerd hangs, and holds nobody up for ever.
#[test]
fn a_store_that_stalls_is_given_up() {
    let (dir, stalls) =
        (tempfile::tempdir().expect("directory"), Containerd::start().in_the_mood(Mood::StallsBeyond(0)));
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "[limits]\nstall-seconds = 1\n").expect("configuration");
    let Some(mut commit) = Commit::of(stalls, &["--config", file.to_str().expect("path")]) else { return };
    fs::write(commit.upper.join("large"), vec![1; 32 << 20]).expect("file");
    let outcome = commit.make(commit.request(OCI));
    commit.failed("a stall", outcome, Code::Unavailable, "containerd has not answered for 1 s");
}
