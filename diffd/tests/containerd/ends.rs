//! What is left of a machine when it has ended.

use crate::cgroup::command_lines;
use crate::chroots::Release;
use crate::machine::{Machine, joining};
use crate::support::privilege::skip;
use crate::support::process::wait_until;

#[test]
fn what_is_left_of_a_machine_is_found_and_ended() {
    let Some(mut machine) = Machine::start(Release::Trixie) else { return };
    let Some(cgroup) = &machine.cgroup else {
        skip("no cgroup of its own");
        return;
    };
    let (members, top) = (cgroup.members(), cgroup.top().to_owned());
    machine.spawn("inside", &["busybox", "sleep", "3600"]);
    // In none of its namespaces, so that it does not end with them.
    let mut left = joining(Some(&members), "sleep").arg("3601").spawn().expect("sleep");
    let line = format!("{}: sleep 3601 ", left.id());
    wait_until("it sleeps", || command_lines(&members).contains(&line));
    assert_eq!(machine.end(), [line]);
    assert!(!left.wait().expect("its end").success() && !top.exists());
}
