//! What making a layer costs by containerd's own differ and by ours, on the same machine and of the same directories: the call
//! `Diff` by itself, as a commit has it. As root, on a quiet machine: `just bench-commit [ROUNDS]`. Rounds are taken in turn; of
//! each the median is told, and the ratio. In memory.
#![allow(unreachable_pub, clippy::print_stdout)]

use chroots::Release;
use interface::diff::DiffRequest;
use interface::diff::diff_client::DiffClient;
use interface::types::Mount;
use machine::{Differ, Machine, SOCKET, socket_of};
use std::fs;
use std::path::Path;
use std::time::Instant;
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
    pub mod privilege;
    pub mod process;
    pub mod scratch;
    pub mod tree;
}

/// A container: how many files its image has, and how many of them it has written anew.
struct Container {
    name: &'static str,
    image: usize,
    changed: usize,
    media_type: &'static str,
}

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const CONTAINERS: [Container; 4] = [
    Container { name: "100 changed of 60,000, gzip", image: 60_000, changed: 100, media_type: GZIP },
    Container { name: "20,000 changed of 20,000, plain", image: 20_000, changed: 20_000, media_type: PLAIN },
    Container { name: "20,000 changed of 20,000, gzip", image: 20_000, changed: 20_000, media_type: GZIP },
    Container { name: "nothing changed of 60,000", image: 60_000, changed: 0, media_type: PLAIN },
];

fn main() {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(7);
    let Some(machine) = Machine::start(Release::Forky) else { return };
    let _running =
        [machine.differ("c", &[]), machine.containerd("c", Differ::Ours), machine.containerd("w", Differ::Walking)];
    let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
    let connect = |socket: &str| DiffClient::new(runtime.block_on(cri::channel(&machine, socket)));
    let mut sides = [connect(SOCKET), connect(&socket_of("w"))];
    println!("containerd {}: seconds, medians of {rounds}", machine.version());
    println!("{:34} {:>8} {:>8} {:>6}", "", "Diff", "walking", "ratio");
    for (number, container) in CONTAINERS.iter().enumerate() {
        let request = container.made(&machine, number);
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (side, taken) in sides.iter_mut().zip(&mut taken) {
                taken.push(diff(&runtime, side, &request));
            }
        }
        let [ours, walking] = taken.map(median);
        println!("{:34} {ours:8.3} {walking:8.3} {:6.2}", container.name, walking / ours);
    }
}

/// The blob is there from the second round on, for both.
fn diff(runtime: &Runtime, side: &mut DiffClient<Channel>, request: &DiffRequest) -> f64 {
    let mut request = tonic::Request::new(request.clone());
    request.metadata_mut().insert("containerd-namespace", "n".parse().expect("a name"));
    let begun = Instant::now();
    runtime.block_on(side.diff(request)).expect("made");
    begun.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

impl Container {
    fn made(&self, machine: &Machine, number: usize) -> DiffRequest {
        let place = format!("/var/d/commit/{number}");
        for dir in ["lower", "upper", "work"] {
            fs::create_dir_all(machine.path(&format!("{place}/{dir}"))).expect("directory");
        }
        files(&machine.path(&format!("{place}/lower")), self.image, 1);
        files(&machine.path(&format!("{place}/upper")), self.changed, 2);
        let mount = |kind: &str, source: &str, options: Vec<String>| {
            vec![Mount { r#type: kind.into(), source: source.into(), target: String::new(), options }]
        };
        let lower = format!("{place}/lower");
        let left = mount("bind", &lower, vec!["ro".into(), "rbind".into()]);
        let options = [format!("workdir={place}/work"), format!("upperdir={place}/upper"), format!("lowerdir={lower}")];
        let right = mount("overlay", "overlay", options.into());
        DiffRequest { left, right, media_type: self.media_type.into(), ..DiffRequest::default() }
    }
}

/// Makes files of 1 KiB each, in 300 directories.
fn files(root: &Path, count: usize, seed: usize) {
    for number in 0..count {
        let dir = root.join(format!("d{}", number % 300));
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join(format!("f{number}")), format!("{:01024}", number * seed)).expect("file");
    }
}
