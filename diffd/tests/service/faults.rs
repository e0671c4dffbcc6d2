//! What happens on a machine at night.

use crate::interface::diff::ApplyRequest;
use crate::server::{OCI, Server, bind, within};
use crate::support::privilege::{need_root, need_tools};
use crate::support::tarball::Tarball;
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_full_snapshot_directory_is_resource_exhausted() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let root = server.snapshot("1");
    rustix::mount::mount("tmpfs", &root, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=1m")).expect("tmpfs");
    let blob = server.blob(OCI, &Tarball::new().file("big", vec![1; 4 << 20]).build());
    let status = server.apply(blob, bind(&root));
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    let status = status.expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("ENOSPC") && status.message().contains("big"), "{status:?}");
}

#[test]
fn a_layer_that_takes_longer_than_it_may_is_resource_exhausted() {
    if !need_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "[limits]\ntimeout-seconds = 1\n").expect("configuration");
    let mut server = Server::start(&["--config", file.to_str().expect("path")]);
    let (root, blob) = (server.snapshot("1"), server.endless());
    let status = server.apply(blob, bind(&root)).expect_err("late");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

/// A helper that is stopped does no more than one whose storage hangs, and nobody hears of that either.
#[test]
fn a_layer_of_which_nothing_moves_is_given_up() {
    if !need_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "max-parallel = 1\n[limits]\nstall-seconds = 1\n").expect("configuration");
    let mut server = Server::start(&["--config", file.to_str().expect("path")]);
    let call = server.call_endless();
    within(20 * SECOND, "a helper", || server.helpers() == 1);
    server.signal_helper(Signal::SIGSTOP);
    let status = server.runtime.block_on(call).expect("joined").expect_err("it would take for ever");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("stall-seconds"), "{status:?}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("not applied")).expect("a line");
    assert!(line.contains("code=Unavailable") && line.contains("hangs"), "{line}");
    // Killed in the middle of gigabytes of writing, which a busy disk lets go of when it can.
    within(60 * SECOND, "no helper", || server.helpers() == 0);
    // Its turn has ended with it.
    let (root, blob) = (server.snapshot("2"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    server.apply(blob, bind(&root)).expect("applied");
}

/// A file system of a test's own that takes nothing while it is frozen, and lets go of nobody who waits for it.
struct Frozen {
    place: PathBuf,
    /// Thaws it when its input ends, whatever becomes of the test.
    thaws: Child,
}

impl Frozen {
    fn at(place: &Path) -> Frozen {
        let image = place.with_extension("ext4");
        fs::File::create(&image).expect("image").set_len(64 << 20).expect("holes");
        run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), place.as_os_str()]);
        let thaw = "read line; exec fsfreeze --unfreeze \"$0\"";
        let thaws = Command::new("sh").args(["-c", thaw]).arg(place).stdin(Stdio::piped()).spawn().expect("sh");
        run("fsfreeze", &["--freeze".as_ref(), place.as_os_str()]);
        Frozen { place: place.into(), thaws }
    }

    fn thaw(&mut self) {
        drop(self.thaws.stdin.take());
        let _ = self.thaws.wait();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        let _ = rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH);
    }
}

fn run(program: &str, words: &[&OsStr]) {
    assert!(Command::new(program).args(words).status().expect(program).success(), "{program}");
}

/// No signal ends the helper then, and its turn is not given back; who calls is answered all the same.
#[test]
fn storage_that_hangs_is_told_and_is_used_again_when_it_does_not() {
    if !need_root() || !need_tools(&["mkfs.ext4", "fsfreeze"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "max-parallel = 1\n[limits]\nstall-seconds = 1\n").expect("configuration");
    let mut server = Server::start(&["--config", file.to_str().expect("path")]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    let mut frozen = Frozen::at(&root);
    for said in ["nothing of it was read or written", "all turns"] {
        let status = server.apply(blob.clone(), bind(&root)).expect_err("it hangs");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
        assert_eq!(server.helpers(), 1, "it is held by the kernel");
    }
    frozen.thaw();
    within(20 * SECOND, "no helper", || server.helpers() == 0);
    within(20 * SECOND, "applied", || server.apply(blob.clone(), bind(&root)).is_ok());
    assert!(root.join("f").exists());
}

#[test]
fn a_call_that_is_given_up_ends_its_helper() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&["--max-parallel", "1"]);
    let call = server.call_endless();
    within(20 * SECOND, "a helper", || server.helpers() == 1);
    call.abort();
    within(SECOND * 10, "no helper", || server.helpers() == 0);
    within(SECOND * 10, "a line", || server.log().contains("given up"));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("given up")).expect("a line");
    assert!(line.contains("digest=") && line.contains("sha256:") && line.contains("code=Cancelled"), "{line}");
    // Its turn has ended with it.
    let (root, blob) = (server.snapshot("2"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    server.apply(blob, bind(&root)).expect("applied");
}

/// The time of a layer is its own, whoever was before it.
#[test]
fn waiting_for_a_turn_is_no_time_of_applying() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&["--max-parallel", "1", "--log", "json"]);
    let first = server.call_endless();
    within(20 * SECOND, "a helper", || server.helpers() == 1);
    let (root, blob) = (server.snapshot("2"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    let (mut client, diff) = (server.client.clone(), Some(blob));
    let request = ApplyRequest { diff, mounts: bind(&root), ..Default::default() };
    let second = server.runtime.spawn(async move { client.apply(request).await });
    std::thread::sleep(SECOND * 2);
    first.abort();
    server.runtime.block_on(second).expect("joined").expect("applied");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("\"applied\"")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let (waited, took) = (line["waited_ms"].as_u64().expect("a number"), line["ms"].as_u64().expect("a number"));
    assert!(waited >= 1000 && took < waited, "{line}");
}

#[test]
fn a_helper_that_is_killed_fails_its_own_call_alone() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let call = server.call_endless();
    within(20 * SECOND, "a helper", || server.helpers() == 1);
    server.signal_helper(Signal::SIGKILL);
    let status = server.runtime.block_on(call).expect("joined").expect_err("killed");
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let (root, blob) = (server.snapshot("2"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    server.apply(blob, bind(&root)).expect("applied");
}

#[test]
fn many_calls_at_once_are_all_applied_and_leave_nothing() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&["--max-parallel", "3"]);
    let blob = server.blob(OCI, &Tarball::new().file("f", b"1").build());
    let before = (0..2).map(|n| warm(&mut server, n)).last();
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let mounts = bind(&server.snapshot(&n.to_string()));
            let (mut client, diff) = (server.client.clone(), Some(blob.clone()));
            server.runtime.spawn(async move { client.apply(ApplyRequest { diff, mounts, ..Default::default() }).await })
        })
        .collect();
    let mut most = 0;
    for call in calls {
        most = most.max(server.helpers());
        server.runtime.block_on(call).expect("joined").expect("applied");
    }
    assert!(most <= 3, "{most} helpers at once");
    within(SECOND * 5, "no helper", || server.helpers() == 0);
    within(SECOND * 5, "no descriptor more", || Some(server.descriptors()) <= before);
    assert!((0..100).all(|n| server.path(&format!("snapshots/{n}/fs/f")).exists()));
}

/// How many descriptors the service has after a call.
fn warm(server: &mut Server, n: u32) -> usize {
    let blob = server.blob(OCI, &Tarball::new().file("f", b"1").build());
    let root = server.snapshot(&format!("warm-{n}"));
    server.apply(blob, bind(&root)).expect("applied");
    server.descriptors()
}
