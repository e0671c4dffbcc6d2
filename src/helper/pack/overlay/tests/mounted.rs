//! Random layers: what is looked up is what a mounted overlay shows. `UNTAR_OVERLAY_CASES` for how many.

use crate::helper::fault::Fault;
use crate::helper::pack::overlay::lookup::Seen;
use crate::helper::pack::overlay::{Layers, Marks, Merged, NoData, Shown, Stands, Tree, Upper, lookup};
use crate::helper::pack::programs::{Scratch, skip};
use crate::helper::pack::walk::Dir;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::fs::{XattrFlags, setxattr};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CASES: usize = 250;
const SEED: [u8; 32] = [22; 32];
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Node {
    File(u8),
    Link,
    Device,
    /// An empty file with the attribute.
    Marked,
    Metacopy(Option<String>),
    Dir {
        opaque: bool,
        redirect: Option<String>,
        within: Layer,
    },
}

type Layer = BTreeMap<&'static str, Node>;

fn redirect(strength: f64) -> impl Strategy<Value = Option<String>> {
    let name = prop::sample::select(NAMES.to_vec());
    let path = prop::collection::vec(name.clone(), 1..3).prop_map(|names| format!("/{}", names.join("/")));
    prop::option::weighted(strength, prop_oneof![name.prop_map(str::to_owned), path])
}

fn layer() -> impl Strategy<Value = Layer> {
    let leaf = prop_oneof![
        3 => any::<u8>().prop_map(Node::File),
        1 => Just(Node::Link),
        2 => Just(Node::Device),
        1 => Just(Node::Marked),
        2 => redirect(0.4).prop_map(Node::Metacopy),
        2 => Just(Node::Dir { opaque: false, redirect: None, within: Layer::new() }),
    ];
    let name = || prop::sample::select(NAMES.to_vec());
    let node = leaf.prop_recursive(2, 12, 3, move |inner| {
        (prop::bool::weighted(0.2), redirect(0.3), prop::collection::btree_map(name(), inner, 0..4))
            .prop_map(|(opaque, redirect, within)| Node::Dir { opaque, redirect, within })
    });
    prop::collection::btree_map(name(), node, 0..4)
}

fn mark(path: &Path, name: &str, value: &str) {
    setxattr(path, format!("trusted.overlay.{name}"), value.as_bytes(), XattrFlags::empty()).expect("an attribute");
}

fn make(dir: &Path, layer: &Layer) {
    fs::create_dir_all(dir).expect("a directory");
    for (name, node) in layer {
        let path = dir.join(name);
        match node {
            Node::File(content) => fs::write(&path, [*content; 3]).expect("a file"),
            Node::Link => symlink("nowhere", &path).expect("a link"),
            Node::Device => mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).expect("a device"),
            Node::Marked => {
                File::create(&path).expect("a file");
                mark(&path, "whiteout", "y");
                mark(dir, "opaque", "x");
            }
            Node::Metacopy(redirect) => {
                File::create(&path).and_then(|file| file.set_len(3)).expect("a file");
                mark(&path, "metacopy", "");
                redirect.iter().for_each(|to| mark(&path, "redirect", to));
            }
            Node::Dir { opaque, redirect, within } => {
                make(&path, within);
                redirect.iter().for_each(|to| mark(&path, "redirect", to));
                if *opaque {
                    mark(&path, "opaque", "y");
                }
            }
        }
    }
}

/// What there is at each path that is looked at; nothing is left out.
type View = BTreeMap<String, String>;

fn mounted(dir: &Path, at: &str, view: &mut View) {
    for name in NAMES {
        let path = dir.join(name);
        let told = match fs::symlink_metadata(&path) {
            Err(error) => error_told(error.raw_os_error().unwrap_or(0)),
            Ok(meta) if meta.is_dir() => {
                mounted(&path, &format!("{at}{name}/"), view);
                "directory".to_owned()
            }
            Ok(meta) if meta.is_symlink() => "link".to_owned(),
            Ok(_) => fs::read(&path)
                .map_or_else(|e| error_told(e.raw_os_error().unwrap_or(0)), |content| format!("{content:?}")),
        };
        view.insert(format!("{at}{name}"), told);
    }
}

fn error_told(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::ENOENT => "nothing".to_owned(),
        errno => format!("{errno:?}"),
    }
}

/// The upper directory at a place, if there is one.
type Above = Option<Arc<Dir>>;

fn looked_up(tree: &Tree, above: (&Tree, Above), merged: &Merged<Arc<Dir>>, at: &str, view: &mut View) {
    let (upper_tree, upper_dir) = above;
    for name in NAMES {
        let seen = upper_dir.as_ref().and_then(|dir| upper_tree.look(dir, name.as_bytes()).expect("a look"));
        let upper = seen.as_ref().map_or(Upper::Nothing, |seen| Upper::There(stands(seen)));
        let shown = lookup(tree, merged, name.as_bytes(), &upper);
        let path = format!("{at}{name}");
        let told = match (seen, shown) {
            (_, Err(fault)) => error_told(fault_errno(&fault)),
            (_, Ok(Err(NoData))) => "EIO".to_owned(),
            (Some(Seen::Directory { dir, .. }), Ok(Ok(shown))) => {
                let below = if let Shown::Directory(below) = shown { below } else { Merged::top(&[]) };
                looked_up(tree, (upper_tree, Some(dir)), &below, &format!("{path}/"), view);
                "directory".to_owned()
            }
            (Some(Seen::Whiteout), _) => "nothing".to_owned(),
            (Some(Seen::File { file, metacopy: false, .. }), _) => content(&file),
            (_, Ok(Ok(Shown::Absent))) => "nothing".to_owned(),
            (_, Ok(Ok(Shown::Directory(below)))) => {
                looked_up(tree, (upper_tree, None), &below, &format!("{path}/"), view);
                "directory".to_owned()
            }
            (_, Ok(Ok(Shown::File(files)))) => content(files.last().expect("a file")),
        };
        view.insert(path, told);
    }
}

fn fault_errno(fault: &Fault) -> i32 {
    fault.errno().map_or(0, |errno| errno as i32)
}

fn stands<D, F>(seen: &Seen<D, F>) -> Stands {
    match seen {
        Seen::Whiteout => Stands::Whiteout,
        Seen::Directory { opaque, redirect, .. } => Stands::Directory { opaque: *opaque, redirect: redirect.clone() },
        Seen::File { metacopy: true, redirect, .. } => Stands::Metacopy { redirect: redirect.clone() },
        Seen::File { regular, .. } => Stands::Itself { regular: *regular },
    }
}

fn content(file: &crate::helper::pack::overlay::Leaf) -> String {
    if file.seen.kind == rustix::fs::FileType::Symlink {
        return "link".to_owned();
    }
    let path = format!(
        "/proc/self/fd/{}/{}",
        std::os::fd::AsRawFd::as_raw_fd(&file.dir.fd),
        String::from_utf8_lossy(&file.name)
    );
    format!("{:?}", fs::read(path).expect("a file"))
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).expect("a directory").into()
}

/// A mount namespace of this thread's own, with memory in it for the layers; false where that is not allowed.
fn alone(place: &Path) -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).is_ok()
        && mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_ok()
        && mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>).is_ok()
}

fn compare(place: &Path, number: usize, upper: Option<&Layer>, lowers: &[Layer]) {
    let dir = place.join(number.to_string());
    let named = |name: String| -> PathBuf { dir.join(name) };
    let paths: Vec<PathBuf> = (0..lowers.len()).map(|at| named(format!("l{at}"))).collect();
    lowers.iter().zip(&paths).for_each(|(layer, path)| make(path, layer));
    let [up, work, merged] = ["up", "work", "merged"].map(|name| named(name.to_owned()));
    for path in [&up, &work, &merged] {
        fs::create_dir_all(path).expect("a directory");
    }
    make(&up, upper.unwrap_or(&Layer::new()));
    let text = |path: &PathBuf| path.to_str().expect("text").to_owned();
    let mut options = format!(
        "redirect_dir=follow,metacopy=on,index=off,lowerdir={}",
        paths.iter().map(text).collect::<Vec<_>>().join(":")
    );
    if upper.is_some() {
        options = options.replace("=follow", "=on") + &format!(",upperdir={},workdir={}", text(&up), text(&work));
    }
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(&options[..]))
        .unwrap_or_else(|errno| panic!("{errno}: {options}"));
    let (mut want, mut found) = (View::new(), View::new());
    mounted(&merged, "", &mut want);
    umount2(&merged, MntFlags::MNT_DETACH).expect("it is mounted");
    let opened: Vec<OwnedFd> = paths.iter().map(|path| open(path)).collect();
    let tree = Tree::new(&opened, Some(Marks::Trusted)).expect("layers");
    let above = Tree::new(&[open(&up)], Some(Marks::Trusted)).expect("a layer");
    let top = upper.and_then(|_| above.roots().first().cloned());
    looked_up(&tree, (&above, top), &Merged::top(tree.roots()), "", &mut found);
    // Two ways to one directory: the mount knows only the first that was taken, and that is its own affair.
    for stale in want.iter().filter(|(_, told)| *told == "ESTALE").map(|(path, _)| path.clone()).collect::<Vec<_>>() {
        found.retain(|path, _| *path != stale && !path.starts_with(&format!("{stale}/")));
        want.remove(&stale);
    }
    assert_eq!(found, want, "case {number}: {upper:#?} {lowers:#?}");
    fs::remove_dir_all(&dir).expect("gone");
}

/// With an upper directory, and without.
#[test]
fn rule_22_layers_show_what_a_mounted_overlay_shows() {
    let count = std::env::var("UNTAR_OVERLAY_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    let scratch = Scratch::new("overlay");
    let ran = std::thread::scope(|scope| {
        // The namespace ends with the thread.
        let thread = scope.spawn(|| alone(&scratch.0).then(|| random_layers(&scratch.0, count)).is_some());
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if !ran {
        skip("no mount namespace with a tmpfs of its own");
    }
}

fn dir(redirect: Option<&str>, opaque: bool, within: Layer) -> Node {
    Node::Dir { opaque, redirect: redirect.map(str::to_owned), within }
}

/// What is rare among random ones, the topmost first.
fn rare() -> Vec<Vec<Layer>> {
    let file = |content| Layer::from([("a", Node::File(content))]);
    let meta = |to: Option<&str>| Node::Metacopy(to.map(str::to_owned));
    vec![
        // A path that leads through an opaque directory counts on below it.
        vec![
            Layer::from([("a", dir(Some("/b/c"), false, Layer::new()))]),
            Layer::from([("b", dir(None, true, Layer::from([("c", dir(Some("/a"), false, Layer::new()))])))]),
            Layer::from([("a", dir(None, false, file(7)))]),
        ],
        // One name does not: it is beside what is hidden.
        vec![
            Layer::from([("a", dir(Some("/b/c"), false, Layer::new()))]),
            Layer::from([("b", dir(None, true, Layer::from([("c", dir(Some("a"), false, Layer::new()))])))]),
            Layer::from([("b", dir(None, false, Layer::from([("a", dir(None, false, file(7)))])))]),
        ],
        // Content two layers below, by way of another metacopy that leads elsewhere again.
        vec![
            Layer::from([("a", meta(Some("/b")))]),
            Layer::from([("b", meta(Some("/c/a")))]),
            Layer::from([("c", dir(None, false, file(9)))]),
        ],
        // Content is no directory and no link.
        vec![Layer::from([("a", meta(None))]), Layer::from([("a", Node::Link)])],
        vec![Layer::from([("a", meta(None))]), Layer::from([("a", dir(None, false, file(1)))]), file(5)],
        // What is below a file that a directory covers does not count.
        vec![
            Layer::from([("b", dir(None, false, Layer::new()))]),
            Layer::from([("b", Node::File(1))]),
            Layer::from([("b", dir(None, false, file(2)))]),
        ],
        // A path counts for the layers below the one that says it, wherever its parent begins.
        vec![
            Layer::new(),
            Layer::from([
                ("a", dir(None, false, Layer::from([("c", dir(Some("/b"), false, Layer::new()))]))),
                ("b", dir(None, false, file(1))),
            ]),
            Layer::from([("b", dir(None, false, file(2)))]),
        ],
        // A renamed directory in a renamed directory.
        vec![
            Layer::from([("a", dir(Some("/b"), false, Layer::from([("c", dir(Some("b"), false, Layer::new()))])))]),
            Layer::from([("b", dir(Some("/c"), false, Layer::from([("b", dir(None, false, file(3)))])))]),
            Layer::from([(
                "c",
                dir(None, false, Layer::from([("b", dir(None, false, Layer::from([("b", Node::File(4))])))])),
            )]),
        ],
    ]
}

fn random_layers(place: &Path, count: usize) {
    for (number, layers) in rare().iter().enumerate() {
        compare(place, number, None, layers);
        compare(place, number, layers.first(), &layers[1..]);
    }
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let strategy = (prop::option::weighted(0.6, layer()), prop::collection::vec(layer(), 2..4));
    for number in 0..count {
        let (upper, lowers) = strategy.new_tree(&mut runner).expect("a value").current();
        compare(place, number, upper.as_ref(), &lowers);
    }
}
