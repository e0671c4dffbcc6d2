//! Forms of archives: two descriptions in one, `dir:`, names with `/` and `./`, what Go's tools write for nothing.

use super::*;
use crate::support::layout::{digest, pack};
use crate::support::privilege::need_root;
use crate::support::tarball::Tarball;
use untar_in_root::image::Source;

/// A docker archive of one layer, with this put before and behind each name.
fn docker(inside: &str, members: &str) -> Tarball {
    let layer = tar().file("which", "docker").build();
    let config =
        json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [digest(&layer)] } }).to_string();
    let name = format!("{}.json", digest(config.as_bytes()).trim_start_matches("sha256:"));
    let manifest = json!([{ "Config": format!("{inside}{name}"), "RepoTags": ["app:1"], "Layers": [format!("{inside}layer.tar")] }]);
    tar()
        .file(format!("{members}{name}"), config)
        .file(format!("{members}layer.tar"), layer)
        .file(format!("{members}manifest.json"), manifest.to_string())
}

fn opened(scratch: &Scratch, archive: &Tarball, reference: &str) -> Result<Image, Error> {
    meant(&scratch.file("image.tar", archive.build()), reference)
}

/// `docker save` 25.0, apko: an index from which nothing can be opened, beside what the image is in.
#[test]
fn forms_where_the_layout_has_nothing_manifest_json_decides() {
    if !need_root() {
        return;
    }
    let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
    let descriptor = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "0".repeat(64)), "size": 7 });
    let scratch = Scratch::new();
    for (what, index, has_marker) in [
        ("null", json!({ "schemaVersion": 2, "manifests": null }), true),
        ("empty", json!({ "schemaVersion": 2, "manifests": [] }), true),
        ("not there", json!({ "schemaVersion": 2, "manifests": [descriptor] }), true),
        ("no layout", json!({ "schemaVersion": 2, "manifests": [descriptor] }), false),
    ] {
        let mut archive = docker("", "").file("index.json", index.to_string());
        if has_marker {
            archive = archive.file("oci-layout", marker);
        }
        for reference in ["", ":app:1"] {
            assert_eq!(which(&opened(&scratch, &archive, reference).expect(what)), "docker", "{what}");
        }
        let listed = opener(scratch.join("image.tar")).list().expect(what);
        assert_eq!(listed.iter().map(Image::names).collect::<Vec<_>>(), [["app:1"]], "{what}");
        assert!(matches!(problem(opened(&scratch, &archive, ":app:2")), Problem::NoReference { .. }), "{what}");
    }
}

/// In words of whoever wrote it, and about the file that it is in.
#[test]
fn forms_a_manifest_json_of_which_nothing_can_be_opened_says_what_is_wrong() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let document = "manifest.json: not a document of this kind";
    let entry = "manifest.json: an entry of it is not of this kind: ";
    for (manifest, words) in [
        ("", format!("{document}: it ends too soon")),
        // What skopeo's `dir:` has there.
        ("{}", format!("{document} (line 1, column 2): it has another form: missing field `schemaVersion`")),
        ("7", format!("{document} (line 1, column 1): it has another form: integer `7` where a list is expected")),
        ("[]", "image.tar: there is no image in it".into()),
        ("null", "image.tar: there is no image in it".into()),
        ("[7]", format!("{entry}integer `7` where an object is expected")),
        ("[null]", format!("{document}: a manifest without a configuration")),
        ("[{}]", format!("{entry}missing field `Config`")),
        (r#"[{"Config":"","Layers":null}]"#, format!("{document}: a manifest without a configuration")),
        (r#"[{"Config":"c.json","Layers":[""]}]"#, format!("{document}: a manifest with a layer that has no name")),
        (r#"[{"Config":"c.json","Layers":[null]}]"#, format!("{document}: a manifest with a layer that has no name")),
        (r#"[{"Config":"c.json","Layers":["./"]}]"#, format!("{document}: a manifest with a layer that has no name")),
    ] {
        let archive = tar().file("c.json", "{}").file("manifest.json", manifest);
        let text = opened(&scratch, &archive, "").expect_err(manifest).to_string();
        assert!(text.contains(&words), "{manifest}: {text}");
    }
    let archive = scratch.file("app.tar", tar().file("manifest.json", "{}").build());
    let text = opener(format!("docker-archive:{}", archive.display())).open().expect_err("no list").to_string();
    assert!(text.contains("it has another form: an object where a list is expected"), "{text}");
}

/// A manifest without layers, whose configuration has some: never an empty tree.
#[test]
fn forms_a_manifest_that_lost_its_layers_is_not_used() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    image("docker").write_with(&dir, |document, value| {
        if document == Document::Manifest {
            value["layers"] = json!([]);
        }
    });
    let alone = open(&dir).expect_err("no layers");
    assert!(matches!(alone.image_problem(), Some(Problem::LayerCount { layers: 0, diff_ids: 1 })));
    let mut archive = docker("", "");
    for name in ["oci-layout", "index.json"] {
        archive = archive.file(name, fs::read(dir.join(name)).expect("file"));
    }
    for entry in fs::read_dir(dir.join("blobs/sha256")).expect("blobs").flatten() {
        let name = format!("blobs/sha256/{}", entry.file_name().display());
        archive = archive.file(&name, fs::read(entry.path()).expect("blob"));
    }
    for reference in ["", ":app:1"] {
        assert_eq!(which(&opened(&scratch, &archive, reference).expect("opened")), "docker");
    }
}

/// A layout that has images decides, and damage to it is damage.
#[test]
fn forms_a_layout_that_can_be_used_decides() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let written = image("layout").write(&dir);
    let archive = || {
        let both = pack(&dir);
        let one = docker("", "").build();
        let file = scratch.file("docker.tar", one);
        let unpacked = scratch.dir(format!("unpacked{}", super::super::names(scratch.path()).len()));
        std::process::Command::new("tar").arg("-xf").arg(file).arg("-C").arg(&unpacked).status().expect("tar");
        fs::read_dir(&unpacked).expect("unpacked").flatten().fold(both, |tar, entry| {
            tar.file(&*entry.file_name().to_string_lossy(), fs::read(entry.path()).expect("file"))
        })
    };
    assert_eq!(which(&opened(&scratch, &archive(), "").expect("opened")), "layout");
    let docker_archive = opener(format!("docker-archive:{}", scratch.join("image.tar").display())).open();
    assert_eq!(which(&docker_archive.expect("opened")), "docker");
    let manifest = crate::support::layout::blob_path(&dir, &written.manifest);
    let mut bytes = fs::read(&manifest).expect("blob");
    bytes[2] ^= 1;
    fs::write(&manifest, bytes).expect("blob");
    assert_eq!(opened(&scratch, &archive(), "").expect_err("damaged").kind(), ErrorKind::Digest);
}

#[test]
fn forms_names_in_docker_archives_with_a_slash_or_a_dot() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    for (inside, members) in [("/", ""), ("./", ""), ("", "./"), ("/", "./"), ("./", "./"), (".//", ""), ("//", "")] {
        assert_eq!(
            which(&opened(&scratch, &docker(inside, members), "").expect(inside)),
            "docker",
            "{inside} {members}"
        );
    }
    for inside in ["../", "/../", "./../", "a/../../"] {
        let problem = problem(opened(&scratch, &docker(inside, ""), ""));
        assert!(matches!(problem, Problem::Leaves | Problem::Missing), "{inside}: {problem:?}");
    }
}

/// A directory as `skopeo copy … dir:` writes it.
fn dir(scratch: &Scratch, docker: bool) -> (std::path::PathBuf, Written) {
    let (layout, place) = (scratch.join(format!("oci-{docker}")), scratch.dir(format!("dir-{docker}")));
    let written = image("dir").write_with(&layout, |document, value| {
        if document == Document::Manifest && docker {
            value["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
        }
    });
    for blob in [&written.config, &written.layers[0]] {
        let name = blob.trim_start_matches("sha256:");
        fs::copy(crate::support::layout::blob_path(&layout, blob), place.join(name)).expect("blob");
    }
    fs::copy(crate::support::layout::blob_path(&layout, &written.manifest), place.join("manifest.json"))
        .expect("manifest");
    fs::write(place.join("version"), "Directory Transport Version: 1.1\n").expect("version");
    (place, written)
}

#[test]
fn forms_skopeos_dir() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    for docker in [false, true] {
        let (place, written) = dir(&scratch, docker);
        for prefix in ["", "dir:"] {
            let source = format!("{prefix}{}", place.display());
            is(opener(&source).open(), &written);
            is(opener(format!("{source}@{}", written.manifest)).open(), &written);
            assert_eq!(which(&opener(&source).open().expect("opened")), "dir");
        }
        let layer = place.join(written.layers[0].trim_start_matches("sha256:"));
        let mut bytes = fs::read(&layer).expect("layer");
        *bytes.last_mut().expect("bytes") ^= 1;
        fs::write(&layer, bytes).expect("layer");
        let error =
            super::super::flatten(&opener(&place).open().expect("opened"), &scratch.join("root")).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Digest);
        fs::write(&layer, "").and_then(|()| fs::remove_file(&layer)).expect("layer");
        assert_eq!(problem(opener(&place).open()), Problem::Missing);
    }
    let error = opener(format!("dir:{}", scratch.dir("empty").display())).open().expect_err("nothing");
    assert_eq!(error.image_problem(), Some(&Problem::NotAnImage));
    assert_eq!(Source::parse("dir:/x").path, Path::new("/x"));
}

/// `skopeo copy --all`: an index, and a file for each manifest.
#[test]
fn forms_skopeos_dir_of_several_platforms() {
    let (own, other) = architectures();
    let scratch = Scratch::new();
    let (layout, place) = (scratch.join("oci"), scratch.dir("dir"));
    let mine = of("mine", own).write(&layout);
    let theirs = of("theirs", other).write(&layout);
    let index = nest(&layout, "x");
    let copy = |digest: &str, name: String| {
        fs::copy(crate::support::layout::blob_path(&layout, digest), place.join(name)).expect("blob");
    };
    for written in [&mine, &theirs] {
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        copy(&written.manifest, hex(&written.manifest) + ".manifest.json");
        copy(&written.config, hex(&written.config));
        copy(&written.layers[0], hex(&written.layers[0]));
    }
    copy(&index, "manifest.json".into());
    is(open(&place), &mine);
    is(opener(&place).platform(format!("linux/{other}").parse().expect("platform")).open(), &theirs);
}

/// `null` is what it is in Go: nothing.
#[test]
fn forms_null_is_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let nulls = |value: &mut Value, keys: &[&str]| keys.iter().for_each(|key| value[*key] = Value::Null);
    image("x").write_with(&dir, |document, value| match document {
        Document::Config => nulls(value, &["os", "architecture", "variant", "os.features", "config", "history"]),
        Document::Manifest => {
            nulls(value, &["annotations", "subject", "artifactType", "manifests"]);
            nulls(&mut value["config"], &["urls", "annotations", "platform", "data"]);
            nulls(&mut value["layers"][0], &["urls", "annotations", "platform", "data"]);
        }
        Document::Index => {
            nulls(value, &["annotations", "subject", "config", "layers"]);
            nulls(&mut value["manifests"][0], &["annotations", "urls"]);
            nulls(&mut value["manifests"][0]["platform"], &["os", "architecture", "variant", "os.features"]);
        }
    });
    let image = open(&dir).expect("opened");
    assert_eq!((which(&image).as_str(), image.platform().to_string().as_str()), ("x", "no platform"));
    for empty in [json!(null), json!([])] {
        let dir = scratch.join(format!("empty{}", empty.is_null()));
        Layout::new().write_with(&dir, |document, value| match document {
            Document::Config => value["rootfs"]["diff_ids"] = empty.clone(),
            Document::Manifest => value["layers"] = empty.clone(),
            Document::Index => {}
        });
        assert_eq!(open(&dir).expect("opened").layers().len(), 0);
    }
}
