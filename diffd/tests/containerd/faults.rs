//! What happens on a machine at night: the error that is seen, when, and that nothing is left of it.

use crate::chroots::{RELEASES, Release};
use crate::images::{archive, sample};
use crate::machine::{Differ, Machine, Running, SOCKET, signal, words};
use crate::support::layout::{Document, Layout, Packing, pack};
use crate::support::process::wait_until;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use nix::sys::signal::Signal;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// More than twice what any of it has ever taken, under load too; containerd's own patience with a pull is longer. What
/// takes longer waits for something that does not come.
const LATE: Duration = Duration::from_secs(5);

/// A line of the table in docs/containerd.md.
#[track_caller]
fn tell(machine: &Machine, what: &str, told: &str, took: Duration) {
    println!("FAULT | {} | {what} | {told} | {:.2} s |", machine.version(), took.as_secs_f64());
    assert!(took <= LATE, "{what} took {took:?}");
}

struct Night {
    machine: Machine,
    differ: Running,
    containerd: Running,
    mounts: usize,
}

impl Night {
    fn of(release: Release) -> Option<Night> {
        let machine = Machine::start(release)?;
        let (differ, containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::Ours));
        let mounts = machine.mounts();
        Some(Night { machine, differ, containerd, mounts })
    }

    fn import(&self, namespace: &str, archive: &str) -> Vec<String> {
        self.machine.ctr("c", namespace, &["images", "import", "--base-name", "localhost/t", archive])
    }

    /// It is told to the person at the import, and nothing but committed layers is left.
    #[track_caller]
    fn fails(&self, what: &str, namespace: &str, archive: &str, told: &str) {
        let begun = Instant::now();
        let said = self.machine.fails(&words(&self.import(namespace, archive)));
        let took = begun.elapsed();
        assert!(said.contains(told), "{what}: {told:?} is not in {said}");
        tell(&self.machine, what, told, took);
        self.nothing_is_left(what, namespace);
    }

    #[track_caller]
    fn imports(&self, what: &str, namespace: &str, archive: &str) {
        let before = self.machine.applied();
        self.machine.run(&words(&self.import(namespace, archive)));
        assert!(self.machine.applied() > before, "{what}: nothing was applied");
        self.nothing_is_left(what, namespace);
    }

    #[track_caller]
    fn nothing_is_left(&self, what: &str, namespace: &str) {
        wait_until("no helper", || self.differ.helpers().is_empty());
        assert_eq!(self.active(namespace), 0, "active snapshots after {what}");
        assert_eq!(self.machine.mounts(), self.mounts, "mounts after {what}: {}", self.machine.mount_table());
    }

    fn active(&self, namespace: &str) -> usize {
        let list = self.machine.run(&words(&self.machine.ctr("c", namespace, &["snapshots", "ls"])));
        list.lines().filter(|line| line.ends_with("Active") || line.contains(" Active ")).count()
    }
}

/// One layer that takes a while: many files in little room.
fn long(machine: &Machine) -> String {
    let tar = (0..60_000).fold(Tarball::new(), |tar, number| tar.file(format!("f{number}"), b""));
    archive(machine, "long.tar", &Layout::new().layer(&tar, Packing::Zstd))
}

/// An image that is not what it says.
fn bent(machine: &Machine, bend: impl FnOnce(&mut Layout), tweak: impl Fn(Document, &mut serde_json::Value)) -> String {
    let (mut layout, scratch) = (sample(), Scratch::new());
    bend(&mut layout);
    layout.write_with(&scratch.join("oci"), tweak);
    crate::machine::put(machine, "bent.tar", &pack(&scratch.join("oci")).build())
}

#[test]
fn damaged_layers_fail_the_import_with_their_place() {
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let machine = &night.machine;
        let damaged = bent(machine, |layout| flip(&mut layout.layers[3].blob), |_, _| ());
        night.fails("a damaged layer", "damaged", &damaged, "gzip");
        let cut = bent(machine, |layout| layout.layers[1].blob.truncate(60), |_, _| ());
        night.fails("a truncated layer", "cut", &cut, "zstd");
        let tar = bent(machine, |layout| layout.layers[2].blob[148] ^= 1, |_, _| ());
        night.fails("a bad checksum", "checksum", &tar, "checksum");
        let plain = "application/vnd.oci.image.layer.v1.tar";
        let labelled = bent(machine, |layout| layout.layers[0].media_type = plain.into(), |_, _| ());
        night.fails("a compressed layer of the plain type", "plain", &labelled, "reading tar headers");
        let unknown = bent(machine, |layout| layout.layers[0].media_type = format!("{plain}+encrypted"), |_, _| ());
        night.fails("an encrypted layer", "encrypted", &unknown, "implemented");
        let wrong = bent(
            machine,
            |_| (),
            |document, value| {
                if document == Document::Config {
                    value["rootfs"]["diff_ids"][3] = format!("sha256:{}", "0".repeat(64)).into();
                }
            },
        );
        night.fails("a wrong diff ID", "wrong", &wrong, "wrong diff id");
        let fine = archive(machine, "fine.tar", &sample());
        night.imports("all that", "fine", &fine);
    }
}

fn flip(blob: &mut [u8]) {
    let at = blob.len() - 6;
    blob[at] ^= 0xff;
}

/// gzip that is called zstd, and the reverse: what it is decides, as with containerd's own.
#[test]
fn a_wrong_label_of_compression_is_applied() {
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let types = |layout: &mut Layout| {
            let [first, second] = [0, 1].map(|at| layout.layers[at].media_type.clone());
            (layout.layers[0].media_type, layout.layers[1].media_type) = (second, first);
        };
        let swapped = bent(&night.machine, types, |_, _| ());
        night.imports("labels exchanged", "swapped", &swapped);
    }
}

#[test]
fn a_differ_that_is_down_fails_imports_until_it_is_back() {
    for release in RELEASES {
        let Some(mut night) = Night::of(release) else { return };
        let fine = archive(&night.machine, "fine.tar", &sample());
        night.imports("up", "first", &fine);
        night.differ.kill();
        night.differ = night.machine.spawn("nothing", &["busybox", "sleep", "3600"]);
        night.fails("differ killed", "second", &fine, "connect");
        let back = Instant::now();
        night.differ = night.machine.differ("c", &[]);
        let import = night.import("third", &fine);
        wait_until("containerd connects again", || night.machine.output(&words(&import)).status.success());
        tell(&night.machine, "differ back", "works", back.elapsed());
        assert!(night.containerd.is_alive());
        night.nothing_is_left("back", "third");
    }
}

#[test]
fn no_differ_at_containerds_start_is_no_reason_not_to_start() {
    for release in RELEASES {
        let Some(machine) = Machine::start(release) else { return };
        let containerd = machine.containerd("c", Differ::Ours);
        let fine = archive(&machine, "fine.tar", &sample());
        let differ = machine.spawn("nothing", &["busybox", "sleep", "3600"]);
        let mounts = machine.mounts();
        let mut night = Night { machine, differ, containerd, mounts };
        night.fails("no socket", "first", &fine, "untar-in-root/diff.sock");
        night.differ = night.machine.differ("c", &[]);
        let import = night.import("second", &fine);
        wait_until("containerd connects", || night.machine.output(&words(&import)).status.success());
    }
}

#[test]
fn a_killed_helper_or_differ_in_mid_call_fails_that_import_alone() {
    for release in RELEASES {
        let Some(mut night) = Night::of(release) else { return };
        let (long, fine) = (long(&night.machine), archive(&night.machine, "fine.tar", &sample()));
        for (what, told) in [("helper killed", "helper"), ("differ killed in mid-call", "EOF")] {
            let namespace = what.replace([' ', '-'], "");
            let import = night.import(&namespace, &long);
            let mut command = night.machine.command(&words(&import));
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ctr");
            wait_until("a helper", || !night.differ.helpers().is_empty());
            let helper = night.differ.helpers()[0];
            signal(if what.starts_with("helper") { helper } else { night.differ.pid }, Signal::SIGKILL);
            let begun = Instant::now();
            let output = child.wait_with_output().expect("ctr");
            let (took, said) = (begun.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
            assert!(!output.status.success() && said.contains(told), "{what}: {said}");
            tell(&night.machine, what, told, took);
            wait_until("the helper is gone", || crate::support::process::is_gone(helper));
            night.nothing_is_left(what, &namespace);
        }
        night.differ = night.machine.differ("c", &[]);
        let import = night.import("fine", &fine);
        wait_until("containerd connects again", || night.machine.output(&words(&import)).status.success());
    }
}

/// A client that goes takes its call with it. A snapshot of a local unpack (the default of 1.7) would have been the dead
/// client's to remove.
#[test]
fn a_client_that_is_gone_ends_the_helper() {
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let long = long(&night.machine);
        let client = night.machine.spawn("ctr", &words(&night.import("gone", &long)));
        wait_until("a helper", || !night.differ.helpers().is_empty());
        let helper = night.differ.helpers()[0];
        // It does not end by itself.
        signal(helper, Signal::SIGSTOP);
        let begun = Instant::now();
        client.kill();
        wait_until("the helper is gone", || crate::support::process::is_gone(helper));
        tell(&night.machine, "client gone", "no helper", begun.elapsed());
        let left = usize::from(release == Release::Trixie);
        wait_until("snapshots", || night.active("gone") == left);
        assert_eq!((night.machine.applied(), night.machine.mounts()), (0, night.mounts));
    }
}

#[test]
fn a_containerd_that_is_killed_in_mid_call_leaves_no_helper_and_imports_after_its_restart() {
    for release in RELEASES {
        let Some(mut night) = Night::of(release) else { return };
        let long = long(&night.machine);
        let client = night.machine.spawn("ctr", &words(&night.import("n", &long)));
        wait_until("a helper", || !night.differ.helpers().is_empty());
        let helper = night.differ.helpers()[0];
        // It does not end by itself.
        signal(helper, Signal::SIGSTOP);
        let begun = Instant::now();
        signal(night.containerd.pid, Signal::SIGKILL);
        wait_until("the helper is gone", || crate::support::process::is_gone(helper));
        tell(&night.machine, "containerd killed in mid-call", "no helper", begun.elapsed());
        client.kill();
        night.containerd = night.machine.containerd("c", Differ::Ours);
        night.machine.run(&words(&night.import("n", &long)));
        assert_eq!((night.machine.applied(), night.machine.mounts()), (1, night.mounts));
    }
}

#[test]
fn a_full_disk_is_told_by_its_error() {
    for release in RELEASES {
        let Some(mut night) = Night::of(release) else { return };
        // Of their own: where containerd's database has no room either, it cannot even forget the snapshot.
        let snapshots = "/var/d/c/root/io.containerd.snapshotter.v1.overlayfs/snapshots";
        night.machine.run(&["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", snapshots]);
        night.mounts += 1;
        let machine = &night.machine;
        let big =
            archive(machine, "big.tar", &Layout::new().layer(&Tarball::new().file("big", shallow()), Packing::Zstd));
        night.fails("snapshot directory full", "full", &big, "ENOSPC");
        machine.run(&["mount", "-o", "remount,size=6g", snapshots]);
        night.imports("room again", "room", &big);
    }
}

/// 24 MiB of two random bits a byte: they compress, but not like a bomb.
fn shallow() -> Vec<u8> {
    let mut state = 1_u64;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 62) as u8
    };
    std::iter::repeat_with(next).take(24 << 20).collect()
}

/// Twenty and a hundred at once, in namespaces of their own, and what the service is afterwards.
#[test]
fn many_imports_at_once_are_all_applied_and_leave_nothing() {
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let fine = archive(&night.machine, "fine.tar", &sample());
        night.imports("the first", "first", &fine);
        for count in [20, 100] {
            let (descriptors, applied, begun) = (night.differ.descriptors(), night.machine.applied(), Instant::now());
            let start = |number| {
                let import = night.import(&format!("n{count}-{number}"), &fine);
                night
                    .machine
                    .command(&words(&import))
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("ctr")
            };
            let all: Vec<_> = (0..count).map(start).collect();
            for child in all {
                let output = child.wait_with_output().expect("ctr");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            let took = begun.elapsed().as_secs_f64();
            assert_eq!(night.machine.applied() - applied, 4 * count);
            println!("FAULT | {} | {count} imports at once | all applied | {took:.1} s |", night.machine.version());
            night.nothing_is_left("many", &format!("n{count}-0"));
            wait_until("no descriptor more", || night.differ.descriptors() <= descriptors);
        }
    }
}

/// `UNTAR_CONTAINERD_IMPORTS` says how many in a row.
#[test]
fn many_imports_in_a_row_leave_the_service_as_it_was() {
    let count = std::env::var("UNTAR_CONTAINERD_IMPORTS").map_or(40, |text| text.parse().expect("a number"));
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let fine = archive(&night.machine, "fine.tar", &sample());
        for number in 0..10 {
            night.imports("to warm up", &format!("warm{number}"), &fine);
        }
        let before = (night.differ.descriptors(), night.differ.memory());
        for number in 0..count {
            let namespace = format!("n{number}");
            night.machine.run(&words(&night.import(&namespace, &fine)));
        }
        let after = (night.differ.descriptors(), night.differ.memory());
        println!(
            "FAULT | {} | {count} imports in a row | {before:?} → {after:?} descriptors, KiB |",
            night.machine.version()
        );
        assert!(after.0 <= before.0 && after.1 < before.1 + (8 << 10), "{before:?}, {after:?}");
        night.nothing_is_left("all", "n0");
        assert_eq!(zombies(&night.machine), 0);
    }
}

fn zombies(machine: &Machine) -> usize {
    let all = fs::read_dir(machine.path("/proc")).expect("processes").flatten();
    let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))).count()
}

#[test]
fn nobody_but_root_reaches_the_socket() {
    for release in RELEASES {
        let Some(night) = Night::of(release) else { return };
        let connect = "socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die \"$!\\n\"";
        let perl = ["perl", "-MSocket", "-e", connect, SOCKET];
        night.machine.run(&perl);
        let said = night.machine.fails(&[&["setpriv", "--reuid=65534", "--clear-groups"], &perl[..]].concat());
        assert_eq!(said, "Permission denied\n");
    }
}
