//! `untar-in-root-diffd`: a plug-in of type `diff` for containerd.
//!
//! containerd hands over a layer and the mounts of the snapshot that it belongs to; the layer is applied by a helper of
//! this very program, which can see nothing but the snapshot's directory. `docs/containerd.md` says how it is installed.

mod advice;
mod apply;
mod args;
mod blob;
mod code;
mod config;
mod diff;
mod interface;
mod listen;
mod log;
mod media;
mod metrics;
mod monitor;
mod mounts;
mod patient;
mod policy;
mod serve;
mod service;
mod setup;
mod status;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before the runtime starts its threads.
    untar_in_root::helper::init();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(words) => return ExitCode::from(patient::show(&words)),
    };
    match &args.command {
        Some(args::Command::Configure(asked)) => return ended(setup::configure(asked, &args.socket)),
        Some(args::Command::Check(_)) | None => {}
    }
    let settings = match config::Settings::read(&args) {
        Ok(settings) => settings,
        Err(error) => return log::fatal(&error),
    };
    if let Some(args::Command::Check(asked)) = &args.command {
        return log::ended(setup::check(asked, &settings.content_root));
    }
    log::start(args.log);
    ended(serve::run(&args, settings))
}

fn ended<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => log::ended(ExitCode::SUCCESS),
        Err(error) => log::fatal(&error),
    }
}
