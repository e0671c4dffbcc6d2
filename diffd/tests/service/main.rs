//! The service as containerd meets it: a process, a socket, a content store and snapshots. containerd itself is not
//! needed here.
#![allow(unreachable_pub, clippy::print_stdout)]

mod bad;
mod commit;
mod configure;
mod containerd;
mod faults;
mod layers;
mod making;
mod operation;
mod results;
mod server;
mod setup;
mod units;
mod unmade;

/// What the library's tests stand on too.
#[path = "../../../tests/support"]
#[allow(dead_code, unused_imports)]
mod support {
    pub mod privilege;
    pub mod tarball;
    pub mod tree;
}

/// As the service has it.
#[path = "../../interface.rs"]
mod interface;
