//! A builder: applies layers to a root, the lowest first, and prints what an image's manifest and configuration
//! say of each. `builder ROOT LAYER...`
#![allow(clippy::print_stdout)]

use std::fs::File;
use untar_in_root::{Error, Mode, Program, Report, Untar, helper};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    helper::init();
    let mut args = std::env::args_os().skip(1);
    let root = args.next().ok_or("usage: builder ROOT LAYER...")?;
    for layer in args {
        let report = apply(Untar::open(&root)?, File::open(layer)?)?;
        // Of the layer as it came, and of the tar stream in it; the same if it is not compressed.
        let digest = report.digest.ok_or("it was asked for")?;
        let diff_id = report.diff_id.ok_or("it is computed unless switched off")?;
        println!("size {} digest {digest} diff_id {diff_id}", report.bytes_in);
    }
    Ok(())
}

fn apply(untar: Untar, layer: File) -> Result<Report, Error> {
    untar.program(Program::this()?).mode(Mode::Layer).compute_digest().apply_fd(layer)
}
