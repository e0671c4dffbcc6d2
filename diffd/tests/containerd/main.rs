//! The differ under a real containerd: 1.7 of Debian trixie, 2.1 or newer of forky, each in namespaces of its own.
//!
//! `cargo test --workspace --test containerd`, as root. The two Debians are made at the first run, in `target/containerd`.
#![allow(unreachable_pub, clippy::print_stdout)]

mod bad;
mod cgroup;
mod chroots;
mod commit;
mod cri;
mod docker;
mod doors;
mod ends;
mod faults;
mod hostile;
mod images;
mod machine;
mod parity;
mod registry;
mod relay;
mod units;
mod views;

/// What the library's tests stand on too.
#[path = "../../../tests/support"]
#[allow(dead_code, unused_imports)]
mod support {
    pub mod debian;
    pub mod expected;
    pub mod layout;
    pub mod privilege;
    pub mod process;
    pub mod scratch;
    pub mod tarball;
    pub mod tree;
}

/// As the service has it.
#[path = "../../interface.rs"]
mod interface;
