//! `image`, `inspect`, `store` and `check` on the command line.

use super::{SAMPLE, line, names, sample, tar};
use crate::support::layout::{Layout, Packing, pack};
use crate::support::privilege::{has_capability, need_root, need_userns};
use crate::support::run::program_path;
use crate::support::scratch::{Scratch, mounts_below};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};
use std::ffi::{CString, OsStr};
use std::fs;
use std::process::{Command, Output};

fn run<S: AsRef<OsStr>>(scratch: &Scratch, words: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(program_path());
    command.args(words).current_dir(scratch.path()).output().expect("the program")
}

#[track_caller]
fn done(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{:?}: {err}", output.status);
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[track_caller]
fn failed(output: &Output, code: i32, words: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(words), "{words:?} is not in {err:?}");
}

fn object(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[test]
fn image_into_a_root_says_nothing() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    scratch.file("oci.tar", pack(&scratch.join("oci")).build());
    scratch.file("docker.tar", sample().docker_archive("sample:1").build());
    for (at, source) in [
        "oci",
        "oci:oci",
        "oci:oci:latest",
        "oci.tar",
        "oci-archive:oci.tar:latest",
        "docker-archive:docker.tar:sample:1",
        "docker.tar",
    ]
    .into_iter()
    .enumerate()
    {
        let root = format!("root{at}");
        assert_eq!(done(&run(&scratch, ["image", source, &root])), "", "{source}");
        assert_eq!(line(&scratch.join(&root)), SAMPLE, "{source}");
    }
    assert!(names(scratch.path()).iter().all(|name| !name.starts_with('.')), "nothing is left");
    // A directory of that name is still to be had.
    let archive = scratch.file("layer.tar", tar().file("f", "f").build());
    scratch.dir("image");
    done(&run(&scratch, [OsStr::new("./image"), archive.as_os_str()]));
    assert_eq!(line(&scratch.join("image")), "f=f");
}

#[test]
fn image_in_place_goes_over_what_is_there() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    scratch.dir("root");
    scratch.file("root/kept", "k");
    scratch.file("root/gone", "below");
    failed(&run(&scratch, ["image", "oci", "root"]), 2, "not empty");
    assert_eq!(line(&scratch.join("root")), "gone=below kept=k");
    assert_eq!(done(&run(&scratch, ["image", "--in-place", "oci", "root"])), "");
    assert_eq!(line(&scratch.join("root")), SAMPLE.replace(" l->a", " kept=k l->a"));
}

#[test]
fn image_layers_prints_what_mount_takes() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    for (option, dir, jobs) in
        [("--layers", "layers", "--jobs=1"), ("--store", "store", "-j2"), ("--store", "store", "-j2")]
    {
        let text = done(&run(&scratch, ["image", "oci", option, dir, jobs]));
        let place = scratch.dir(format!("merged{}", mounts_below(scratch.path()).len()));
        let options = CString::new(text.trim_end()).expect("a line");
        mount("overlay", &place, "overlay", MountFlags::RDONLY, Some(options.as_c_str())).expect("overlayfs");
        assert_eq!(line(&place).replace("h=f", "h==a/f"), SAMPLE);
    }
}

#[test]
fn image_in_json() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let text = done(&run(&scratch, ["image", "--json", "--progress", "oci", "--layers", "layers"]));
    let last = object(&text);
    assert_eq!((&last["ok"], &last["exit"], &last["userxattr"]), (&json!(true), &json!(0), &json!(false)));
    assert_eq!(last["layers"].as_array().map(Vec::len), Some(3));
    assert_eq!(last["layers"][0]["report"]["compression"], "none");
    let events: Vec<Value> = text.lines().filter_map(|line| object(line).get("event").cloned()).collect();
    let told = |what: &str| events.iter().filter(|event| event["what"] == what).count();
    assert_eq!((told("begun"), told("done")), (3, 3), "{text}");
    // A failure: which layer, of which kind.
    Layout::new().layer(&tar().hardlink("h", "missing"), Packing::Gzip).write(&scratch.join("bad"));
    let output = run(&scratch, ["image", "--json", "bad", "root"]);
    failed(&output, 1, "layer 1 of 1");
    let error = &object(&String::from_utf8_lossy(&output.stdout))["error"];
    assert_eq!((&error["kind"], &error["layer"]["number"]), (&json!("entry"), &json!(1)));
}

#[test]
fn image_lines_where_there_is_no_terminal() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let output = run(&scratch, ["image", "--progress=lines", "oci", "root"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.lines().count() == 3 && !err.contains('\x1b'), "{err}");
    assert!(err.starts_with("layer 1/3 ") && err.contains(" entries, "), "{err}");
}

#[test]
fn image_events_where_there_is_no_terminal() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let output = run(&scratch, ["image", "--progress", "oci", "--layers", "layers"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.starts_with(b"lowerdir="), "{err}");
    let events: Vec<Value> = err.lines().map(|line| object(line)["event"].clone()).collect();
    assert_eq!(events.iter().filter(|event| event["what"] == "done").count(), 3, "{err}");
}

#[test]
fn image_failures_have_the_usual_exit_status() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let written = sample().write(&scratch.join("oci"));
    for (words, code, text) in [
        (&["image", "oci"][..], 2, "ROOT"),
        (&["image", "oci", "root", "--layers", "x"], 2, "cannot be used with"),
        (&["image", "oci", "root", "--name", "x"], 2, "--store"),
        (&["image", "oci:oci:other", "root"], 2, "there is latest"),
        (&["image", "oci", "root", "--platform", "linux"], 2, "OS/ARCH"),
        (&["image", "oci", "root", "--platform", "plan9/386"], 2, "no image for the platform plan9/386"),
        (&["image", "oci", "oci"], 2, "not empty"),
        (&["image", "missing", "root"], 5, "ENOENT"),
        (&["image", "oci", "no/such/root"], 5, "ENOENT"),
        (&["image", "oci", "root", "--max-entries", "1"], 1, "layer 1 of 3"),
        (&["image", "oci", "--store", "oci"], 2, "not empty"),
        (&["store", "gc", "oci"], 1, "no store"),
        (&["--json", "image", "oci", "root"], 2, "unexpected argument 'root'"),
    ] {
        failed(&run(&scratch, words), code, text);
    }
    let blob = crate::support::layout::blob_path(&scratch.join("oci"), &written.layers[1]);
    let mut bytes = fs::read(&blob).expect("blob");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&blob, bytes).expect("blob");
    failed(&run(&scratch, ["image", "oci", "root"]), 4, "digest mismatch");
    assert_eq!(names(scratch.path()), ["oci"]);
}

#[test]
fn inspect_shows_what_is_in_it() {
    let scratch = Scratch::new();
    let written = sample().write(&scratch.join("oci"));
    sample().tagged("arm").for_platform("linux", "arm64").write(&scratch.join("oci"));
    let text = done(&run(&scratch, ["inspect", "oci"]));
    for want in ["name      latest", "platform  linux/arm64", &written.manifest, &written.config, &written.layers[2]] {
        assert!(text.contains(want), "{want} is not in {text}");
    }
    let one = done(&run(&scratch, ["inspect", "oci:oci:arm"]));
    assert!(!one.contains("latest") && one.contains("linux/arm64"), "{one}");
    let value = object(&done(&run(&scratch, ["inspect", "--json", "oci"])));
    let image = &value["images"][0];
    assert_eq!((&image["names"], &image["id"]), (&json!(["latest"]), &json!(written.config)));
    assert_eq!(image["layers"].as_array().map(Vec::len), Some(3));
    assert_eq!(image["layers"][0]["chain_id"], image["layers"][0]["diff_id"]);
    assert_eq!(image["layers"][1]["digest"], json!(written.layers[1]));
    // What cannot be applied is shown, with why.
    Layout::new().layer(&tar(), Packing::Gzip).write_with(&scratch.join("odd"), |document, value| {
        if document == crate::support::layout::Document::Manifest {
            value["layers"][0]["mediaType"] = "application/\u{1b}[2Jx+encrypted".into();
        }
    });
    let text = done(&run(&scratch, ["inspect", "odd"]));
    assert!(text.contains("an encrypted layer") && !text.contains('\x1b'), "{text:?}");
}

#[test]
fn inspect_of_an_archive_leaves_nothing() {
    if !has_capability(21) && !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("docker.tar", sample().docker_archive("sample:1").build());
    let staging = scratch.dir("staging");
    let text = done(&run(&scratch, ["inspect", "docker.tar", "--staging", "staging"]));
    assert!(text.contains("name      sample:1") && text.contains("tar in a docker archive"), "{text}");
    assert!(names(&staging).is_empty());
}

#[test]
fn store_list_forget_gc_verify() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let written = sample().write(&scratch.join("oci"));
    done(&run(&scratch, ["image", "oci", "--store", "store"]));
    done(&run(&scratch, ["image", "oci", "--store", "store", "--name", "mine:1"]));
    let listed = done(&run(&scratch, ["store", "list", "store"]));
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["mine:1", written.config.as_str()]);
    assert_eq!(done(&run(&scratch, ["store", "gc", "store"])), "");
    assert!(done(&run(&scratch, ["store", "verify", "store"])).ends_with("3 layers, 0 differences\n"));
    // A damaged layer is handed out no more, and what to do is said.
    let layer = scratch.join("store/layers").join(&names(&scratch.join("store/layers"))[0]);
    fs::write(layer.join("tree/more"), "").expect("file");
    let verified = run(&scratch, ["store", "verify", "store"]);
    failed(&verified, 1, "");
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(told.contains("image SOURCE --store store") && told.ends_with("3 layers, 1 differences\n"), "{told}");
    let verified = run(&scratch, ["store", "verify", "--json", "store"]);
    assert!(object(&String::from_utf8_lossy(&verified.stdout))["advice"].is_string());
    done(&run(&scratch, ["image", "oci", "--store", "store", "--name", "mine:1"]));
    assert!(done(&run(&scratch, ["store", "verify", "store"])).ends_with("3 layers, 0 differences\n"));
    done(&run(&scratch, ["store", "forget", "store", "mine:1", &written.config]));
    let output = run(&scratch, ["store", "forget", "--json", "store", "mine:1"]);
    assert_eq!(
        (output.status.code(), &object(&String::from_utf8_lossy(&output.stdout))["unknown"]),
        (Some(1), &json!(["mine:1"]))
    );
    let removed = object(&done(&run(&scratch, ["store", "gc", "--json", "store"])));
    assert_eq!(removed["removed"].as_array().map(Vec::len), Some(3));
}

/// What is found is what a run's own report says.
#[test]
fn check_says_what_can_be_had() {
    if !has_capability(21) && !need_userns() {
        return;
    }
    let scratch = Scratch::new();
    let value = object(&done(&run(&scratch, ["check", "--json", "."])));
    let state = |what: &str| {
        let items = value["items"].as_array().expect("items");
        let item = items.iter().find(|item| item["what"] == what).unwrap_or_else(|| panic!("{what}"));
        assert!(item["state"] == "yes" || item["remedy"].is_string(), "a remedy for {what}");
        item["state"].as_str().expect("state").to_owned()
    };
    for what in [
        "root switch",
        "user namespace",
        "seccomp",
        "Landlock",
        "any owner",
        "devices",
        "trusted.* attributes",
        "overlay mount",
    ] {
        assert!(["yes", "partly", "no"].contains(&state(what).as_str()), "{what}");
    }
    let archive = tar().char_dev("null", 1, 3).build();
    let mut child = Command::new(program_path())
        .args(["--json", "--devices", "skip"])
        .arg(scratch.dir("root"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), &archive).expect("archive");
    let report = object(&String::from_utf8_lossy(&child.wait_with_output().expect("the program").stdout));
    let confinement = &report["report"]["confinement"];
    assert_eq!(state("root switch") == "yes", confinement["root"] == "pivot");
    assert_eq!(state("seccomp") == "yes", confinement["seccomp"] == true);
    assert_eq!(state("devices") == "yes", report["report"]["entries"]["devices"] == 1);
    assert_eq!(names(scratch.path()), ["root"], "nothing is left");
    let text = done(&run(&scratch, ["check", "."]));
    assert!(text.starts_with("Linux ") && text.contains("root switch"), "{text}");
    failed(&run(&scratch, ["check", "no/such"]), 3, "making a directory in");
}
