//! Every way by which an image gets unpacked leads to the differ, in both versions: its layers, counted.
//!
//! What the differ has applied stands in its log; of containerd's own differ, which is out of reach, containerd's log says
//! so at the level `debug`.

use crate::chroots::{RELEASES, Release};
use crate::cri;
use crate::images::{NAME, archive, sample};
use crate::machine::{Differ, Machine, Running, words};
use crate::registry;

/// A machine with containerd that has nothing but the differ, and the image as an archive.
struct Doors {
    machine: Machine,
    archive: String,
    layers: usize,
    /// They end with it.
    _running: [Running; 2],
}

impl Doors {
    fn of(release: Release) -> Option<Doors> {
        let machine = Machine::start(release)?;
        let layout = sample();
        let archive = archive(&machine, "image.tar", &layout);
        let differ = machine.differ("c", &[]);
        let containerd = machine.containerd("c", Differ::Ours, "");
        Some(Doors { machine, archive, layers: layout.layers.len(), _running: [differ, containerd] })
    }

    /// The layers that pass through a door are these, all by the differ.
    #[track_caller]
    fn counts(&self, door: &str, layers: usize, pass: impl FnOnce()) {
        let before = self.machine.applied();
        pass();
        let (ours, walked) = (self.machine.applied() - before, self.machine.walked("c"));
        println!("DOOR | {} | {door} | {ours} of {layers} |", self.machine.version());
        assert_eq!((ours, walked), (layers, 0), "{door}: by the differ, and by containerd's own");
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
