//! Docker on a containerd that has the differ: every layer that it unpacks, and what it shows of them.

use crate::chroots::{RELEASES, Release};
use crate::doors::Passed;
use crate::images::{archive, sample};
use crate::machine::{Differ, Machine, Running, put, socket_of, words};
use crate::registry;
use crate::relay::{RELAY, Relay};
use crate::support::process::wait_until;
use crate::support::tree::{But, Tree, assert_same};
use crate::views::View;
use std::fs;

const HOST: &str = "unix:///var/d/docker.sock";

/// A machine with Docker on a containerd that has the differ.
pub struct Docker {
    pub machine: Machine,
    archive: String,
    layers: usize,
    relay: Relay,
    running: [Running; 3],
}

impl Docker {
    /// What is built: busybox beside this `Dockerfile`.
    fn context(&self, file: &str) {
        let context = self.machine.path("/var/d/context");
        fs::create_dir(&context).expect("context");
        fs::copy(self.machine.path("/bin/busybox"), context.join("busybox")).expect("busybox");
        put(&self.machine, "context/Dockerfile", file.as_bytes());
    }

    pub fn of(release: Release) -> Option<Docker> {
        let machine = Machine::start(release)?;
        let layout = sample().tagged("localhost/t:latest");
        let archive = archive(&machine, "image.tar", &layout);
        // With 1.7 `commit` makes a layer, which is not the differ's.
        let differ = machine.differ("c", &[]);
        let relay = Relay::start(&machine);
        let containerd = machine.containerd_by("c", Differ::OursThenWalking, RELAY);
        let daemon = r#"{"features": {"containerd-snapshotter": true}, "insecure-registries": ["127.0.0.1:5071"]}"#;
        fs::write(machine.path("/etc/docker/daemon.json"), daemon).expect("daemon.json");
        let socket = socket_of("c");
        let mut words = vec!["dockerd", "-H", HOST, "--containerd", &socket, "--data-root", "/var/d/docker"];
        words.extend(["--exec-root", "/run/docker", "--iptables=false", "--ip6tables=false", "--bridge=none"]);
        let dockerd = machine.spawn("dockerd", &words);
        let running = [containerd, differ, dockerd];
        let docker = Docker { machine, archive, layers: layout.layers.len(), relay, running };
        wait_until("dockerd answers", || docker.machine.output(&["docker", "-H", HOST, "version"]).status.success());
        Some(docker)
    }

    /// Its machine, in which nothing of it runs any more.
    pub fn ended(self) -> Machine {
        let Docker { machine, running, .. } = self;
        running.into_iter().for_each(Running::kill);
        machine
    }

    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        self.machine.run(&[&["docker", "-H", HOST], words].concat())
    }

    /// What passes through this door are these layers, all by the differ.
    #[track_caller]
    fn counts(&self, door: &str, layers: usize, words: &[&str]) -> String {
        let before = Passed::of(&self.machine, &self.relay);
        let said = self.run(words);
        before.and(layers, &format!("docker {door}"), &self.machine, &self.relay);
        said
    }

    /// What the differ makes of so many: 1.7 does not say in which namespace, so that its own differ makes them.
    fn makes(&self, layers: usize) -> usize {
        if self.machine.release == Release::Forky { layers } else { 0 }
    }

    /// This image, unpacked by containerd's own differ and mounted, is what this container's root is.
    fn is_walked(&self, image: &str, container: &str) {
        let machine = &self.machine;
        self.run(&["save", "-o", "/var/d/committed.tar", image]);
        let _walking = machine.containerd("w", Differ::Walking);
        machine.run(&words(&machine.ctr("w", "n", &["images", "import", "/var/d/committed.tar"])));
        let place = "/var/d/container";
        fs::create_dir_all(machine.path(place)).expect("place");
        let mounts = machine.ctr("c", "moby", &["snapshots", "mounts", place, container]);
        let command = machine.run(&words(&mounts));
        machine.run(&["sh", "-c", &format!("busybox {command}")]);
        let view = View::of(machine, "w", "n", image);
        // Times of a layer are whole seconds; of directories that no layer lists, `walking` makes them.
        let mut but = vec![But::Field("mtime")];
        // Between image and container there is one more layer, of Docker's own.
        but.extend(
            [".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"]
                .map(But::Path),
        );
        assert_same(image, &Tree::read(&view.place), &Tree::read(&machine.path(place)), &but);
        machine.run(&["umount", place]);
    }

    fn forget(&self) {
        self.run(&["image", "prune", "-af"]);
    }
}

#[test]
fn docker_load_pull_and_save_lead_to_the_differ() {
    for release in RELEASES {
        let Some(docker) = Docker::of(release) else { return };
        docker.counts("load", docker.layers, &["load", "-i", &docker.archive]);
        docker.counts("save", 0, &["save", "-o", "/var/d/saved.tar", "localhost/t:latest"]);
        docker.forget();
        let _registry = registry::start(&docker.machine, &docker.archive);
        docker.counts("pull", docker.layers, &["pull", registry::IMAGE]);
        docker.forget();
        docker.counts("load of what was saved", docker.layers, &["load", "-i", "/var/d/saved.tar"]);
    }
}

#[test]
fn docker_containers_have_what_the_differ_has_applied() {
    for release in RELEASES {
        let Some(docker) = Docker::of(release) else { return };
        docker.counts("load", docker.layers, &["load", "-i", &docker.archive]);
        let id = docker.counts("create", 0, &["create", "--network", "none", "localhost/t:latest", "/sh"]);
        let id = id.trim();
        docker.counts("cp", 0, &["cp", &format!("{id}:/deep/er/f"), "/var/d/copied"]);
        assert_eq!(fs::read(docker.machine.path("/var/d/copied")).expect("copied"), b"4");
        fs::write(docker.machine.path("/var/d/more"), "5").expect("file");
        docker.run(&["cp", "/var/d/more", &format!("{id}:/more")]);
        docker.counts("commit", 1, &["commit", id, "localhost/u:latest"]);
        assert_eq!(docker.machine.made(), docker.makes(1), "{}", docker.machine.log("differ"));
        let again = docker.run(&["create", "--network", "none", "localhost/u:latest", "/sh"]);
        docker.run(&["cp", &format!("{}:/more", again.trim()), "/var/d/committed"]);
        assert_eq!(fs::read(docker.machine.path("/var/d/committed")).expect("copied"), b"5");
        docker.is_walked("localhost/u:latest", id);
    }
}

#[test]
fn docker_builds_and_runs_on_what_the_differ_has_applied() {
    for release in RELEASES {
        let Some(docker) = Docker::of(release) else { return };
        let file = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                    RUN echo built > /built && rm /bin/busybox.none || true\nCOPY busybox /again\n";
        docker.context(file);
        docker.counts("build", 4, &["build", "--network", "none", "-t", "localhost/b", "/var/d/context"]);
        let run = ["run", "--rm", "--network", "none", "localhost/b", "/bin/cat", "/built"];
        assert_eq!(docker.counts("run", 0, &run), "built\n");
    }
}

/// The builder from before BuildKit makes a container of each step and commits it; a step that changes no file makes no layer.
#[test]
fn the_classic_builder_makes_its_layers_by_the_differ() {
    for release in RELEASES {
        let Some(docker) = Docker::of(release) else { return };
        let file = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                    ENV a=b\nRUN echo built > /built && rm /bin/vi\nCMD [\"/bin/cat\", \"/built\"]\n";
        docker.context(file);
        let build =
            ["env", "DOCKER_BUILDKIT=0", "docker", "-H", HOST, "build", "--network", "none", "-t", "localhost/b"];
        docker.machine.run(&[&build[..], &["/var/d/context"]].concat());
        println!("DOOR | {} | docker build, classic | {} made |", docker.machine.version(), docker.machine.made());
        assert_eq!(docker.run(&["run", "--rm", "--network", "none", "localhost/b"]), "built\n");
        let gone = ["run", "--rm", "--network", "none", "localhost/b", "/bin/busybox", "test", "!", "-e", "/bin/vi"];
        docker.run(&gone);
        let layers = docker.run(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", "localhost/b"]);
        assert_eq!(layers.trim(), "3");
    }
}

/// Docker pauses a container that it commits, and what is paused does not change.
#[test]
fn a_container_that_runs_and_writes_is_committed_paused() {
    for release in RELEASES {
        let Some(docker) = Docker::of(release) else { return };
        let context = docker.machine.path("/var/d/context");
        fs::create_dir(&context).expect("context");
        fs::copy(docker.machine.path("/bin/busybox"), context.join("busybox")).expect("busybox");
        put(&docker.machine, "context/Dockerfile", b"FROM scratch\nCOPY busybox /bin/busybox\n");
        docker.run(&["build", "--network", "none", "-t", "localhost/b", "/var/d/context"]);
        let before = docker.machine.made();
        let script = "i=0; while :; do i=$((i+1)); echo $i >> /log; echo $i > /d$((i%100)); done";
        let words =
            ["run", "-d", "--network", "none", "--name", "busy", "localhost/b", "/bin/busybox", "sh", "-c", script];
        docker.run(&words);
        // `docker exec` would end outside of a machine that is in a chroot.
        let snapshots = docker.machine.path("/var/d/c/root/io.containerd.snapshotter.v1.overlayfs/snapshots");
        let all = || fs::read_dir(&snapshots).expect("snapshots").map(|entry| entry.expect("an entry").path());
        wait_until("it writes", || all().any(|snapshot| snapshot.join("fs/log").exists()));
        for number in 0..5 {
            docker.counts("commit of a container that runs", 1, &["commit", "busy", &format!("localhost/c{number}")]);
        }
        assert_eq!(docker.machine.made() - before, docker.makes(5), "{}", docker.machine.log("differ"));
        let tail = ["run", "--rm", "--network", "none", "localhost/c4", "/bin/busybox", "tail", "-n", "1", "/log"];
        assert!(docker.run(&tail).trim().parse::<u64>().is_ok());
        docker.run(&["rm", "-f", "busy"]);
    }
}
