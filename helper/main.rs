//! The `untar-in-root` program: the helper, and a command line that uses the library on itself.

mod args;
mod exit;
mod json;
mod listing;
mod progress;
mod run;
mod screen;
mod signals;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    untar_in_root::helper::init();
    let args = args::Args::from_command_line();
    run::run(&args).leave()
}
