//! Archives that list more than they have, or something damaged.

use super::*;
use crate::support::layout::blob_path;
use crate::support::privilege::need_root;
use crate::support::run::program_path;
use untar_in_root::image::Why;

/// Two platforms below one tag, of which one has lost this.
fn partial(scratch: &Scratch, gone: &str, lost: fn(&Written) -> &str) -> (Written, Written, String) {
    let dir = scratch.join(gone);
    let here = image("here").write(&dir);
    let away = of("away", "s390x").write(&dir);
    let index = nest(&dir, "1");
    fs::remove_file(blob_path(&dir, lost(&away))).expect("blob");
    (here, away, index)
}

#[test]
fn partial_archives_have_the_platforms_that_are_there() {
    let scratch = Scratch::new();
    for (what, lost) in [
        ("manifest", (|w| &w.manifest) as fn(&Written) -> &str),
        ("config", |w| &w.config),
        ("layer", |w| &w.layers[0]),
    ] {
        let (here, away, index) = partial(&scratch, what, lost);
        let dir = scratch.join(what);
        for reference in ["", ":1", &format!("@{index}")] {
            is(meant(&dir, reference), &here);
        }
        let asked = |platform: &str| opener(&dir).platform(platform.parse().expect("platform")).open();
        is(asked("linux/amd64"), &here);
        let error = asked("linux/s390x").expect_err("absent");
        assert_eq!(error.kind(), ErrorKind::Image, "{what}");
        let digest = away.manifest.parse().expect("digest");
        assert!(
            matches!(error.image_problem(), Some(Problem::Absent { wanted, digest: Some(named), .. })
            if wanted == "linux/s390x" && *named == digest),
            "{what}: {error}"
        );
        let contents = opener(&dir).contents().expect("contents");
        assert_eq!((contents.images.len(), contents.left_out.len()), (1, 1), "{what}");
        let left_out = &contents.left_out[0];
        assert!(matches!(left_out.why, Why::Absent(_)) && left_out.digest == Some(digest), "{what}: {left_out:?}");
        assert_eq!(left_out.platform.as_ref().map(ToString::to_string), Some("linux/s390x".into()));
    }
}

/// Pulled for another machine: what is there is taken, and not if this machine's is asked for.
#[test]
fn partial_archives_of_another_platform_alone() {
    let (own, other) = architectures();
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let mine = of("mine", own).write(&dir);
    let there = of("there", other).write(&dir);
    nest(&dir, "latest");
    fs::remove_file(blob_path(&dir, &mine.manifest)).expect("blob");
    is(open(&dir), &there);
    let asked = opener(&dir).platform(Platform::host()).open();
    assert!(matches!(problem(asked), Problem::Absent { there, .. } if there.len() == 1));
    // Of two others none is better.
    of("third", "s390x").write(&dir);
    nest(&dir, "latest");
    assert!(matches!(problem(open(&dir)), Problem::Absent { there, .. } if there.len() == 2));
}

/// A broken entry breaks only itself.
#[test]
fn partial_damage_stays_with_what_is_damaged() {
    let scratch = Scratch::new();
    for (what, kind, damage) in [
        (
            "damaged",
            ErrorKind::Digest,
            (|manifest, _| fs::write(manifest, [b'x'; 445]).expect("blob")) as fn(&Path, &mut Value),
        ),
        ("cut", ErrorKind::Image, |manifest, _| fs::write(manifest, "{").expect("blob")),
        ("missing", ErrorKind::Image, |manifest, _| fs::remove_file(manifest).expect("blob")),
        ("sha512", ErrorKind::Image, |_, entry| entry["digest"] = format!("sha512:{}", "0".repeat(128)).into()),
        ("no type", ErrorKind::Image, |_, entry| entry["mediaType"] = Value::Null),
        ("a size that is text", ErrorKind::Image, |_, entry| entry["size"] = "445".into()),
        ("a list for a digest", ErrorKind::Image, |_, entry| entry["digest"] = vec!["sha256:1"].into()),
        ("too large", ErrorKind::Limit, |_, entry| entry["size"] = u64::MAX.into()),
    ] {
        let dir = scratch.join(what);
        let good = image("good").write(&dir);
        let bad = image("bad").write(&dir);
        relist(&dir, |manifests| {
            let manifest = blob_path(&dir, &bad.manifest);
            if what == "damaged" {
                manifests[1]["size"] = 445.into();
            }
            damage(&manifest, &mut manifests[1]);
        });
        is(meant(&dir, ":good"), &good);
        is(open(&dir), &good);
        assert_eq!(meant(&dir, ":bad").expect_err(what).kind(), kind, "{what}");
        let contents = opener(&dir).contents().expect(what);
        assert_eq!((contents.images.len(), contents.left_out.len()), (1, 1), "{what}");
        assert_eq!(contents.left_out[0].names, ["bad"], "{what}");
    }
}

/// Two tags, of which one cannot be opened: whoever names neither hears why there was no question.
#[test]
fn partial_what_an_image_is_taken_in_place_of_is_told() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    for (what, word, damage) in [
        ("absent", "absent", (|blob: &Path| fs::remove_file(blob).expect("blob")) as fn(&Path)),
        ("damaged", "broken", |blob: &Path| fs::write(blob, "{").expect("blob")),
    ] {
        let dir = scratch.join(what);
        let (own, _) = architectures();
        let good = of("good", own).write(&dir);
        assert!(open(&dir).expect("opened").passed_over().is_empty());
        let bad = of("bad", own).write(&dir);
        damage(&blob_path(&dir, &bad.manifest));
        is(open(&dir), &good);
        let image = open(&dir).expect("opened");
        let [left_out] = image.passed_over() else { panic!("{:?}", image.passed_over()) };
        assert_eq!((left_out.names[0].as_str(), left_out.digest), ("bad", Some(bad.manifest.parse().expect("digest"))));
        // Whoever names one means it.
        assert!(meant(&dir, ":good").expect("opened").passed_over().is_empty());
        for (options, quiet) in [(&["--json"][..], false), (&["--json", "-q"], true)] {
            let root = scratch.join("root");
            let mut command = std::process::Command::new(program_path());
            let output = command.arg("image").args(options).args([&dir, &root]).output().expect("the program");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let note =
                format!("another image is taken in place of bad {} (linux/{own}), which is {word}: ", bad.manifest);
            assert_eq!((output.status.code(), err.contains(&note)), (Some(0), !quiet), "{err}");
            let value: Value = serde_json::from_str(&out).expect("JSON");
            assert_eq!((&value["passed_over"][0]["why"], &value["passed_over"][1]), (&word.into(), &Value::Null));
            fs::remove_dir_all(root).expect("scratch");
        }
    }
}

/// With neither name nor digest it is told by its number, which is accepted: here it then says what is wrong.
#[test]
fn partial_what_has_no_name_is_told_by_its_number() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let (own, _) = architectures();
    let good = of("good", own).write(&dir);
    relist(&dir, |manifests| {
        let nameless = json!({ "mediaType": manifests[0]["mediaType"], "digest": 7, "size": 1,
            "platform": { "os": "linux", "architecture": own } });
        manifests.push(nameless);
    });
    is(open(&dir), &good);
    let run = |command: &str| {
        let mut program = std::process::Command::new(program_path());
        let output = program.args(command.split(' ')).current_dir(scratch.path()).output().expect("the program");
        (
            output.status.code(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let (code, said) = run("image oci root");
    assert!(code == Some(0) && said.contains(&format!("in place of @1 (linux/{own}), which is broken: ")), "{said}");
    let (code, said) = run("inspect oci");
    assert!(code == Some(0) && said.contains(&format!("broken    @1 (linux/{own}): ")), "{said}");
    let (code, said) = run("inspect oci@1");
    assert!(code == Some(1) && said.contains("integer `7` where a string is expected"), "{said}");
    let (_, said) = run("inspect --json oci");
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON")["left_out"][0]["line"], 1, "{said}");
}

/// Whoever damages the first that fits does not choose the second.
#[test]
fn partial_damage_is_not_passed_over_below_one_tag() {
    let scratch = Scratch::new();
    let dir = scratch.join("oci");
    let first = image("first").write(&dir);
    let second = image("second").write(&dir);
    nest(&dir, "1");
    let manifest = blob_path(&dir, &first.manifest);
    let mut bytes = fs::read(&manifest).expect("blob");
    bytes[3] ^= 1;
    fs::write(&manifest, bytes).expect("blob");
    assert_eq!(meant(&dir, ":1").expect_err("damaged").kind(), ErrorKind::Digest);
    is(meant(&dir, &format!("@{}", second.manifest)), &second);
    // Everything is damaged: that is an error, of a list too.
    relist(&dir, |manifests| manifests[0]["size"] = 1.into());
    assert_eq!(opener(&dir).list().expect_err("damaged").kind(), ErrorKind::Image);
}
