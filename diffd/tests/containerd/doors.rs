//! Every way by which an image gets unpacked leads to the differ, in both versions: its layers, counted.
//!
//! They are counted thrice: at a relay before the differ, in its log, which has a line for each, and in its metrics. Of
//! containerd's own differ, which is out of reach, containerd's log says so at the level `debug`.

use crate::chroots::{RELEASES, Release};
use crate::cri;
use crate::images::{NAME, archive, sample};
use crate::machine::{Differ, Machine, Running, words};
use crate::registry;
use crate::relay::{RELAY, Relay};
use crate::support::layout::digest;

/// A machine with containerd that has nothing but the differ, and the image as an archive.
struct Doors {
    machine: Machine,
    archive: String,
    layers: usize,
    relay: Relay,
    /// They end with it.
    _running: [Running; 2],
}

/// Layers that have passed so far.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    pub relayed: usize,
    pub logged: usize,
    pub told: usize,
    pub walked: usize,
}

impl Passed {
    pub fn of(machine: &Machine, relay: &Relay) -> Passed {
        let told = machine.metric("untar_in_root_applies_total");
        Passed { relayed: relay.layers(), logged: machine.applied(), told, walked: machine.walked("c") }
    }

    /// These many more than before, all by the differ; a line of the table in docs/containerd.md.
    #[track_caller]
    pub fn and(self, layers: usize, door: &str, machine: &Machine, relay: &Relay) {
        let Passed { relayed, logged, told, walked } = self;
        let now = Passed::of(machine, relay);
        println!("DOOR | {} | {door} | {} of {layers} |", machine.version(), now.relayed - relayed);
        let wanted = Passed { relayed: relayed + layers, logged: logged + layers, told: told + layers, walked };
        assert_eq!(now, wanted, "{door}");
    }
}

impl Doors {
    fn of(release: Release) -> Option<Doors> {
        let machine = Machine::start(release)?;
        let layout = sample();
        let archive = archive(&machine, "image.tar", &layout);
        let differ = machine.differ("c", &[]);
        let relay = Relay::start(&machine);
        let containerd = machine.containerd_by("c", Differ::Ours, RELAY);
        Some(Doors { machine, archive, layers: layout.layers.len(), relay, _running: [differ, containerd] })
    }

    /// The layers that pass through a door are these, all by the differ.
    #[track_caller]
    fn counts(&self, door: &str, layers: usize, pass: impl FnOnce()) {
        let before = Passed::of(&self.machine, &self.relay);
        pass();
        before.and(layers, door, &self.machine, &self.relay);
    }

    /// In a namespace of its own, where no layer is there before.
    #[track_caller]
    fn ctr(&self, door: &str, command: &[&str]) {
        let namespace = door.replace([' ', '-', '='], "");
        self.counts(door, self.layers, || {
            self.machine.run(&words(&self.machine.ctr("c", &namespace, command)));
        });
    }
}

#[test]
fn an_import_is_applied_by_the_differ() {
    for release in RELEASES {
        let Some(doors) = Doors::of(release) else { return };
        let base = ["images", "import", "--base-name", "localhost/t"];
        let import = |more: &[&'static str]| [&base, more, &[doors.archive.as_str()]].concat();
        doors.ctr("ctr images import", &import(&[]));
        match release {
            Release::Trixie => doors.ctr("ctr images import --local=false", &import(&["--local=false"])),
            Release::Forky => doors.ctr("ctr images import --local", &import(&["--local"])),
        }
        // Every layer there is a copy of the one below, bound.
        let local: &[&'static str] = if release == Release::Forky { &["--local"] } else { &[] };
        doors.ctr("import into native snapshots", &import(&[local, &["--snapshotter", "native"]].concat()));
    }
}

#[test]
fn a_pull_is_applied_by_the_differ() {
    for release in RELEASES {
        let Some(doors) = Doors::of(release) else { return };
        let _registry = registry::start(&doors.machine, &doors.archive);
        let pull = ["images", "pull", "--plain-http"];
        doors.ctr("ctr images pull", &[&pull[..], &[registry::IMAGE]].concat());
        if release == Release::Forky {
            doors.ctr("ctr images pull --local", &[&pull[..], &["--local", registry::IMAGE]].concat());
        }
        doors.counts("CRI PullImage", doors.layers, || {
            cri::pull(&doors.machine, "c", registry::IMAGE).expect("pulled");
        });
    }
}

#[test]
fn what_was_applied_is_not_applied_again() {
    for release in RELEASES {
        let Some(doors) = Doors::of(release) else { return };
        let import = doors.machine.ctr("c", "n", &["images", "import", "--base-name", "localhost/t", &doors.archive]);
        doors.counts("first", doors.layers, || _ = doors.machine.run(&words(&import)));
        doors.counts("second", 0, || _ = doors.machine.run(&words(&import)));
        let list = doors.machine.run(&words(&doors.machine.ctr("c", "n", &["images", "ls", "-q"])));
        assert!(list.contains(NAME), "{list}");
    }
}

#[test]
fn a_layer_has_one_line_that_says_what_it_was() {
    for release in RELEASES {
        let Some(doors) = Doors::of(release) else { return };
        doors.ctr("ctr images import", &["images", "import", "--base-name", "localhost/t", &doors.archive]);
        let log = doors.machine.log("differ");
        for layer in sample().layers {
            let name = format!(" applied digest=\"{}\" ", digest(&layer.blob));
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&name)).collect();
            let [line] = lines[..] else { panic!("{name}: {log}") };
            let bytes = format!(" bytes_in={} bytes_tar={} entries=", layer.blob.len(), layer.tar.len());
            assert!(line.contains(&bytes) && line.contains(" isolation=Pivot") && line.contains(" ms="), "{line}");
        }
    }
}
