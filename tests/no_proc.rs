//! A caller whose root somebody else has filled, with files in the place of `/proc`: nothing of them is believed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::container::with_nothing_in;
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// Another view of this machine: `/`, without what is mounted on it but the scratch directory, in which `"$R"/proc` is
/// what `fake` makes of it.
pub fn in_a_root_without_proc(scratch: &Scratch, fake: &str, program: &[&str]) -> Command {
    let root = scratch.dir("view");
    let place = scratch.path().display();
    let script = format!(
        "set -e; R={0}; mount --bind / $R; mkdir -p $R{place}; mount --rbind {place} $R{place}; mount -t tmpfs t $R/proc; \
         {fake}; exec chroot $R \"$@\"",
        root.display()
    );
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-m", "--propagation", "private", "sh", "-c", &script, "sh"]).args(program);
    command
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn archive(scratch: &Scratch) -> (PathBuf, PathBuf) {
    (scratch.file("a.tar", Tarball::new().file("f", "x").build()), scratch.dir("dest"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// One line that says that nothing is mounted there, or a FIFO that nobody writes to.
#[test]
fn a_list_of_mounts_that_the_kernel_has_not_written_covers_nothing_up() {
    if !need_root() || !need_tools(&["unshare", "mount", "chroot", "timeout"]) {
        return;
    }
    for fake in ["echo '1 1 0:1 / / rw - x x rw' > $R/proc/self/mountinfo", "mkfifo $R/proc/self/mountinfo"] {
        let scratch = Scratch::new();
        let (tar, dest) = archive(&scratch);
        let below = dest.join("data");
        let fake = format!(
            "mkdir $R/proc/self; {fake}; mkdir $R{0}; mount -t tmpfs t $R{0}; touch $R{0}/secret",
            below.display()
        );
        let program = program_path();
        let words = [text(&program), "--json", text(&dest), text(&tar)];
        let output = in_a_root_without_proc(&scratch, &fake, &words).output().expect("a root");
        let report = report(&output);
        let confinement = &report["report"]["confinement"];
        assert_eq!(confinement["mounts"], "covered", "{fake}: {report}");
        assert_eq!(confinement["mounts_below"], serde_json::json!([{ "name": "data" }]), "{fake}");
    }
}

/// By which it reads back what it has written; that the caller is root is no matter of `/proc`.
#[test]
fn a_store_says_that_proc_lacks() {
    if !need_root() || !need_tools(&["unshare", "mount"]) {
        return;
    }
    let scratch = Scratch::new();
    Layout::new().layer(&Tarball::new().file("d/f", "1"), Packing::Gzip).write(&scratch.join("oci"));
    let mut inside = Command::new(program_path());
    inside.args(["image", "oci", "--store", "store"]);
    let output = with_nothing_in("/proc", &inside).current_dir(scratch.path()).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("nothing is mounted at /proc") && !said.contains("kept by root"), "{said}");
    assert!(!scratch.join("store").exists(), "nothing is left");
}

#[test]
fn a_program_in_the_place_of_ours_is_not_run() {
    if !need_root() || !need_tools(&["unshare", "mount", "chroot", "timeout"]) {
        return;
    }
    let scratch = Scratch::new();
    let (tar, dest) = archive(&scratch);
    let ran = scratch.join("ran");
    let fake = format!(
        "mkdir -p $R/proc/self/fd; printf '#!/bin/sh\\ntouch {}\\n' > $R/proc/self/exe; chmod 755 $R/proc/self/exe",
        ran.display()
    );
    for arguments in [&["check", text(&dest)][..], &[text(&dest), text(&tar)]] {
        let program = program_path();
        let words = [&[text(&program)], arguments].concat();
        let output = in_a_root_without_proc(&scratch, &fake, &words).output().expect("a root");
        assert!(!ran.exists(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(std::fs::read(dest.join("f")).expect("applied"), b"x");
}
