//! Images that their producers have written: here and now, or, where they cannot run in a test, once in `fixtures/images`.

use super::{Scratch, image, layers};
use crate::support::privilege::need_tools;
use std::path::PathBuf;
use std::process::Command;

/// Runs a script in the scratch directory.
fn shell(scratch: &Scratch, tools: &[&str], script: &str) -> Option<()> {
    if !need_tools(tools) {
        return None;
    }
    let mut command = Command::new("bash");
    let output = command.args(["-euc", script]).current_dir(scratch.path()).env("HOME", scratch.path()).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

fn source(scratch: &Scratch, prefix: &str, name: &str) -> Option<String> {
    Some(format!("{prefix}{}", scratch.join(name).display()))
}

fn skopeo(scratch: &Scratch, target: &str, prefix: &str, name: &str) -> Option<String> {
    image().write(&scratch.join("from"));
    shell(scratch, &["skopeo"], &format!("skopeo --insecure-policy copy -q oci:from:latest {target}"))?;
    source(scratch, prefix, name)
}

pub(super) fn skopeo_oci(scratch: &Scratch) -> Option<String> {
    skopeo(scratch, "oci:made:app", "", "made")
}

pub(super) fn skopeo_oci_archive(scratch: &Scratch) -> Option<String> {
    skopeo(scratch, "oci-archive:made.tar:app", "", "made.tar")
}

pub(super) fn skopeo_docker_archive(scratch: &Scratch) -> Option<String> {
    skopeo(scratch, "docker-archive:made.tar:app:1", "", "made.tar")
}

pub(super) fn skopeo_dir(scratch: &Scratch) -> Option<String> {
    skopeo(scratch, "dir:made", "", "made")
}

/// What its own store has committed, a layer for each.
fn buildah(scratch: &Scratch, target: &str, name: &str) -> Option<String> {
    for (number, layer) in layers().iter().enumerate() {
        scratch.file(format!("layer{number}.tar"), layer.build());
    }
    let script = format!(
        "b() {{ buildah --root $PWD/store --runroot $PWD/run --storage-driver vfs \"$@\"; }}
         one=$(b from scratch); mkdir one; tar -xf layer0.tar -C one; b copy -q $one one / >&2; b commit -q $one one >&2
         two=$(b from --pull-never one); place=$(b mount $two); rm $place/app/gone; printf 2 > $place/app/two
         b commit -q $two two >&2; b push -q two {target} >&2"
    );
    shell(scratch, &["buildah"], &script)?;
    source(scratch, "", name)
}

pub(super) fn buildah_oci(scratch: &Scratch) -> Option<String> {
    buildah(scratch, "oci:made:app", "made")
}

pub(super) fn buildah_docker_archive(scratch: &Scratch) -> Option<String> {
    buildah(scratch, "docker-archive:made.tar:app:1", "made.tar")
}

pub(super) fn umoci(scratch: &Scratch) -> Option<String> {
    let script = "umoci init --layout made; umoci new --image made:app; mkdir -p one two
        printf 1 > one/one; printf x > one/gone; printf 2 > two/two; i() { umoci insert --image made:app \"$@\"; }
        i one /app; i two/two /app/two; i --whiteout /app/gone";
    shell(scratch, &["umoci"], script)?;
    source(scratch, "", "made")
}

/// One of `fixtures/images`, as it was written, packed by gzip.
pub(super) fn fixture(name: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/images");
    Some(folder.join(format!("{name}.tar.gz")).display().to_string())
}
