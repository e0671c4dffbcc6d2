//! What unpacking costs by containerd's own differ and by ours, on the same machine: the `Apply` calls of an image by
//! themselves, and its whole import. As root, on a quiet machine: `just bench-differ [ROUNDS] [trixie|forky]`. Rounds are taken in turn;
//! of each the median is told, and the ratio. In memory, and neither `unpigz` nor `igzip` is in containerd's path, unless
//! `MACHINE_DISK` names a directory to work in (20 GB, nothing is removed), and `MACHINE_MORE` a tree of programs to lay over the machine's root.
#![allow(unreachable_pub, clippy::print_stdout)]

use chroots::{RELEASES, Release};
use interface::diff::ApplyRequest;
use interface::diff::diff_client::DiffClient;
use interface::types::{Descriptor, Mount};
use machine::{Differ, Machine, SOCKET, socket_of, words};
use std::fs;
use std::time::Instant;
use support::debian::{debian, debian_image};
use support::layout::{Layout, Packing};
use support::scratch::Scratch;
use support::tarball::Tarball;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;

#[path = "../tests/containerd/cgroup.rs"]
#[allow(dead_code)]
mod cgroup;
#[path = "../tests/containerd/chroots.rs"]
mod chroots;
#[path = "../tests/containerd/cri.rs"]
#[allow(dead_code)]
mod cri;
#[path = "../interface.rs"]
mod interface;
#[path = "../tests/containerd/machine.rs"]
#[allow(dead_code)]
mod machine;
#[path = "../../tests/support"]
#[allow(dead_code, unused_imports)]
mod support {
    pub mod debian;
    pub mod layout;
    pub mod privilege;
    pub mod process;
    pub mod scratch;
    pub mod tarball;
    pub mod tree;
}

/// An image archive in the machine, and its layers' descriptors.
struct Image {
    name: &'static str,
    archive: String,
    layers: Vec<Descriptor>,
}

/// A differ and the containerd that has it.
struct Side {
    containerd: &'static str,
    client: DiffClient<Channel>,
}

/// Seconds.
#[derive(Default)]
struct Taken {
    apply: Vec<f64>,
    import: Vec<f64>,
}

fn main() {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(7);
    let named = |release: &Release| std::env::args().any(|word| word == release.name());
    let all = !RELEASES.iter().any(named);
    for release in RELEASES.into_iter().filter(|release| all || named(release)) {
        let Some(machine) = Machine::start(release) else { return };
        let _running =
            [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        let connect = |socket: &str| DiffClient::new(runtime.block_on(cri::channel(&machine, socket)));
        let ours = Side { containerd: "c", client: connect(SOCKET) };
        let mut sides = [ours, Side { containerd: "w", client: connect(&socket_of("w")) }];
        println!("containerd {}: seconds, medians of {rounds}", machine.version());
        println!(
            "{:32} {:>8} {:>8} {:>6}   {:>8} {:>8} {:>6}",
            "", "Apply", "walking", "ratio", "import", "walking", "ratio"
        );
        for image in images(&machine) {
            measure(&machine, &runtime, &mut sides, &image, rounds);
        }
    }
}

fn measure(machine: &Machine, runtime: &Runtime, sides: &mut [Side; 2], image: &Image, rounds: usize) {
    let mut taken = [Taken::default(), Taken::default()];
    for round in 0..rounds {
        for (side, taken) in sides.iter_mut().zip(&mut taken) {
            taken.import.push(import(machine, side.containerd, image, round));
            taken.apply.push(apply(machine, runtime, side, image, round));
        }
    }
    let [ours, walking] = taken.map(|taken| (median(taken.apply), median(taken.import)));
    println!(
        "{:32} {:8.3} {:8.3} {:6.2}   {:8.3} {:8.3} {:6.2}",
        image.name,
        ours.0,
        walking.0,
        walking.0 / ours.0,
        ours.1,
        walking.1,
        walking.1 / ours.1
    );
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

impl Image {
    /// Of images in containerd, so that no layer of another image or round is there before.
    fn namespace(&self, round: usize) -> String {
        format!("{}-{round}", self.name.replace([' ', ','], "").replace('.', "-"))
    }
}

fn on_disk() -> bool {
    std::env::var_os("MACHINE_DISK").is_some()
}

/// What was written before is on the disk, so that nobody waits for another's writing.
fn settle() {
    let status = std::process::Command::new("sync").status().expect("sync");
    assert!(status.success(), "sync: {status}");
}

/// In a namespace of its own; its content stays for the calls. Its snapshots go afterwards if they are in memory: ext4
/// makes files several times as slowly for a minute after many were removed (it looks for inodes not recently deleted).
fn import(machine: &Machine, containerd: &str, image: &Image, round: usize) -> f64 {
    let namespace = image.namespace(round);
    let ctr = |command: &[&str]| machine.run(&words(&machine.ctr(containerd, &namespace, command)));
    settle();
    let begun = Instant::now();
    ctr(&["images", "import", "--base-name", "localhost/t", &image.archive]);
    let took = begun.elapsed().as_secs_f64();
    if round > 0 && !on_disk() {
        let names = ctr(&["images", "ls", "-q"]);
        names.lines().for_each(|name| _ = ctr(&["images", "rm", "--sync", name]));
    }
    took
}

/// All layers of the image, each over those before it, as the overlayfs snapshotter would mount them.
fn apply(machine: &Machine, runtime: &Runtime, side: &mut Side, image: &Image, round: usize) -> f64 {
    let place = &format!("/var/d/apply/{}-{}", side.containerd, image.namespace(round));
    for number in 0..image.layers.len() {
        for dir in ["fs", "work"] {
            fs::create_dir_all(machine.path(&format!("{place}/{number}/{dir}"))).expect("snapshot");
        }
    }
    settle();
    let begun = Instant::now();
    for (number, layer) in image.layers.iter().enumerate() {
        let request =
            ApplyRequest { diff: Some(layer.clone()), mounts: vec![mount(place, number)], ..Default::default() };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("containerd-namespace", image.namespace(0).parse().expect("a name"));
        runtime.block_on(side.client.apply(request)).expect("applied");
    }
    let took = begun.elapsed().as_secs_f64();
    if !on_disk() {
        fs::remove_dir_all(machine.path(place)).expect("removed");
    }
    took
}

fn mount(place: &str, number: usize) -> Mount {
    let fs = |number: usize| format!("{place}/{number}/fs");
    let (kind, source, options) = match number {
        0 => ("bind", fs(0), vec!["rw".to_owned(), "rbind".into()]),
        _ => {
            let lowers: Vec<String> = (0..number).rev().map(fs).collect();
            let work = format!("workdir={place}/{number}/work");
            (
                "overlay",
                "overlay".into(),
                vec![work, format!("upperdir={}", fs(number)), format!("lowerdir={}", lowers.join(":"))],
            )
        }
    };
    Mount { r#type: kind.into(), source, target: String::new(), options }
}

fn images(machine: &Machine) -> Vec<Image> {
    let small = (0..60_000).fold(Tarball::new(), |tar, number| {
        let name = format!("d{}/f{number}", number % 300);
        tar.file(name, format!("{number:01024}"))
    });
    let mut images = Vec::new();
    for (packing, name) in
        [(Packing::Gzip, "60,000 files of 1 KiB, gzip"), (Packing::Zstd, "60,000 files of 1 KiB, zstd")]
    {
        let scratch = Scratch::new();
        Layout::new().layer(&small, packing).write(&scratch.join("oci"));
        images.push(image(machine, name, &scratch.join("oci"), None));
    }
    if let Some(debian) = debian() {
        let layout = debian_image(debian).join("oci");
        images.push(image(machine, "Debian packages, 7 layers, gzip", &layout, Some("gzip")));
        images.push(image(machine, "Debian packages, 7 layers, zstd", &layout, Some("zstd")));
    }
    images
}

/// The image of this tag, or the only one, copied out so that nothing else is imported with it.
fn image(machine: &Machine, name: &'static str, layout: &std::path::Path, tag: Option<&str>) -> Image {
    let archive = format!("/var/d/{}.tar", name.replace([' ', ','], ""));
    let scratch = Scratch::new();
    let from = format!("oci:{}:{}", layout.display(), tag.unwrap_or("latest"));
    let to = format!("oci:{}:latest", scratch.join("oci").display());
    let run = |words: &[&str]| {
        let output = std::process::Command::new(words[0]).args(&words[1..]).output().expect(words[0]);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["skopeo", "copy", "-q", "--insecure-policy", &from, &to]);
    let (dir, tar) = (scratch.join("oci").display().to_string(), machine.path(&archive).display().to_string());
    run(&["tar", "-C", &dir, "-cf", &tar, "."]);
    Image { name, archive, layers: layers(&scratch.join("oci")) }
}

fn layers(layout: &std::path::Path) -> Vec<Descriptor> {
    let json = |path: &std::path::Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).expect("document")).expect("JSON")
    };
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let index = json(&layout.join("index.json"));
    let digest = text(&index["manifests"][0]["digest"]);
    let manifest = json(&support::layout::blob_path(layout, &digest));
    let all = manifest["layers"].as_array().expect("layers").iter();
    let one = |layer: &serde_json::Value| Descriptor {
        media_type: text(&layer["mediaType"]),
        digest: text(&layer["digest"]),
        size: layer["size"].as_i64().expect("a size"),
        annotations: Default::default(),
    };
    all.map(one).collect()
}
