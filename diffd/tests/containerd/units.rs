//! The units under a real systemd, as an operator has them.

use crate::images::{archive, sample};
use crate::machine::{Machine, put};
use crate::support::process::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const UNITS: [(&str, &str); 2] = [
    ("untar-in-root-diffd.service", include_str!("../../systemd/untar-in-root-diffd.service")),
    ("untar-in-root-diffd.socket", include_str!("../../systemd/untar-in-root-diffd.socket")),
];
const SOCKET: &str = "/run/untar-in-root/diff.sock";

/// A machine where they are installed, switched on, and in containerd's configuration.
fn machine() -> Option<Machine> {
    let machine = Machine::boot()?;
    for (name, text) in UNITS {
        fs::write(machine.path(&format!("/usr/lib/systemd/system/{name}")), text).expect("unit");
    }
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "enable", "--now", UNITS[1].0, UNITS[0].0]);
    let running = || {
        let said = machine.run(&["untar-in-root-diffd", "check"]);
        said.lines().find(|line| line.contains("  running ")).unwrap_or_default().to_owned()
    };
    machine.run(&["systemctl", "start", "containerd"]);
    assert_eq!(running(), "", "nothing is configured");
    machine.run(&["untar-in-root-diffd", "configure", "--write"]);
    assert!(running().starts_with("--") && running().contains("restart it"), "{}", running());
    machine.run(&["systemctl", "restart", "containerd"]);
    assert!(running().starts_with("ok"), "{}", running());
    Some(machine)
}

fn applied(machine: &Machine) -> usize {
    journal(machine).matches("INFO applied digest=").count()
}

fn journal(machine: &Machine) -> String {
    machine.run(&["journalctl", "-u", UNITS[0].0, "-o", "cat"])
}

fn pid(machine: &Machine) -> String {
    machine.run(&["systemctl", "show", "-P", "MainPID", UNITS[0].0]).trim().to_owned()
}

fn import<'a>(namespace: &'a str, archive: &'a str) -> [&'a str; 7] {
    ["ctr", "-n", namespace, "images", "import", "--base-name=localhost/t", archive]
}

#[test]
fn the_units_serve_a_containerd_and_survive_what_happens_to_them() {
    let Some(machine) = machine() else { return };
    let mode = fs::metadata(machine.path(SOCKET)).expect("socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let image = archive(&machine, "image.tar", &sample());
    machine.run(&import("first", &image));
    assert_eq!(applied(&machine), 4, "{}", journal(&machine));
    let all = machine.run(&["ctr", "-n", "first", "snapshots", "ls"]);
    let above =
        all.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| words.len() > 2);
    machine.run(&["ctr", "-n", "first", "snapshots", "diff", above.expect("a snapshot with a parent")[0]]);
    assert_eq!(journal(&machine).matches(" made digest=").count(), 1, "{}", journal(&machine));
    // More often than systemd bears by default.
    for _ in 0..8 {
        let before = pid(&machine);
        machine.run(&["busybox", "kill", "-9", &before]);
        wait_until("it is back", || !["0", &before].contains(&pid(&machine).as_str()));
    }
    wait_until("it serves", || machine.output(&import("second", &image)).status.success());
    assert_eq!(applied(&machine), 8);
    fs::create_dir_all(machine.path("/etc/untar-in-root")).expect("directory");
    fs::write(machine.path("/etc/untar-in-root/diffd.toml"), "[limits]\nentries = 1\n").expect("configuration");
    machine.run(&["systemctl", "reload", UNITS[0].0]);
    wait_until("it has read it", || journal(&machine).contains("configuration read again"));
    assert!(machine.fails(&import("limited", &image)).contains("entries"));
    let errors = machine.run(&["journalctl", "-u", UNITS[0].0, "-p", "err", "-o", "cat"]);
    assert!(errors.contains("ERROR not applied") && !errors.contains("INFO"), "{errors}");
    fs::write(machine.path("/etc/untar-in-root/diffd.toml"), "[limits]\nentry = 1\n").expect("configuration");
    machine.run(&["systemctl", "reload", UNITS[0].0]);
    let status = || machine.run(&["systemctl", "show", "-P", "StatusText", UNITS[0].0]);
    wait_until("it is told", || status().contains("left as it was") && status().contains("entry"));
    let output = machine.output(&["untar-in-root-diffd", "check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(3) && said.contains("NO  settings"), "{said}");
    fs::remove_file(machine.path("/etc/untar-in-root/diffd.toml")).expect("removed");
    machine.run(&["systemctl", "reload", UNITS[0].0]);
    wait_until("it is right", || status().trim().is_empty());
    machine.run(&["untar-in-root-diffd", "check"]);
    // It does not start, and systemd's socket takes connections for it all the same.
    let drop_in = machine.path("/etc/systemd/system/untar-in-root-diffd.service.d");
    fs::create_dir_all(&drop_in).expect("directory");
    let bad = "[Service]\nExecStart=\nExecStart=/usr/bin/untar-in-root-diffd --metrics 10.0.0.1:9\n";
    fs::write(drop_in.join("bad.conf"), bad).expect("drop-in");
    machine.run(&["systemctl", "daemon-reload"]);
    machine.output(&["systemctl", "restart", UNITS[0].0]);
    let output = machine.output(&["untar-in-root-diffd", "check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let row = said.lines().find(|line| line.contains("plug-in")).expect("a row");
    assert!(output.status.code() == Some(3) && row.starts_with("NO") && row.contains("journalctl -u"), "{said}");
    machine.run(&["systemctl", "stop", UNITS[1].0, UNITS[0].0]);
    assert_eq!(pid(&machine), "0");
    machine.fails(&import("stopped", &image));
}

/// `systemd-analyze security` in tenths: docs/containerd.md has what it comes to.
#[test]
fn the_service_is_exposed_no_more_than_is_said() {
    let Some(machine) = Machine::boot() else { return };
    let path = put(&machine, UNITS[0].0, UNITS[0].1.as_bytes());
    machine.run(&["systemd-analyze", "security", "--offline=true", "--threshold=33", "--no-pager", &path]);
}
