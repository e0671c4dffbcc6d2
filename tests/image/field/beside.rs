//! What lies beside images in layouts, and is none.

use super::*;
use untar_in_root::image::Why;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A manifest of this configuration and layer.
fn manifest(dir: &Path, config: &str, layer: &str, more: Value) -> Value {
    let payload = b"{\"critical\":{}}";
    let digest = crate::support::layout::digest(payload);
    let text =
        json!({ "os": "", "architecture": "", "rootfs": { "type": "layers", "diff_ids": [digest] } }).to_string();
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": blob(dir, text.as_bytes(), config), "layers": [blob(dir, payload, layer)] });
    for (key, value) in more.as_object().expect("object") {
        manifest[key] = value.clone();
    }
    blob(dir, manifest.to_string().as_bytes(), MANIFEST)
}

#[test]
fn beside_an_image_signatures_and_statements_are_passed_over_by_name() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let written = image("app").write(&dir);
    let signature = manifest(&dir, CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json", json!({}));
    let envelope = manifest(&dir, CONFIG, "application/vnd.dsse.envelope.v1+json", json!({}));
    let packages = manifest(&dir, CONFIG, "text/spdx", json!({ "artifactType": "application/spdx+json" }));
    let chart = manifest(
        &dir,
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        json!({}),
    );
    let mut statement = manifest(&dir, CONFIG, "application/vnd.in-toto+json", json!({}));
    statement["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let unknown = json!({ "mediaType": "application/vnd.example", "digest": written.manifest, "size": 1 });
    relist(&dir, |manifests| manifests.extend([signature.clone(), envelope, packages, chart, statement, unknown]));
    is(open(&dir), &written);
    is(opener(&dir).platform("linux/amd64".parse().expect("platform")).open(), &written);
    let contents = opener(&dir).contents().expect("contents");
    assert_eq!(contents.images.len(), 1);
    let named: Vec<&str> = contents
        .left_out
        .iter()
        .map(|one| match &one.why {
            Why::Beside(what) => what.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        named,
        [
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "application/vnd.dsse.envelope.v1+json",
            "application/spdx+json",
            "application/vnd.cncf.helm.config.v1+json",
            "attestation",
            "application/vnd.example",
        ]
    );
    // Asked for by itself, it says what it is.
    let digest = signature["digest"].as_str().expect("digest");
    assert!(
        matches!(problem(meant(&dir, &format!("@{digest}"))), Problem::Artifact(what) if what.contains("simplesigning"))
    );
}

/// Docker's manifests had configurations of any type once.
#[test]
fn beside_nothing_a_docker_manifest_may_call_its_configuration_anything() {
    let scratch = Scratch::new();
    for (kind, config, opens) in [
        ("application/vnd.docker.distribution.manifest.v2+json", "application/octet-stream", true),
        ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.plugin.v1+json", false),
        (MANIFEST, "application/octet-stream", false),
    ] {
        let dir = scratch.join(format!("{}-{opens}", kind.len()));
        image("x").write_with(&dir, |document, value| match document {
            Document::Manifest => {
                value["mediaType"] = kind.into();
                value["config"]["mediaType"] = config.into();
            }
            Document::Index => value["manifests"][0]["mediaType"] = kind.into(),
            Document::Config => {}
        });
        match open(&dir) {
            Ok(_) => assert!(opens, "{kind} {config}"),
            Err(error) => assert!(!opens && error.to_string().contains(config), "{kind} {config}: {error}"),
        }
        fs::remove_dir_all(dir).expect("scratch");
    }
}
