//! An image that comes through a pipe.

use super::{SAMPLE, line, names, sample};
use crate::support::layout::pack;
use crate::support::privilege::need_root;
use crate::support::run::program_path;
use crate::support::scratch::Scratch;
use crate::support::tarball::gz;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn piped(scratch: &Scratch, words: &[&str], archive: &[u8]) -> Output {
    let mut command = Command::new(program_path());
    command.args(words).current_dir(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    let mut pipe = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || drop(pipe.write_all(archive)));
        child.wait_with_output().expect("the program")
    })
}

#[test]
fn image_from_standard_input() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let (oci, docker) = (pack(&scratch.join("oci")).build(), sample().docker_archive("sample:1").build());
    for (source, archive) in [
        ("-", &oci),
        ("-", &docker),
        ("-", &gz(&docker)),
        ("oci-archive:-", &oci),
        ("oci-archive:-:latest", &oci),
        ("docker-archive:-:sample:1", &docker),
    ] {
        let output = piped(&scratch, &["image", source, "root"], archive);
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(line(&scratch.join("root")), SAMPLE, "{source}");
        std::fs::remove_dir_all(scratch.join("root")).expect("root");
    }
    let store = piped(&scratch, &["image", "-", "--store", "store"], &docker);
    assert!(store.status.success() && store.stdout.starts_with(b"lowerdir="));
    assert_eq!(names(scratch.path()), ["oci", "store"], "nothing is left");
}

#[test]
fn inspect_from_standard_input_says_the_same_as_of_a_file() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    for archive in [pack(&scratch.join("oci")).build(), sample().docker_archive("sample:1").build()] {
        scratch.file("image.tar", &archive);
        for words in [&["inspect"][..], &["inspect", "--json"]] {
            let of = |source| piped(&scratch, &[words, &[source]].concat(), &archive);
            let (file, pipe) = (of("image.tar"), of("-"));
            assert!(file.status.success() && pipe.status.success());
            assert_eq!(String::from_utf8_lossy(&pipe.stdout), String::from_utf8_lossy(&file.stdout));
        }
    }
}

#[test]
fn standard_input_that_is_no_image_leaves_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let whole = sample().docker_archive("sample:1").build();
    for (archive, options, code, want) in [
        (&whole[..whole.len() / 2], &[][..], 1, "cut short"),
        (&[][..], &[], 1, "not one byte"),
        (&whole[..], &["--max-total-bytes", "2000"], 1, "--max-total-bytes"),
        (&whole[..], &["--staging", "no/such"], 5, "no/such"),
    ] {
        let output = piped(&scratch, &[&["image", "-", "root"][..], options].concat(), archive);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(want), "{want} is not in {said}");
        assert!(names(scratch.path()).is_empty(), "{said}");
    }
    for words in [&["inspect", "-"][..], &["inspect", "--json", "-"]] {
        let output = piped(&scratch, words, b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("there is not one byte in it; what writes it may have failed"), "{said}");
    }
    // A file of that name is meant by another.
    scratch.file("-", &whole);
    assert!(piped(&scratch, &["image", "./-", "root"], b"").status.success());
}
