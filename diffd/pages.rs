//! Writes the man pages into a directory, from the command line's own definition:
//! `cargo run -p untar-in-root-diffd --example diffd-pages DIR`. Not in the program that is shipped.
#![allow(dead_code)] // Of the program only its definition is used here.

mod args;
mod exit;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::path::Path;
use std::{env, fs, io};

const NAME: &str = "untar-in-root-diffd";

const SIGNALS: &str = "\
SIGTERM and SIGINT: the layers that are being applied or made are finished, and no more are taken. The second one gives them up.
SIGHUP: the configuration file is read again, all but max-parallel. What it says wrongly is logged and changes nothing.";

const ENVIRONMENT: &str = "\
LISTEN_FDS, LISTEN_PID: the first socket that systemd hands over is served in place of --socket.
NOTIFY_SOCKET: systemd is told READY=1 and STOPPING=1.
JOURNAL_STREAM: where standard error goes to the journal, each line has its priority.";

/// The keys are those of `config.rs`, whose test looks here.
const FILES: &str = "\
/etc/untar-in-root/diffd.toml: the configuration, in TOML. All of it may be left out:
content-root: containerd's root [/var/lib/containerd].
containerd-address: its socket, where layers that are made go [/run/containerd/containerd.sock].
results: containerd or spec [containerd].
max-parallel: layers at once [one for each processor].
[limits], of one layer:
total-bytes: of all its files [274877906944].
file-bytes: of one file [68719476736].
entries: of any kind [10000000].
ratio: bytes that one compressed byte may become [1000].
memory-bytes: of its helper [what the service has].
timeout-seconds: for all of it [none].
stall-seconds: in which nothing of it is read or written; a pull then fails [600].
/run/untar-in-root/diff.sock: the socket.
/usr/share/doc/untar-in-root-diffd/containerd.md: all the rest.";

const SEE_ALSO: &str = "untar-in-root(1), containerd-config.toml(5), systemd.socket(5), journalctl(1)";

fn main() -> io::Result<()> {
    let into = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: diffd-pages DIR"))?;
    fs::create_dir_all(&into)?;
    let mut command = args::Args::command();
    command.build();
    let commands = command.get_subcommands().filter(|command| command.get_name() != "help");
    for below in commands {
        let name = format!("{NAME}-{}", below.get_name());
        page(below.clone().display_name(name.clone()), &name, Path::new(&into), &[])?;
    }
    let sections = [("SIGNALS", SIGNALS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)];
    page(command.clone(), NAME, Path::new(&into), &sections)
}

/// The exit status is the same for all; the help has it, too.
fn page(command: Command, name: &str, into: &Path, sections: &[(&str, &str)]) -> io::Result<()> {
    let mut text = Vec::new();
    // It is a section of its own here.
    let command = command.after_long_help(None::<&str>);
    Man::new(command).title(name.to_uppercase()).section("8").render(&mut text)?;
    let table = exit::TABLE.split_once('\n').map_or("", |(_, table)| table);
    let sections = [("EXIT STATUS", table)].into_iter().chain(sections.iter().copied()).chain([("SEE ALSO", SEE_ALSO)]);
    for (title, lines) in sections {
        let mut roff = Roff::new();
        roff.control("SH", [title]);
        for line in lines.lines() {
            roff.text([roman(line.trim())]).control("br", []);
        }
        roff.to_writer(&mut text)?;
    }
    fs::write(into.join(format!("{name}.8")), text)
}
