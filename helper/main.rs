//! The `untar-in-root` program: the helper, and a command line that uses the library on itself.
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, reason = "files are opened in `named.rs`, where nothing is waited for in vain")
)]

mod advice;
mod args;
mod check;
mod copy;
mod diff;
mod exit;
mod image;
mod inspect;
mod json;
mod listing;
mod named;
mod pack;
mod patient;
mod patterns;
mod proc;
mod progress;
mod run;
mod screen;
mod signals;
mod store;
mod trouble;

use args::Command;
use std::process::ExitCode;

// Why not musl's: Cargo.toml.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    untar_in_root::helper::init();
    command_line()
}

/// Stands apart from `main`, whose part of the stack a helper has too: a page is dear to a small run.
#[inline(never)]
fn command_line() -> ExitCode {
    let args = match args::Args::from_command_line() {
        Ok(args) => args,
        Err(words) => return ExitCode::from(patient::show(&words)),
    };
    let exit = match &args.command {
        None => run::run(&args),
        Some(Command::Image(args)) => image::run(args),
        Some(Command::Pack(args)) => pack::run(args),
        Some(Command::Diff(args)) => diff::run(args),
        Some(Command::Copy(args)) => copy::run(args),
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Store(args)) => store::run(args),
        Some(Command::Check(args)) => check::run(args),
    };
    exit.leave()
}
