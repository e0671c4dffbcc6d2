//! Who writes images, and that they open: by the producers that Debian has, here and now or once in `fixtures/images`, and by
//! hand as the others write them. `docs/field.md` has the table.

mod by_hand;
mod real;

use super::field::architectures;
use super::{flatten, line, opener, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/field.md"));

/// Writes an image to below the scratch directory: its source. `None`: that cannot be done here, which is told.
type Write = fn(&Scratch) -> Option<String>;

/// Two layers, of which the second hides a file of the first.
fn layers() -> [Tarball; 2] {
    [tar().dir("app").file("app/one", "1").file("app/gone", "x"), tar().file("app/two", "2").whiteout("app/gone")]
}

const TREE: &str = "app/ app/one=1 app/two=2";

fn image() -> Layout {
    let (here, _) = architectures();
    layers().iter().fold(Layout::new().for_platform("linux", here), |layout, layer| layout.layer(layer, Packing::Gzip))
}

/// It opens by itself, is the one image that is listed, and is the tree.
#[track_caller]
fn opens(write: Write) {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let Some(source) = write(&scratch) else { return };
    let opener = opener(&source).staging_in(scratch.dir("staging"));
    let contents = opener.contents().unwrap_or_else(|error| panic!("{source}: {error}"));
    let (here, _) = architectures();
    let own = contents.images.iter().filter(|image| image.platform().architecture == here).count();
    // What was written elsewhere is for one machine.
    assert!(own == 1 || contents.images.len() == 1, "{source}: {contents:?}");
    let image = opener.open().unwrap_or_else(|error| panic!("{source}: {error}"));
    flatten(&image, &scratch.join("root")).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(line(&scratch.join("root")), TREE, "{source}");
}

/// A test for each, and a row of the table.
macro_rules! producers {
    ($($name:ident: $producer:literal, $version:literal, $made:literal, $write:expr;)*) => {
        $(#[test] fn $name() { opens($write) })*

        const ROWS: &[[&str; 3]] = &[$([$producer, $version, $made]),*];
    };
}

producers! {
    producers_skopeo_oci: "skopeo", "1.9.3", "by it: `copy … oci:DIR`", real::skopeo_oci;
    producers_skopeo_oci_archive: "skopeo", "1.9.3", "by it: `copy … oci-archive:FILE`", real::skopeo_oci_archive;
    producers_skopeo_docker_archive: "skopeo", "1.9.3", "by it: `copy … docker-archive:FILE`", real::skopeo_docker_archive;
    producers_skopeo_dir: "skopeo", "1.9.3", "by it: `copy … dir:DIR`", real::skopeo_dir;
    producers_buildah_oci: "buildah", "1.28.2", "by it: `push … oci:DIR`", real::buildah_oci;
    producers_buildah_docker_archive: "buildah", "1.28.2", "by it: `push … docker-archive:FILE`", real::buildah_docker_archive;
    producers_umoci: "umoci", "0.4.7", "by it: `insert`", real::umoci;
    producers_docker_20: "docker", "20.10.24", "by it: `save`", |_| real::fixture("docker-20.10.24-save");
    producers_docker_26: "docker", "26.1.5", "by it: `save`, containerd's store, with attestation", |_| real::fixture("docker-26.1.5-save");
    producers_docker_28: "docker", "28.5.2", "by it: `save`, containerd's store, with attestation", |_| real::fixture("docker-28.5.2-save");
    producers_ctr_export: "ctr", "1.6.20", "by it: `image export`", |_| real::fixture("ctr-1.6.20-export");
    producers_ctr_partial: "ctr", "1.6.20", "by it: `image export`, one platform of two", |_| real::fixture("ctr-1.6.20-export-partial");
    producers_ctr_all: "ctr", "1.7.24", "by it: `image export --all-platforms`, with attestation", |_| real::fixture("ctr-1.7.24-export");
    producers_buildx_oci_13: "buildx", "0.13.1", "by it: `--output type=oci`, with attestation", |_| real::fixture("buildx-0.13.1-oci");
    producers_buildx_oci_29: "buildx", "0.29.1", "by it: `--output type=oci`, with attestation", |_| real::fixture("buildx-0.29.1-oci");
    producers_buildx_docker: "buildx", "0.13.1", "by it: `--output type=docker`", |_| real::fixture("buildx-0.13.1-docker");
    producers_ko_tarball: "ko", "0.18", "by hand: `build --tarball`", by_hand::ko_tarball;
    producers_ko_layout: "ko", "0.18", "by hand: `build --oci-layout-path`, two platforms", by_hand::ko_layout;
    producers_kaniko_tarball: "kaniko", "1.24", "by hand: `--tar-path`", by_hand::kaniko_tarball;
    producers_jib_docker: "jib", "3.4", "by hand: `jibBuildTar`", by_hand::jib_docker;
    producers_jib_oci: "jib", "3.4", "by hand: `jibBuildTar`, format OCI", by_hand::jib_oci;
    producers_apko: "apko", "0.27", "by hand: `build`, an index without a layout", by_hand::apko;
    producers_bazel_rules_docker: "bazel", "rules_docker 0.25", "by hand: `container_image`", by_hand::rules_docker;
    producers_bazel_rules_oci: "bazel", "rules_oci 2.0", "by hand: `oci_image`", by_hand::rules_oci;
    producers_bazel_oci_load: "bazel", "rules_oci 2.0", "by hand: `oci_load`, `oci_tarball`", by_hand::oci_load;
    producers_nix_layered: "nix", "24.05", "by hand: `dockerTools.buildLayeredImage`", by_hand::nix_layered;
    producers_nix_streamed: "nix", "24.05", "by hand: `dockerTools.streamLayeredImage`", by_hand::nix_streamed;
    producers_buildpacks: "buildpacks", "lifecycle 0.20", "by hand: `export -layout`", by_hand::buildpacks;
    producers_cosign: "cosign", "2.4", "by hand: `save`, with signature and attestation", by_hand::cosign;
    producers_docker_25: "docker", "25.0.0", "by hand: `save`, a manifest without layers beside one with", by_hand::docker_25;
}

#[test]
fn producers_are_those_of_the_page() {
    let row = |[producer, version, made]: &[&str; 3]| format!("| {producer} | {version} | {made} |\n");
    let rows: String = ROWS.iter().map(row).collect();
    let table = format!("| producer | version | written |\n|---|---|---|\n{rows}");
    assert!(PAGE.contains(&table), "docs/field.md has another table than:\n{table}");
    let count = format!("{0} of {0} open", ROWS.len());
    assert!(PAGE.contains(&count), "docs/field.md does not say that {count}");
}
