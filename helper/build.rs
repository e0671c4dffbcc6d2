//! Lays the static program out for small runs: `order.ld` says why.
#![allow(clippy::print_stdout)] // How a build script speaks to cargo.

use std::env::{var, var_os};

fn main() {
    println!("cargo::rerun-if-changed=order.ld");
    let is = |name, value| var(name).is_ok_and(|found| found == value);
    // A linker of the builder's choice need not know such scripts; the program is the same without.
    let chosen = var_os("RUSTC_LINKER").is_some() || var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|f| f.contains("link"));
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release") && !chosen {
        let here = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=untar-in-root=-T");
        println!("cargo::rustc-link-arg-bin=untar-in-root={here}/order.ld");
    }
}
