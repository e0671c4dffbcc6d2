//! The service under its manager: signals, the socket, the configuration, what it tells a monitor.

use crate::interface::diff::ApplyRequest;
use crate::server::{GZIP, OCI, Server, bind, command, overlay, within};
use crate::support::privilege::need_root;
use crate::support::tarball::{Tarball, gz};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

#[test]
fn what_runs_is_finished_at_sigterm_and_nothing_more_is_taken() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let root = server.snapshot("1");
    let mut tar = Tarball::new();
    for n in 0..20_000 {
        tar = tar.file(format!("f{n}"), b"1");
    }
    let request =
        ApplyRequest { diff: Some(server.blob(GZIP, &gz(&tar.build()))), mounts: bind(&root), ..Default::default() };
    let mut client = server.client.clone();
    let call = server.runtime.spawn(async move { client.apply(request).await.map(|_| ()) });
    within(LONG, "a helper", || server.helpers() == 1);
    server.signal(Signal::SIGTERM);
    server.runtime.block_on(call).expect("joined").expect("finished");
    assert!(root.join("f19999").exists());
    within(LONG, "the end", || server.child.try_wait().expect("waited").is_some());
    assert!(server.child.wait().expect("status").success());
    assert!(!server.path("diff.sock").exists());
}

#[test]
fn who_stays_connected_does_not_hold_up_the_end() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let silent = UnixStream::connect(server.path("diff.sock")).expect("connected");
    // Speaks HTTP/2 as far as it must, and hears nothing of an end.
    let mut deaf = UnixStream::connect(server.path("diff.sock")).expect("connected");
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("said");
    let mut frame = [0; 9];
    deaf.read_exact(&mut frame).expect("its settings");
    server.signal(Signal::SIGTERM);
    within(LONG, "the end", || server.child.try_wait().expect("waited").is_some());
    assert!(server.child.wait().expect("status").success(), "{}", server.log());
    drop((silent, deaf));
}

#[test]
fn what_runs_is_given_up_at_a_second_sigterm() {
    if !need_root() {
        return;
    }
    let mut server = Server::start(&[]);
    let call = server.call_endless();
    within(LONG, "a helper", || server.helpers() == 1);
    server.signal(Signal::SIGTERM);
    within(LONG, "it is heard", || server.log().contains("ending when"));
    assert_eq!(server.helpers(), 1);
    // Nobody waits at a socket that nobody serves.
    UnixStream::connect(server.path("diff.sock")).expect_err("its name has gone");
    server.signal(Signal::SIGTERM);
    within(LONG, "the end", || server.child.try_wait().expect("waited").is_some());
    assert!(!server.child.wait().expect("status").success());
    let log = server.log();
    let line = log.lines().find(|line| line.contains("given up by its caller, or at the end")).expect("a line");
    assert!(line.contains("code=Cancelled") && line.contains("sha256:"), "{log}");
    server.runtime.block_on(call).expect("joined").expect_err("given up");
    assert!(!server.path("diff.sock").exists());
}

#[test]
fn the_units_capabilities_are_enough() {
    if !need_root() {
        return;
    }
    let unit = include_str!("../../systemd/untar-in-root-diffd.service");
    let bound = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a bound");
    let bound = format!("-all,+{}", bound.to_lowercase().replace("cap_", "").replace(' ', ",+"));
    let mut server =
        Server::start_by(&["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set", &bound, "--"]);
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tarball::new().dir("d/").with(|e| _ = e.mode(0o1000).uid(7)).char_dev("d/null", 1, 3);
    let tar = tar.file("d/s", b"1").with(|e| _ = e.mode(0o6755).uid(5).gid(6));
    let tar = tar.file("d/c", b"").with(|e| _ = e.xattr("security.capability", capability).xattr("security.x", "1"));
    let tar = tar.dir("o/").opaque("o").whiteout("gone").build();
    let (lower, upper) = (server.snapshot("1"), server.snapshot("2"));
    let blob = server.blob(OCI, &tar);
    for (to, mounts) in [(&lower, bind(&lower)), (&upper, overlay(&upper, &[&lower], &[]))] {
        server.apply(blob.clone(), mounts).expect("applied");
        let made = fs::metadata(to.join("d/s")).expect("file");
        assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o6755, 5, 6));
    }
}

#[test]
fn a_killed_service_is_replaced_at_once() {
    if !need_root() {
        return;
    }
    let server = Server::start(&[]);
    server.signal(Signal::SIGKILL);
    let mut server = server;
    server.child.wait().expect("its end");
    assert!(server.path("diff.sock").exists());
    let mut again = command(server.dir.path(), &[]).spawn().expect("service");
    let socket = server.path("diff.sock");
    within(LONG, "the service listens", || UnixStream::connect(&socket).is_ok());
    // The client dials again by itself, as containerd's does.
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    within(LONG, "applied", || server.apply(blob.clone(), bind(&root)).is_ok());
    again.kill().expect("killed");
    again.wait().expect("its end");
}

#[test]
fn limits_are_read_again_at_sighup_and_nonsense_changes_nothing() {
    if !need_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "[limits]\nentries = 1\n").expect("configuration");
    let mut server = Server::start(&["--config", file.to_str().expect("path")]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("a", b"").file("b", b"").build()));
    let status = server.apply(blob.clone(), bind(&root)).expect_err("one too many");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status:?}");
    for (text, said) in [("[limits\nentries = 1", "left as it was"), ("[limits]\nentries = 9\n", "read again")] {
        fs::write(&file, text).expect("configuration");
        server.signal(Signal::SIGHUP);
        within(LONG, said, || server.log().contains(said));
    }
    server.apply(blob, bind(&root)).expect("applied");
    // A reader of lines sees one for each.
    let log = server.log();
    let of_level = |line: &str| ["INFO", "WARN", "ERROR"].iter().any(|level| line.trim_start().starts_with(level));
    assert!(log.lines().all(of_level), "{log}");
}

#[test]
fn a_content_root_that_is_wrong_is_named_in_the_log_and_not_at_the_pull() {
    if !need_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("diffd.toml");
    fs::write(&file, "").expect("configuration");
    let mut server = Server::start(&["--config", file.to_str().expect("path")]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("a", b"").build()));
    // It listens before it hears signals.
    within(LONG, "it is ready", || server.log().contains("ready"));
    assert!(!server.log().contains("no content store"), "{}", server.log());
    fs::rename(server.path("containerd"), server.path("elsewhere")).expect("moved");
    server.signal(Signal::SIGHUP);
    within(LONG, "it is told", || server.log().contains("there is no content store yet"));
    let status = server.apply(blob, bind(&root)).expect_err("not there");
    assert_eq!(status.code(), tonic::Code::NotFound);
    let own = server.path("containerd/io.containerd.content.v1.content/blobs/sha256/");
    let own = own.to_str().expect("path");
    assert!(status.message().contains("content-root") && !status.message().contains(own), "{status:?}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("code=NotFound")).expect("a line");
    assert!(line.contains(own) && line.contains("content-root"), "{line}");
}

/// systemd tells a service so which file the journal is; `journalctl -p err` goes by what stands before the line.
#[test]
fn lines_for_the_journal_have_their_priority() {
    if !need_root() {
        return;
    }
    for (stream, before) in [("$(stat -L -c %d:%i /proc/self/fd/2)", ["<6>", "<3>"]), ("1:1", ["", ""])] {
        let script = format!("JOURNAL_STREAM={stream} exec \"$@\"");
        let mut server = Server::start_by(&["sh", "-c", &script, "sh"]);
        let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
        server.apply(blob.clone(), bind(&root)).expect("applied");
        server.apply(blob, vec![]).expect_err("no mounts");
        let log = server.log();
        for (word, before) in ["applied digest", "not applied"].iter().zip(before) {
            let line = log.lines().find(|line| line.contains(word)).expect("a line");
            let level = line.strip_prefix(before).unwrap_or("not there").trim_start();
            assert!(level.starts_with("INFO") || level.starts_with("ERROR"), "{line}");
        }
    }
}

#[test]
fn another_user_cannot_reach_the_socket() {
    if !need_root() {
        return;
    }
    let server = Server::start(&[]);
    fs::set_permissions(server.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(server.path("diff.sock"));
    let root = python.output().expect("python3");
    assert!(root.status.success(), "{root:?}");
    let other = python.uid(65534).gid(65534).output().expect("python3");
    assert!(String::from_utf8_lossy(&other.stderr).contains("PermissionError"), "{other:?}");
}

/// As systemd starts it, with a socket of a name of its own.
fn handed_over(server_dir: &Path, prepare: &str) -> Command {
    let script = format!(
        "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\n{prepare}\nos.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\n\
         os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\nos.execv(sys.argv[1], sys.argv[1:])"
    );
    let service = command(server_dir, &[]);
    let log = fs::OpenOptions::new().append(true).open(server_dir.join("log")).expect("log");
    let mut python = Command::new("python3");
    python.arg("-c").arg(script).arg(service.get_program()).args(service.get_args()).stderr(log);
    python.current_dir(server_dir);
    python
}

#[test]
fn a_socket_that_is_handed_over_is_served_and_one_that_does_not_listen_is_an_error() {
    let dir = tempfile::tempdir().expect("directory");
    let mut child = handed_over(dir.path(), "s.bind('theirs')\ns.listen()").spawn().expect("service");
    let log = || fs::read_to_string(dir.path().join("log")).expect("log");
    within(LONG, "it is ready", || log().contains("ready"));
    UnixStream::connect(dir.path().join("theirs")).expect("connected");
    child.kill().expect("killed");
    child.wait().expect("its end");
    assert!(!dir.path().join("diff.sock").exists());
    let output = handed_over(dir.path(), "s.bind('deaf')").output().expect("service");
    assert!(!output.status.success());
    assert!(log().contains("does not listen"), "{}", log());
}

#[test]
fn sockets_that_are_handed_to_another_process_are_left_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let mut child = command(dir.path(), &[]).env("LISTEN_FDS", "1").env_remove("LISTEN_PID").spawn().expect("service");
    within(LONG, "it listens at its own", || UnixStream::connect(dir.path().join("diff.sock")).is_ok());
    child.kill().expect("killed");
    child.wait().expect("its end");
}

#[test]
fn a_connection_that_cannot_be_taken_is_logged_and_the_next_one_is_taken() {
    if !need_root() {
        return;
    }
    let mut server = Server::start_by(&["prlimit", "--nofile=32", "--"]);
    let silent: Vec<_> = (0..40).map_while(|_| UnixStream::connect(server.path("diff.sock")).ok()).collect();
    within(LONG, "it is told", || server.log().contains("no connection taken"));
    drop(silent);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    within(LONG, "applied", || server.apply(blob.clone(), bind(&root)).is_ok());
}

#[test]
fn metrics_count_what_came_of_the_calls() {
    if !need_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let place = dir.path().join("metrics.sock");
    let mut server = Server::start(&["--metrics", place.to_str().expect("path"), "--log", "json"]);
    let (root, blob) = (server.snapshot("1"), server.blob(OCI, &Tarball::new().file("f", b"1").build()));
    server.apply(blob.clone(), bind(&root)).expect("applied");
    server.apply(blob, vec![]).expect_err("no mounts");
    let text = metrics(&place);
    for line in [
        "untar_in_root_failures_total{code=\"DataLoss\"} 0",
        "untar_in_root_applies_total 1",
        "untar_in_root_failures_total{code=\"InvalidArgument\"} 1",
        "untar_in_root_tar_bytes_total 2048",
        "untar_in_root_in_flight 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
    }
    let applied = server.log();
    let applied = applied.lines().find(|line| line.contains("\"applied\"")).expect("a line");
    assert!(applied.contains("\"entries\":1") && applied.contains("\"digest\":\"sha256:"), "{applied}");
}

/// What a monitor is told at this socket.
pub(crate) fn metrics(place: &Path) -> String {
    let mut stream = UnixStream::connect(place).expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    text
}

#[test]
fn metrics_are_served_on_loopback_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let output = command(dir.path(), &["--metrics", "0.0.0.0:9"]).output().expect("service");
    assert!(!output.status.success());
    let log = fs::read_to_string(dir.path().join("log")).expect("log");
    assert!(log.contains("not a loopback address"), "{log}");
}
