//! The table of hostile archives, in each of the six settings.

use std::env;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::archives::all;
use super::case::{Expect, Setting, run_all};
use crate::support::privilege::{is_root, need_root, need_userns, test_name};
use crate::support::run::program;
use crate::support::scratch::Scratch;

#[test]
fn the_table_is_long_enough_and_names_are_unique() {
    let mut names: Vec<_> = all().iter().map(|case| case.name).collect();
    println!("{} hostile archives", names.len());
    assert!(names.len() >= 150);
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn hostile_archives_are_contained_by_the_pivot() {
    if need_root() {
        run_all("hostile archives", &all(), Setting::Pivot, &program(), Expect::default());
    }
}

#[test]
fn hostile_archives_are_contained_by_the_chroot() {
    if need_root() {
        run_all("hostile archives", &all(), Setting::Chroot, &program(), Expect::default());
    }
}

#[test]
fn hostile_archives_are_contained_in_a_user_namespace() {
    if need_root() {
        run_all("hostile archives", &all(), Setting::UserNamespace, &program(), Expect::default());
    }
}

#[test]
fn hostile_archives_are_contained_where_no_root_is_entered() {
    if need_root() {
        run_all("hostile archives", &all(), Setting::Beneath, &program(), Expect::default());
    }
}

#[test]
fn hostile_archives_are_contained_without_privileges() {
    if need_userns() {
        as_nobody(Setting::Unprivileged);
    }
}

#[test]
fn hostile_archives_are_contained_without_privileges_where_no_root_is_entered() {
    as_nobody(Setting::UnprivilegedBeneath);
}

/// As root, this starts the tests once more as nobody: libtest has no other way to change who it is.
fn as_nobody(setting: Setting) {
    if !is_root() {
        return run_all("hostile archives", &all(), setting, &program(), Expect::default());
    }
    // Nobody mounts nothing in memory, and on some disks what comes after many removals waits for them.
    let scratch = Scratch::new();
    let place = scratch.dir("nobody");
    chown(&place, Some(65_534), Some(65_534)).expect("chown");
    let output = Command::new(env::current_exe().expect("this program"))
        .args([&test_name(), "--exact", "--nocapture"])
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .env("TMPDIR", &place)
        .output()
        .expect("the tests once more");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    print!("{}", said.lines().filter(|line| line.contains("archives,")).map(|l| format!("{l}\n")).collect::<String>());
}
