//! Real layers: images that buildah and umoci make here, Go's tar writer in both. Applied in layer mode, and in overlay
//! mode and mounted, they are the tree that the builder itself shows.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use untar_in_root::{EventKind, Mode, Options, Report};

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{layer, untar};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, compare_but};

/// An image in a directory, and what its builder shows.
struct Built {
    scratch: Scratch,
    layers: Vec<PathBuf>,
}

impl Built {
    fn by(builder: &str) -> Option<Built> {
        if !need_root() || !need_tools(&[builder, "setcap", "setfattr"]) {
            return None;
        }
        let scratch = Scratch::new();
        let script = format!("{}/../tests/builders/{builder}.sh", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("bash").arg(&script).arg(scratch.path()).output().expect("bash");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let layers = layers(&scratch.join("image"));
        Some(Built { scratch, layers })
    }

    fn shown(&self) -> Tree {
        Tree::read(&fs::canonicalize(self.scratch.join("shown")).expect("the builder's tree"))
    }

    /// All layers on one directory.
    fn applied(&self) -> Tree {
        let dest = self.scratch.dir("applied");
        let whiteouts: u64 = self.layers.iter().map(|path| apply(&dest, path, layer).entries.whiteouts).sum();
        assert!(whiteouts > 2, "{whiteouts} whiteouts");
        Tree::read(&dest)
    }

    /// Each layer in a directory of its own, and what overlayfs shows of them.
    fn mounted(&self) -> Tree {
        let mut uppers: Vec<PathBuf> = Vec::new();
        for (number, path) in self.layers.iter().enumerate() {
            let upper = self.scratch.dir(format!("upper{number}"));
            apply(&upper, path, |options| {
                options.mode = Mode::Overlay(crate::support::run::over(&uppers));
            });
            uppers.insert(0, upper);
        }
        let place = self.scratch.dir("mounted");
        let lower: Vec<_> = uppers.iter().map(|path| path.display().to_string()).collect();
        let data = CString::new(format!("lowerdir={}", lower.join(":"))).expect("no NUL");
        mount("overlay", &place, "overlay", MountFlags::RDONLY, Some(data.as_c_str())).expect("overlayfs");
        Tree::read(&place)
    }
}

fn apply(dest: &Path, layer: &Path, change: impl FnOnce(&mut Options)) -> Report {
    let report = untar(dest, change).apply_fd(File::open(layer).expect("layer")).expect("applied");
    // umoci's inserted layers have no end marker.
    let told = report.events.iter().filter(|event| !matches!(event.what, EventKind::NoEndMarker));
    assert_eq!(told.count(), 0, "{:?}", report.events);
    report
}

/// The files of the layers, the lowest first: OCI image layout, index to manifest to layers.
fn layers(image: &Path) -> Vec<PathBuf> {
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        image.join("blobs/sha256").join(digest.strip_prefix("sha256:").expect("SHA-256"))
    };
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("JSON")).expect("JSON") };
    let manifest = json(&blob(&json(&image.join("index.json"))["manifests"][0]));
    manifest["layers"].as_array().expect("layers").iter().map(blob).collect()
}

/// `allowed` is where a tree may differ from the builder's, and must.
#[track_caller]
fn same(what: &str, tree: &Tree, built: &Built, allowed: &[&str]) {
    let shown = built.shown();
    assert!(shown.paths().len() > 10, "{shown}");
    let (known, wrong): (Vec<_>, Vec<_>) = compare_but(tree, &shown, &[])
        .into_iter()
        .partition(|line| allowed.iter().any(|start| line.starts_with(start)));
    assert!(wrong.is_empty(), "{what} / the builder: {wrong:#?}");
    assert_eq!(known.len(), allowed.len(), "allowed, but not so: {allowed:?}, {known:?}");
}

/// No layer lists the root: buildah's store makes it so, with the time of the last change.
const ROOT_OF_THE_STORE: &str = ".: mode 0755 / 0555";

#[test]
fn buildah_layers_are_as_buildah_mounts_them() {
    let Some(built) = Built::by("buildah") else { return };
    assert_eq!(built.layers.len(), 4);
    same("layer mode", &built.applied(), &built, &[ROOT_OF_THE_STORE, ".: mtime"]);
    // The other name is hidden, but overlayfs counts the links of the lower file.
    let hidden_name = "usr/bin/tool: link usr/bin/tool / none";
    same("overlayfs", &built.mounted(), &built, &[ROOT_OF_THE_STORE, ".: mtime", hidden_name]);
}

#[test]
fn umoci_layers_are_as_umoci_unpacks_them() {
    let Some(built) = Built::by("umoci") else { return };
    assert_eq!(built.layers.len(), 6);
    same("layer mode", &built.applied(), &built, &[]);
    same("overlayfs", &built.mounted(), &built, &[]);
}
