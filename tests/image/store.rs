//! A store of layers: found again, locked, whole or not there, collected, verified.

use super::{MOUNT, flatten, mounted, names, open, sample, tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::process::is_gone;
use crate::support::run::{program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use untar_in_root::image::{Image, Layers, Problem, Store};
use untar_in_root::{Error, ErrorKind, Owner};

fn put(image: &Image, store: &Store, name: &str) -> Result<Layers, Error> {
    image.unpack().program(program()).into_store(store, name)
}

/// How many layers were found, not made.
fn found(layers: &Layers) -> usize {
    layers.dirs.iter().filter(|dir| dir.report.is_none()).count()
}

fn paths(layers: &Layers) -> Vec<&Path> {
    layers.dirs.iter().map(|dir| dir.path.as_path()).collect()
}

#[test]
fn store_finds_layers_again_and_shows_one_tree() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let first = put(&image, &store, "a").expect("put");
    let second = put(&image, &store, "b").expect("put");
    assert_eq!((found(&first), found(&second)), (0, 3));
    assert_eq!(paths(&first), paths(&second));
    flatten(&image, &scratch.join("flat")).expect("flattened");
    assert_same("store, flat", &Tree::read(&mounted(&scratch, &second)), &Tree::read(&scratch.join("flat")), &MOUNT);
    assert_eq!(store.images().expect("images"), ["a", "b"]);
    assert_eq!(store.path().metadata().expect("store").permissions().mode() & 0o7777, 0o700);
    assert_eq!(names(store.path()), ["images", "l", "layers", "lock", "version"]);
    // An image that shares the lower two.
    let mut other = sample();
    other.layers.pop();
    other.layer(&tar().file("top", ""), Packing::Gzip).write(&scratch.join("other"));
    let third = put(&open(&scratch.join("other")).expect("opened"), &store, "c").expect("put");
    assert_eq!((found(&third), &paths(&third)[..2]), (2, &paths(&first)[..2]));
    assert_eq!(store.verify().expect("verified").layers, 4);
}

#[test]
fn store_gc_keeps_what_recorded_images_need() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let base = Layout::new().layer(&tar().file("base", ""), Packing::Gzip);
    for name in ["one", "two"] {
        base.clone().layer(&tar().file(name, name), Packing::Gzip).write(&scratch.join(name));
        put(&open(&scratch.join(name)).expect("opened"), &store, name).expect("put");
    }
    assert_eq!(names(&store.path().join("layers")).len(), 3);
    assert!(store.gc(Some(program())).expect("gc").layers.is_empty());
    assert!(store.forget("one").expect("forgotten") && !store.forget("one").expect("not there"));
    let image = open(&scratch.join("one")).expect("opened");
    assert_eq!(store.gc(Some(program())).expect("gc").layers, [image.chain_ids()[1]]);
    assert_eq!(store.images().expect("images"), ["two"]);
    // A name that moves: the image before it is kept no more.
    put(&image, &store, "two").expect("put");
    assert_eq!(store.gc(Some(program())).expect("gc").layers.len(), 1);
    assert!(store.forget("two").expect("forgotten"));
    assert_eq!(store.gc(Some(program())).expect("gc").layers.len(), 2);
    assert!(names(&store.path().join("layers")).is_empty());
    // A record that cannot be read might need anything.
    put(&image, &store, "two").expect("put");
    let record = store.path().join("images").join(&names(&store.path().join("images"))[0]);
    fs::write(record, "{").expect("record");
    assert_eq!(store.gc(Some(program())).expect_err("unreadable").kind(), ErrorKind::Image);
    assert_eq!(names(&store.path().join("layers")).len(), 2);
}

#[test]
fn store_verify_finds_what_has_changed() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let image = open(&scratch.join("oci")).expect("opened");
    type Damage = fn(&Path);
    let table: [(&str, Damage, &str); 8] = [
        ("nothing", |_| (), ""),
        ("content", |tree| fs::write(tree.join("a/n"), "m").expect("file"), "its tree is not what it was"),
        (
            "mode",
            |tree| fs::set_permissions(tree.join("a/n"), fs::Permissions::from_mode(0o666)).expect("file"),
            "its tree",
        ),
        ("a name more", |tree| fs::write(tree.join("more"), "").expect("file"), "its tree"),
        ("a name less", |tree| fs::remove_file(tree.join("a/n")).expect("file"), "its tree"),
        (
            "an attribute",
            |tree| {
                rustix::fs::setxattr(tree.join("a/n"), "user.x", b"1", rustix::fs::XattrFlags::empty()).expect("xattr")
            },
            "its tree",
        ),
        ("the record", |tree| fs::write(tree.with_file_name("layer"), "{}").expect("file"), "missing field"),
        (
            "all of it",
            |tree| fs::remove_dir_all(tree.parent().expect("layer")).expect("layer"),
            "the layer below it is not there",
        ),
    ];
    for (what, damage, want) in table {
        let store = Store::open_or_make(scratch.join(what)).expect("store");
        let layers = put(&image, &store, "image").expect("put");
        damage(&layers.dirs[1].path);
        let differences = store.verify().expect("verified").differences;
        let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(told.is_empty(), want.is_empty(), "{what}: {told:?}");
        assert!(want.is_empty() || told.iter().any(|line| line.contains(want)), "{what}: {told:?}");
    }
    let store = Store::open(scratch.join("nothing")).expect("store");
    fs::create_dir(store.path().join("layers/stray")).expect("stray");
    assert_eq!(store.verify().expect("verified").differences.len(), 1);
}

#[test]
fn store_of_another_kind_is_left_alone() {
    let scratch = Scratch::new();
    let place = scratch.dir("place");
    fs::write(place.join("precious"), "").expect("file");
    let error = Store::open_or_make(&place).expect_err("not empty");
    assert_eq!(error.image_problem(), Some(&Problem::Occupied));
    assert_eq!(names(&place), ["precious"]);
    assert!(matches!(Store::open(&place).expect_err("none").image_problem(), Some(Problem::Store(_))));
    fs::write(place.join("version"), "untar-in-root store 2\n").expect("file");
    let error = Store::open_or_make(&place).expect_err("of tomorrow");
    assert!(error.to_string().contains("another version"), "{error}");
}

#[test]
fn store_refuses_options_that_change_layers() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    let image = open(&scratch.join("oci")).expect("opened");
    let mut unpack = image.unpack().program(program());
    unpack.options_mut().owner = Owner::Caller;
    assert_eq!(unpack.into_store(&store, "x").expect_err("refused").kind(), ErrorKind::Options);
    assert_eq!(put(&image, &store, "").expect_err("no name").kind(), ErrorKind::Image);
}

/// A layer that fails leaves the store as it was.
#[test]
fn store_is_as_before_after_a_failure() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let store = Store::open_or_make(scratch.join("store")).expect("store");
    sample().layer(&tar().hardlink("h", "missing"), Packing::Gzip).write(&scratch.join("oci"));
    let error = put(&open(&scratch.join("oci")).expect("opened"), &store, "x").expect_err("bad");
    assert_eq!((error.kind(), error.layer().map(|layer| layer.number)), (ErrorKind::Entry, Some(4)));
    assert_eq!(names(store.path()), ["images", "layers", "lock", "version"]);
    assert!(names(&store.path().join("layers")).is_empty() && store.images().expect("images").is_empty());
}

fn start(oci: &Path, store: &Path) -> Child {
    let mut command = Command::new(program_path());
    command.args(["image", "-q"]).arg(oci).arg("--store").arg(store);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program")
}

/// `UNTAR_STORE_ROUNDS` sets how many rounds there are.
#[test]
fn store_two_processes_and_one_killed_at_any_moment() {
    if !need_root() {
        return;
    }
    let rounds: u32 = std::env::var("UNTAR_STORE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let scratch = Scratch::new();
    let mut layout = Layout::new();
    for layer in 0..4 {
        let mut tar = tar().dir("d");
        for at in 0..150 {
            tar = tar.file(format!("d/{layer}-{at}"), vec![b'x'; 3000]);
        }
        layout = layout.layer(&tar.whiteout(format!("d/{}-7", layer - 1)), Packing::Gzip);
    }
    layout.write(&scratch.join("oci"));
    let oci = scratch.join("oci");
    let image = open(&oci).expect("opened");
    let place = scratch.join("store");
    // How long one takes alone.
    let begun = Instant::now();
    assert!(start(&oci, &place).wait().expect("the program").success());
    let alone = begun.elapsed();
    let store = Store::open(&place).expect("store");
    let (mut killed_early, mut left_staging) = (0, 0);
    for round in 0..rounds {
        assert!(store.forget(&image.id().to_string()).expect("forgotten"), "round {round}");
        store.gc(Some(program())).expect("gc");
        let (mut victim, mut other) = (start(&oci, &place), start(&oci, &place));
        // From the very beginning to somewhat after the end, spread evenly.
        let moment = alone.mul_f64(1.3 * f64::from(round * 7919 % rounds) / f64::from(rounds));
        std::thread::sleep(moment);
        killed_early += u32::from(victim.try_wait().expect("the program").is_none());
        victim.kill().expect("kill");
        let ended = victim.wait_with_output().expect("the program");
        left_staging += u32::from(names(&place).iter().any(|name| name.starts_with('.')) && !ended.status.success());
        let deadline = Instant::now() + Duration::from_secs(30);
        while other.try_wait().expect("the program").is_none() {
            assert!(Instant::now() < deadline, "round {round}: the other one hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = other.wait_with_output().expect("the program");
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        let verified = store.verify().expect("verified");
        let (layers, differences) = (verified.layers, verified.differences);
        assert!(layers == 4 && differences.is_empty(), "round {round}: {layers} layers, {differences:?}");
    }
    // Whatever the last victim left goes with the next run.
    assert_eq!(found(&put(&image, &store, "last").expect("put")), 4);
    assert_eq!(names(&place), ["images", "l", "layers", "lock", "version"]);
    let helpers = fs::read_dir("/proc").expect("proc").flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let root = fs::read_link(entry.path().join("cwd")).ok()?;
        root.starts_with(&place).then_some(pid)
    });
    assert_eq!(helpers.filter(|pid| !is_gone(*pid)).count(), 0, "processes in the store");
    println!("{rounds} rounds, {killed_early} killed before the end, {left_staging} with something left to sweep");
}
