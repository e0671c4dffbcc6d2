//! Places that are not there, cannot be written to, or are not what they seem: what is said, and that it helps.

use std::fs;
use std::process::Command;

use nix::libc;
use rustix::mount::{MountFlags, mount_remount};

use super::{Ran, feed, program};
use crate::support::container::{Contained, with_nothing_in};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{copy_program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// Words of a command line, in this directory.
fn run(scratch: &Scratch, words: &str, temporary: &str) -> Ran {
    let mut command = program();
    command.args(words.split(' ')).current_dir(scratch.path());
    if !temporary.is_empty() {
        command.env("TMPDIR", scratch.join(temporary));
    }
    feed(&mut command, b"")
}

/// An image in a layout, and in an archive of one.
fn image(scratch: &Scratch) {
    Layout::new().layer(&Tarball::new().file("d/f", "1"), Packing::Gzip).write(&scratch.join("oci"));
    let mut tar = Command::new("tar");
    let made = tar.arg("-cf").arg(scratch.join("image.tar")).arg("-C").arg(scratch.join("oci")).arg(".").status();
    assert!(made.expect("tar").success());
}

#[test]
fn on_a_read_only_file_system_the_place_for_staging_is_named_and_another_helps() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    image(&scratch);
    scratch.file("a.tar", Tarball::new().file("f", "1").build());
    let read_only = scratch.tmpfs("read-only", 1 << 20).expect("tmpfs");
    fs::create_dir(read_only.join("root")).expect("a directory");
    mount_remount(&read_only, MountFlags::RDONLY, "").expect("read-only");
    scratch.dir("room");
    for (words, temporary, followed) in [
        ("inspect image.tar", "read-only", "inspect image.tar --staging room"),
        ("image image.tar --in-place read-only/root", "", ""),
        ("image image.tar read-only/new", "", ""),
    ] {
        let ran = run(&scratch, words, temporary).ended(5, "EROFS");
        for word in ["unpacking the image in ", "read-only", "--staging", "TMPDIR"] {
            assert!(ran.err.contains(word), "{words}: {word}: {}", ran.err);
        }
        if !followed.is_empty() {
            run(&scratch, followed, temporary).ended(0, "");
            // The other thing that it says.
            run(&scratch, words, "room").ended(0, "");
        }
    }
    run(&scratch, "read-only/root a.tar", "").ended(5, "the file system of the root is mounted read-only");
    run(&scratch, "-t a.tar", "read-only").ended(0, "");
}

/// The last component is made; what it is in must be there.
#[test]
fn a_place_in_a_directory_that_is_not_there_says_how_to_make_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    image(&scratch);
    scratch.file("a.tar", Tarball::new().file("f", "1").build());
    for (words, code) in [
        ("--atomic no/such/root a.tar", 3),
        ("image oci no/such/root", 5),
        ("image oci --layers no/such/root", 5),
        ("image oci --store no/such/root", 5),
    ] {
        let ran = run(&scratch, words, "").ended(code, "ENOENT");
        assert!(ran.err.trim_end().ends_with("must be there: make it first (mkdir -p)"), "{words}: {}", ran.err);
        fs::create_dir_all(scratch.join("no/such")).expect("what it says");
        run(&scratch, words, "").ended(0, "");
        fs::remove_dir_all(scratch.join("no")).expect("scratch");
    }
}

/// Nothing says where the program is: the shell's `./` was about the directory of then.
#[test]
fn without_proc_a_program_that_was_started_by_a_relative_name_is_told_to_be_started_by_another() {
    if !need_root() || !need_tools(&["unshare", "mount"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.tar", Tarball::new().file("f", "1").build());
    scratch.dir("root");
    copy_program(&program_path(), &scratch.join("u"));
    let started = |name: &str| {
        let mut inside = Command::new(name);
        inside.args(["root", "a.tar"]);
        let mut command = with_nothing_in("/proc", &inside);
        feed(command.current_dir(scratch.path()), b"")
    };
    started("./u").ended(3, "start it by its absolute path");
    assert!(!scratch.join("root/f").exists());
    started(scratch.join("u").to_str().expect("text")).ended(0, "");
    assert!(scratch.join("root/f").exists());
}

/// `docker run --cap-drop ALL`: no range of ids would help root who may map nobody.
#[test]
fn root_without_capabilities_is_told_what_does_without_a_root() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.tar", Tarball::new().file("f", "1").build());
    scratch.dir("root");
    let run = |options: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(program_path()).args(options);
        feed(command.args(["root", "a.tar"]).current_dir(scratch.path()), b"")
    };
    let ran = run(&[]).ended(3, "--isolation beneath");
    assert!(!ran.err.contains("subuid"), "{}", ran.err);
    run(&["--isolation", "beneath"]).ended(0, "");
    assert!(scratch.join("root/f").exists());
}

/// Nothing belongs to anybody there.
#[test]
fn a_filter_that_keeps_rights_from_being_given_up_is_named() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let archive = scratch.file("a.tar", Tarball::new().file("f", "1").build());
    let root = scratch.dir("root");
    let words = [root.to_str().expect("text"), archive.to_str().expect("text")];
    for (call, name) in
        [(libc::SYS_capset, "capset("), (libc::SYS_prlimit64, "prlimit64("), (libc::SYS_prctl, "prctl(")]
    {
        let ran = feed(&mut Contained::answering(libc::EPERM, &[call]).command(&scratch, &words), b"");
        let ran = ran.ended(3, name);
        assert!(ran.err.contains("a filter on system calls") && !ran.err.contains("sticky"), "{}", ran.err);
    }
}

/// `image` has none for it, and the plain command has.
#[test]
fn an_attribute_that_is_left_out_names_an_option_of_the_command_that_has_it() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let layer = Tarball::new().file("f", "1").with(|e| _ = e.xattr("trusted.a", "v").xattr("security.a", "v"));
    Layout::new().layer(&layer, Packing::Gzip).write(&scratch.join("oci"));
    scratch.file("a.tar", layer.build());
    scratch.dir("plain");
    let plain = run(&scratch, "plain a.tar", "").ended(0, "--trusted-xattrs allow sets it");
    assert!(plain.err.contains("--security-xattrs allow sets it"), "{}", plain.err);
    run(&scratch, "--trusted-xattrs allow --security-xattrs allow plain a.tar", "").silent();
    let image = run(&scratch, "image oci root", "").ended(0, "\"trusted.a\"");
    assert!(!image.err.contains("--"), "{}", image.err);
}

/// What is missing is named, and what to make of it stands at the end.
#[test]
fn what_must_be_there_is_made_and_that_helps() {
    if !need_root() {
        return;
    }
    for (words, temporary, code, hint) in [
        ("check missing", "", 3, "make it first (mkdir -p)"),
        ("inspect image.tar", "missing", 5, "for staging: --staging, or TMPDIR where that is not given"),
        ("inspect image.tar --staging missing", "", 5, "it must be there (mkdir -p)"),
    ] {
        let scratch = Scratch::new();
        image(&scratch);
        let ran = run(&scratch, words, temporary).ended(code, hint);
        assert!(ran.err.contains("ENOENT") || ran.err.contains("No such file"), "{words}: {}", ran.err);
        scratch.dir("missing");
        run(&scratch, words, temporary).ended(0, "");
    }
    let scratch = Scratch::new();
    image(&scratch);
    scratch.dir("there");
    run(&scratch, "inspect image.tar --staging there", "missing").ended(0, "");
    // Nobody packs what was made just now.
    let ran = run(&scratch, "pack missing", "").ended(3, "ENOENT");
    assert!(!ran.err.contains("mkdir"), "{}", ran.err);
}
