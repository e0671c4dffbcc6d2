//! A program that is its own helper: `self_helper ROOT < archive`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use untar_in_root::{Program, Untar, helper};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all: in the copy that the library starts, this never returns.
    helper::init();
    let root = std::env::args_os().nth(1).ok_or("usage: self_helper ROOT < archive")?;
    let report = Untar::open(root)?.program(Program::this()?).apply(std::io::stdin())?;
    for event in &report.events {
        eprintln!("{event}");
    }
    println!("{} entries", report.entries.total());
    Ok(())
}
