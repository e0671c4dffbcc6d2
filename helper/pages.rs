//! Writes the man page and the shell completions into a directory, from the command line's own definition:
//! `cargo run -p untar-in-root-helper --example pages DIR`. Not in the program that is shipped.
#![allow(dead_code, unused_imports)] // Of the program only its definition is used here.

mod args;
mod exit;
mod proc;
mod signals;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::path::Path;
use std::{env, fs, io};

const NAME: &str = "untar-in-root";

const ENVIRONMENT: &str = "\
SOURCE_DATE_EPOCH is the time of --clamp-mtime where that has no value. Nothing of the environment reaches the \
helper.";

const FILES: &str = "\
/etc/subuid and /etc/subgid have the ids of a user who is not root; newuidmap(1) and newgidmap(1) map them.";

const SEE_ALSO: &str = "tar(1), pivot_root(2), seccomp(2), landlock(7), user_namespaces(7), subuid(5)";

fn main() -> io::Result<()> {
    let into = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: pages DIR"))?;
    let (pages, completions) = (Path::new(&into).join("man"), Path::new(&into).join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let file = generate_to(shell, &mut args::Args::command(), NAME, &completions)?;
        let text = fs::read_to_string(&file)?;
        let mended = match shell {
            Shell::Bash => bash(&text),
            Shell::Zsh => zsh(&text),
            _ => Some(text),
        };
        fs::write(file, mended.ok_or_else(|| io::Error::other(format!("{shell}: not as clap_complete wrote it")))?)?;
    }
    // One for each command; the program's own is written again, with more sections.
    clap_mangen::generate_to(command(), &pages)?;
    fs::write(pages.join(format!("{NAME}.1")), page()?)
}

/// clap_complete 4.6 writes the hyphens of our name in two ways, so that the options of commands are never found.
fn bash(text: &str) -> Option<String> {
    let (wrong, right) = (NAME.replace('-', "__subcmd__"), NAME.replace('-', "__"));
    text.contains(&wrong).then(|| text.replace(&wrong, &right))
}

/// It takes a command for ROOT, which may stand in the same place: what follows a command is looked at first.
fn zsh(text: &str) -> Option<String> {
    let commands = args::Args::command();
    let names: Vec<&str> = commands.get_subcommands().map(Command::get_name).collect();
    let look = format!(
        "if (( CURRENT > 2 )) && [[ $words[2] == ({}) ]]; then\n        line=('' '' \"$words[2]\") state={NAME}\n        \
         shift 2 words\n        (( CURRENT -= 2 ))\n    else\n    ",
        names.join("|")
    );
    let start = text.find("_arguments \"${_arguments_options[@]}\"")?;
    let end = start + text[start..].find("&& ret=0")?;
    let (arguments, rest) = (&text[start..end], &text[end..]);
    let rest = rest.strip_prefix("&& ret=0")?;
    rest.contains("$line[3]").then(|| format!("{}{look}{arguments}&& ret=0\n    fi{rest}", &text[..start]))
}

/// clap_mangen leaves the help of an option out that `-h` does.
fn command() -> Command {
    fn shown(command: Command) -> Command {
        command.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(shown)
    }
    shown(args::Args::command())
}

fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // They are sections of their own here.
    let command = command().after_help(None::<&str>).after_long_help(None::<&str>);
    let man = Man::new(command).manual("User Commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    as_it_stands("EXAMPLES", body(args::EXAMPLES), &mut page)?;
    as_it_stands("EXIT STATUS", body(exit::TABLE), &mut page)?;
    section("ENVIRONMENT", ENVIRONMENT, &mut page)?;
    section("FILES", FILES, &mut page)?;
    section("SEE ALSO", SEE_ALSO, &mut page)?;
    Ok(page)
}

/// The forms that `--help` shows too; clap_mangen would write one, with every option.
fn synopsis(page: &mut Vec<u8>) -> io::Result<()> {
    let usage = args::Args::command().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).control("nf", []);
    for form in usage.trim_start_matches("Usage:").lines() {
        roff.text([bold(NAME), roman(form.trim().trim_start_matches(NAME))]);
    }
    roff.control("fi", []).to_writer(page)
}

/// Lines as in `--help`.
fn as_it_stands<'a>(title: &str, lines: impl Iterator<Item = &'a str>, page: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]).control("nf", []);
    for line in lines {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []).to_writer(page)
}

/// The lines without the heading and the indentation of `--help`.
fn body(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip(1)
}

fn section(title: &str, text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    Roff::new().control("SH", [title]).text([roman(text)]).to_writer(page)
}
