//! `untar-in-root-diffd`: a plug-in of type `diff` for containerd.
//!
//! containerd hands over a layer and the mounts of the snapshot that it belongs to; the layer is applied by a helper of
//! this very program, which can see nothing but the snapshot's directory. A layer is made in the same way: the helper reads
//! what has become of a snapshot and can change nothing. `docs/containerd.md` says how it is installed.

mod advice;
mod apply;
mod args;
mod blob;
mod code;
mod config;
mod diff;
mod exit;
mod ingest;
mod interface;
mod journal;
mod listen;
mod log;
mod media;
mod metrics;
mod monitor;
mod mounts;
mod nameless;
mod patient;
mod policy;
mod record;
mod serve;
mod service;
mod setup;
mod sides;
mod status;
mod store;
mod turns;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before the runtime starts its threads.
    untar_in_root::helper::init();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(words) => return ExitCode::from(patient::show(&words)),
    };
    let settings = config::Settings::read(&args);
    match (&args.command, settings) {
        (Some(args::Command::Configure(asked)), settings) => ended(setup::configure(asked, &args.socket, &settings)),
        (Some(args::Command::Check(asked)), settings) => log::ended(setup::check(asked, &settings)),
        (None, Err(error)) => log::fatal(&error),
        (None, Ok(settings)) => {
            log::start(args.log);
            ended(serve::run(&args, settings).map(|()| ExitCode::SUCCESS))
        }
    }
}

fn ended<E: std::fmt::Display>(outcome: Result<ExitCode, E>) -> ExitCode {
    match outcome {
        Ok(code) => log::ended(code),
        Err(error) => log::fatal(&error),
    }
}
