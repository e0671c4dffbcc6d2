//! The `untar-in-root` program.
#![allow(clippy::print_stderr, clippy::print_stdout)]
use std::fs::File;
use std::process::ExitCode;
use untar_in_root::*;
fn main() -> ExitCode {
    untar_in_root::helper::init();
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let layer = args.iter().position(|a| a == "--layer").map(|i| args.remove(i)).is_some();
    let mut untar = Untar::open(&args[0]).unwrap();
    if layer {
        untar.options_mut().mode = Mode::Layer;
    }
    let file: std::os::fd::OwnedFd = match args.get(1) {
        Some(p) if p != "-" => File::open(p).unwrap().into(),
        _ => std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().unwrap(),
    };
    match untar.apply_fd(file) {
        Ok(r) => {
            println!("{r:#?}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e:?} {:?}", e.report().map(|r| r.entries));
            ExitCode::FAILURE
        }
    }
}
