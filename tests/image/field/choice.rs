//! Which of several is meant, and what can be typed for each.

use super::*;
use crate::support::privilege::need_root;

#[test]
fn choice_is_the_first_of_one_platform() {
    let (own, other) = architectures();
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    of("other", other).write(&dir);
    let first = of("first", own).write(&dir);
    let second = of("second", own).write(&dir);
    nest(&dir, "1");
    for reference in ["", ":1", "@0"] {
        is(meant(&dir, reference), &first);
    }
    is(opener(&dir).platform(Platform::host()).open(), &first);
    is(meant(&dir, &format!(":{}", second.manifest)), &second);
}

/// A rebuilt image, listed again under its old tag.
#[test]
fn choice_is_the_first_of_one_tag() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let first = image("first").tagged("1").write(&dir);
    let second = image("second").tagged("1").write(&dir);
    is(meant(&dir, ":1"), &first);
    is(open(&dir), &first);
    is(meant(&dir, ":@1"), &second);
    // Two platforms under one tag, without an index around them.
    let arm = of("arm", "s390x").tagged("1").write(&dir);
    is(opener(format!("{}:1", dir.display())).platform("linux/s390x".parse().expect("platform")).open(), &arm);
}

/// As an index is read everywhere else; who gives names means different things.
#[test]
fn choice_is_the_first_of_what_has_no_name() {
    let (own, other) = architectures();
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let nameless = |name: &str, architecture| {
        Layout::new().layer(&tar().file("which", name), Packing::Gzip).for_platform("linux", architecture).write(&dir)
    };
    let elsewhere = nameless("elsewhere", other);
    let first = nameless("first", own);
    let second = nameless("second", own);
    relist(&dir, |manifests| manifests.iter_mut().for_each(|manifest| manifest["annotations"] = Value::Null));
    is(open(&dir), &first);
    is(opener(&dir).platform(format!("linux/{other}").parse().expect("platform")).open(), &elsewhere);
    is(meant(&dir, &format!("@{}", second.manifest)), &second);
    of("named", own).write(&dir);
    assert!(matches!(problem(open(&dir)), Problem::Several(there) if there.len() == 2));
}

/// Who mistypes one name of an image is told that very name.
#[test]
fn choice_of_a_wrong_name_lists_all_that_there_are() {
    let (own, _) = architectures();
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    of("a", own).write(&dir);
    relist(&dir, |manifests| {
        for tag in ["b", "c"] {
            let mut again = manifests[0].clone();
            again["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
            manifests.push(again);
        }
    });
    let wrong = |reference: &str| match problem(meant(&dir, reference)) {
        Problem::NoReference { there, .. } => there,
        other => panic!("{other}"),
    };
    assert_eq!(wrong(":zz"), ["a", "b", "c"]);
    // Within an index, too; what has no name is named by its digest.
    relist(&dir, |manifests| {
        let inner = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut index = blob(&dir, inner.to_string().as_bytes(), INDEX);
        index["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
        *manifests = vec![index];
    });
    let bare = Layout::new().layer(&tar().file("which", "bare"), Packing::Gzip).write(&dir);
    relist(&dir, |manifests| manifests[1]["annotations"] = Value::Null);
    assert_eq!(wrong(":zz"), ["latest", "a", "b", "c", &bare.manifest]);
}

#[test]
fn choice_leaves_out_what_demands_features() {
    let (own, _) = architectures();
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let special = of("special", own).write(&dir);
    relist(&dir, |manifests| manifests[0]["platform"]["os.features"] = json!(["example.feature"]));
    // The only one is taken, unless a platform is asked for.
    is(open(&dir), &special);
    assert_eq!(open(&dir).expect("the only one").platform().features, ["example.feature"]);
    let refused = problem(opener(&dir).platform(Platform::host()).open());
    let demands = format!("special (linux/{own} with os.features example.feature)");
    assert!(matches!(&refused, Problem::NoPlatform { there, .. } if there.first() == Some(&demands)), "{refused}");
    let plain = of("plain", own).write(&dir);
    nest(&dir, "1");
    is(open(&dir), &plain);
    is(opener(&dir).platform(Platform::host()).open(), &plain);
    is(meant(&dir, &format!("@{}", special.manifest)), &special);
    // Where the descriptor says nothing, the configuration does.
    let dir = scratch.join("configured");
    of("special", own).write_with(&dir, |document, value| match document {
        Document::Config => value["os.features"] = json!(["example.feature"]),
        Document::Index => value["manifests"][0]["platform"] = Value::Null,
        Document::Manifest => {}
    });
    let plain = of("plain", own).write(&dir);
    nest(&dir, "1");
    is(open(&dir), &plain);
}

/// An empty platform object is none: the configuration decides.
#[test]
fn choice_by_the_configuration_where_the_descriptor_says_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let one = of("one", "s390x").write(&dir);
    let two = of("two", "ppc64le").write(&dir);
    for nothing in
        [json!({}), json!({ "os": "", "architecture": "" }), json!({ "os": null, "architecture": null }), json!(null)]
    {
        relist(&dir, |manifests| manifests.iter_mut().for_each(|manifest| manifest["platform"] = nothing.clone()));
        for (platform, want) in [("linux/s390x", &one), ("linux/ppc64el", &two)] {
            is(opener(&dir).platform(platform.parse().expect("platform")).open(), want);
        }
    }
}

#[test]
fn choice_by_digest_of_the_configuration_and_behind_a_name() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let (one, two) = (image("one").write(&dir), image("two").write(&dir));
    for written in [&one, &two] {
        let (config, manifest) = (&written.config, &written.manifest);
        let digits = config.trim_start_matches("sha256:");
        for reference in [
            format!(":{config}"),
            format!("@{config}"),
            format!(":{digits}"),
            format!("@{manifest}"),
            format!(":app@{manifest}"),
            format!(":registry.example:5000/a/app:1@{manifest}"),
            format!(":app@{config}"),
        ] {
            is(meant(&dir, &reference), written);
        }
    }
    for reference in [format!("@sha256:{}", "0".repeat(64)), "@2".into(), ":@2".into(), ":three".into()] {
        assert!(
            matches!(problem(meant(&dir, &reference)), Problem::NoReference { there, .. } if there == ["one", "two"])
        );
    }
}

/// A digest means what has it, whatever something else is called.
#[test]
fn choice_by_digest_is_by_no_name() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let one = image("one").write(&dir);
    image("two").tagged(&one.manifest).write(&dir);
    is(meant(&dir, &format!("@{}", one.manifest)), &one);
    is(meant(&dir, &format!(":{}", one.manifest)), &one);
    is(meant(&dir, &format!("@{}", one.config)), &one);
}

/// `docker images` prints twelve digits, `docker images --no-trunc` all.
#[test]
fn choice_by_the_first_digits_of_a_digest() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let (one, two) = (image("one").write(&dir), image("two").write(&dir));
    for written in [&one, &two] {
        for digest in [&written.config, &written.manifest] {
            let digits = digest.trim_start_matches("sha256:");
            for length in [12, 13, 63] {
                for reference in [":", "@sha256:", ":sha256:"] {
                    is(meant(&dir, &format!("{reference}{}", &digits[..length])), written);
                }
            }
            let short = format!(":{}", &digits[..11]);
            assert!(matches!(problem(meant(&dir, &short)), Problem::NoReference { .. }), "{short}");
        }
    }
    // A tag of that name comes before digits alone, and not before a digest.
    let digits = one.config.trim_start_matches("sha256:")[..12].to_owned();
    let named = image("named").tagged(&digits).write(&dir);
    is(meant(&dir, &format!(":{digits}")), &named);
    is(meant(&dir, &format!(":sha256:{digits}")), &one);
    // Digits that two begin with are a question, and its words are answers.
    relist(&dir, |manifests| {
        for last in ["0", "1"] {
            let mut absent = manifests[0].clone();
            absent["digest"] = format!("sha256:{}{last}", "e".repeat(63)).into();
            manifests.push(absent);
        }
    });
    let Problem::Several(words) = problem(meant(&dir, &format!(":{}", "e".repeat(12)))) else { panic!("one of two") };
    assert_eq!(words, ["0", "1"].map(|last| format!("sha256:{}{last}", "e".repeat(63))));
}

/// Whatever the question says can be typed.
#[test]
fn choice_is_asked_for_in_words_that_are_accepted() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    for name in ["a", "b", "c", "d", "e"] {
        image(name).tagged("latest").write(&dir);
    }
    relist(&dir, |manifests| {
        for (at, name) in ["example.com/a:latest", "example.com/b:latest", "bad name", "latest"].into_iter().enumerate()
        {
            manifests[at]["annotations"]["io.containerd.image.name"] = name.into();
        }
        manifests[4]["annotations"] = Value::Null;
    });
    for reference in ["", ":latest"] {
        let Problem::Several(words) = problem(meant(&dir, reference)) else { panic!("{reference}") };
        assert_eq!(words.len(), if reference.is_empty() { 5 } else { 4 }, "{words:?}");
        let mut digests: Vec<_> = words
            .iter()
            .map(|word| word.split(' ').next().expect("a word"))
            .map(|word| meant(&dir, &format!(":{word}")).unwrap_or_else(|error| panic!("{word}: {error}")).digest())
            .collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), words.len(), "{words:?}");
    }
}

#[test]
fn choice_in_a_docker_archive_without_names() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let names: Vec<String> = (0..3).map(|at| format!("config{at}.json")).collect();
    let mut archive = tar();
    let mut manifest = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let layer = tar().file("which", at.to_string()).build();
        let diff_ids = [crate::support::layout::digest(&layer)];
        let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": diff_ids } });
        archive = archive.file(name, config.to_string()).file(format!("{at}.tar"), &layer);
        manifest.push(json!({ "Config": name, "RepoTags": null, "Layers": [format!("{at}.tar")] }));
    }
    let file = scratch.file("docker.tar", archive.file("manifest.json", json!(manifest).to_string()).build());
    assert!(
        matches!(problem(meant(&file, "")), Problem::Several(words) if words == ["@0 (linux/amd64)", "@1 (linux/amd64)", "@2 (linux/amd64)"])
    );
    for (at, name) in names.iter().enumerate() {
        let image = meant(&file, &format!(":@{at}")).expect("opened");
        assert_eq!(which(&image), at.to_string());
        for reference in [format!("@{at}"), format!(":{name}"), format!(":{}", image.id()), format!("@{}", image.id())]
        {
            assert_eq!(meant(&file, &reference).expect("opened").id(), image.id(), "{reference}");
        }
    }
}

/// One image under several tags is one.
#[test]
fn choice_of_several_tags_of_one_image() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let written = image("one").write(&dir);
    relist(&dir, |manifests| {
        for tag in ["two", "three"] {
            let mut again = manifests[0].clone();
            again["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
            manifests.push(again);
        }
    });
    is(open(&dir), &written);
    is(meant(&dir, ":two"), &written);
    is(meant(&dir, ":@2"), &written);
    let images = opener(&dir).list().expect("listed");
    assert_eq!(images.iter().map(Image::names).collect::<Vec<_>>(), [["one", "two", "three"]]);
}

#[test]
fn choice_among_ten_thousand_tags() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let written: Vec<Written> = ["a", "b", "c", "d"].iter().map(|name| image(name).write(&dir)).collect();
    relist(&dir, |manifests| {
        let one = |at: usize| {
            let mut again = manifests[at % 4].clone();
            again["annotations"]["org.opencontainers.image.ref.name"] = format!("build-{at}").into();
            again
        };
        *manifests = (0..10_000).map(one).collect();
    });
    is(meant(&dir, ":build-7777"), &written[1]);
    is(meant(&dir, ":@7778"), &written[2]);
    let error = open(&dir).expect_err("several");
    assert!(error.to_string().len() < 4000 && error.to_string().contains("build-3"), "{error}");
    let images = opener(&dir).list().expect("listed");
    assert_eq!(images.iter().map(|image| image.names().len()).collect::<Vec<_>>(), [2500; 4]);
}
