//! The integration tests: one binary, whose list of modules is the table of contents.
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]
#![allow(dead_code, reason = "the support is there for tests to come")]
#![allow(unreachable_pub, reason = "`pub` marks what tests may use of a support module")]

mod api;
mod as_strace;
mod asynchronous;
mod atomic;
mod bad_helpers;
mod beneath;
mod bombs;
mod bounds;
mod builders;
mod callers_memory;
mod cli;
mod cve_table;
mod deaths;
mod debian_root;
mod destination;
mod diff;
mod differential;
mod environments;
mod examples;
mod fault_table;
mod faults;
mod filters;
mod fuse;
mod hostile;
mod image;
mod interrupted;
mod jail;
mod leaks;
mod mounts;
mod no_proc;
mod ordinary_container;
mod overlay;
mod pack;
mod privileges;
mod progress;
mod renumbering;
mod replays;
mod rights;
mod rules;
mod scarce;
mod stalls;
mod stops;
mod support;

mod equivalence;
mod support_selftest;
