//! Writes the man pages into a directory, from the command line's own definition:
//! `cargo run -p untar-in-root-diffd --example diffd-pages DIR`. Not in the program that is shipped.
#![allow(dead_code)] // Of the program only its definition is used here.

mod args;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::Path;
use std::{env, fs, io};

const NAME: &str = "untar-in-root-diffd";

fn main() -> io::Result<()> {
    let into = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: diffd-pages DIR"))?;
    fs::create_dir_all(&into)?;
    let mut command = args::Args::command();
    command.build();
    let commands = command.get_subcommands().filter(|command| command.get_name() != "help");
    for below in commands {
        let name = format!("{NAME}-{}", below.get_name());
        page(below.clone().display_name(name.clone()), &name, Path::new(&into))?;
    }
    page(command.clone(), NAME, Path::new(&into))
}

fn page(command: Command, name: &str, into: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    Man::new(command).title(name.to_uppercase()).section("8").render(&mut text)?;
    fs::write(into.join(format!("{name}.8")), text)
}
