//! The units, as far as their lines tell: systemd itself is not needed here.

const SERVICE: &str = include_str!("../../systemd/untar-in-root-diffd.service");
const SOCKET: &str = include_str!("../../systemd/untar-in-root-diffd.socket");

/// What a unit says of a setting in a section; a setting that is given twice would be two.
fn told(unit: &'static str, section: &str, setting: &str) -> Vec<&'static str> {
    let mut current = "";
    let of = |line: &'static str| {
        if line.starts_with('[') {
            current = line;
        }
        let value = line.strip_prefix(setting).and_then(|rest| rest.strip_prefix('='));
        value.filter(|_| current == section)
    };
    unit.lines().filter_map(of).collect()
}

#[test]
fn a_service_that_dies_often_is_never_given_up() {
    assert_eq!(told(SERVICE, "[Unit]", "StartLimitIntervalSec"), ["0"]);
    assert_eq!(told(SERVICE, "[Service]", "Restart"), ["always"]);
    assert_eq!(told(SOCKET, "[Socket]", "TriggerLimitIntervalSec"), ["0"]);
}

#[test]
fn both_units_are_up_before_whatever_has_a_containerd() {
    for unit in [SERVICE, SOCKET] {
        let before = told(unit, "[Unit]", "Before").concat();
        for name in ["containerd", "docker", "k3s", "k3s-agent", "rke2-server", "rke2-agent"] {
            let name = format!("{name}.service");
            assert!(before.split_whitespace().any(|unit| unit == name), "{name} is not in {before:?}");
        }
    }
}

#[test]
fn the_network_is_filtered_until_an_operator_says_otherwise() {
    assert_eq!(told(SERVICE, "[Service]", "IPAddressDeny"), ["any"]);
    assert_eq!(told(SERVICE, "[Service]", "PrivateNetwork"), ["yes"]);
}
