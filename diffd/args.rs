//! The command line.

use crate::exit;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

/// Applies image layers for containerd and makes them, each from inside a process that can see nothing but its snapshot.
///
/// containerd calls it as a plug-in of type `diff`, at its socket. How it is installed, switched on, watched and switched off
/// is in /usr/share/doc/untar-in-root-diffd/containerd.md, in the tarball in containerd.md. What the command line says comes
/// before what the configuration file says.
#[derive(Debug, Parser)]
#[command(name = "untar-in-root-diffd", version, disable_help_subcommand = true, after_long_help = exit::TABLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The configuration file; without it, /etc/untar-in-root/diffd.toml where that is there
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// The socket, if systemd hands none over
    #[arg(long, value_name = "PATH", default_value = "/run/untar-in-root/diff.sock", global = true)]
    pub(crate) socket: PathBuf,
    /// containerd's `root`: the content store is below it [default: /var/lib/containerd]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) content_root: Option<PathBuf>,
    /// containerd's socket, where layers that are made go [default: /run/containerd/containerd.sock]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) containerd_address: Option<PathBuf>,
    /// Whose results a layer comes out with, where the image-spec leaves room [default: containerd]
    #[arg(long, value_name = "WHOSE")]
    pub(crate) results: Option<Results>,
    /// Layers applied or made at once; the rest wait in order [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_parallel: Option<u16>,
    /// Serve metrics in the text format of Prometheus: a path of a Unix socket, or a loopback address with a port
    #[arg(long, value_name = "WHERE")]
    pub(crate) metrics: Option<String>,
    /// How the log is written to standard error
    #[arg(long, value_name = "FORMAT", default_value = "lines")]
    pub(crate) log: Format,
}

/// Instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether this machine's containerd can use the differ, and whether it does
    Check(Check),
    /// Have containerd use the differ, or no longer
    Configure(Configure),
}

/// Whose results a layer comes out with, where the image-spec leaves room. What bears on security is the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Results {
    /// What an installed cluster expects: as containerd's own differ leaves it.
    #[default]
    Containerd,
    /// What the image-spec says, where it says something, and else what untar-in-root does.
    Spec,
}

/// How.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line each, for people and journald.
    #[default]
    Lines,
    /// An object each.
    Json,
}

/// What is looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The program
    #[arg(long, value_name = "PROGRAM", default_value = "containerd")]
    pub(crate) containerd: String,
    /// Its configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/containerd/config.toml")]
    pub(crate) containerd_config: PathBuf,
    /// Docker's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/docker/daemon.json")]
    pub(crate) docker_config: PathBuf,
}

/// What is to be done where.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("act").required(true).multiple(true).args(["dry_run", "write", "remove"])))]
pub(crate) struct Configure {
    /// Print what would be written; with --remove, what the files would be without it
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write it; containerd is to be restarted then
    #[arg(long, conflicts_with_all = ["dry_run", "remove"])]
    pub(crate) write: bool,
    /// Take it out again
    #[arg(long)]
    pub(crate) remove: bool,
    /// Whose configuration
    #[arg(long = "for", value_name = "WHOSE", default_value = "containerd")]
    pub(crate) whose: Whose,
    /// The program, asked for its version
    #[arg(long, value_name = "PROGRAM", default_value = "containerd")]
    pub(crate) containerd: String,
    /// Its version, where the program cannot be asked
    #[arg(long, value_name = "VERSION")]
    pub(crate) containerd_version: Option<String>,
    /// Its configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/containerd/config.toml")]
    pub(crate) containerd_config: PathBuf,
    /// Where it has files that it imports, from 2.0 on
    #[arg(long, value_name = "DIR", default_value = "/etc/containerd/conf.d")]
    pub(crate) drop_in: PathBuf,
    /// Docker's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/docker/daemon.json")]
    pub(crate) docker_config: PathBuf,
}

#[cfg(test)]
impl Configure {
    /// What these words ask for, the first of which is the command's name.
    pub(crate) fn of<T: Into<std::ffi::OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Configure {
        let command = <Configure as clap::Args>::augment_args(clap::Command::new("configure"));
        <Configure as clap::FromArgMatches>::from_arg_matches(&command.get_matches_from(words)).expect("what clap took")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whose {
    /// containerd by itself, under Docker with the containerd image store or under a kubelet
    Containerd,
    /// Docker: containerd's, and the containerd image store in Docker's own
    Docker,
    /// K3s: its template, which is written by hand
    K3s,
    /// RKE2: likewise
    Rke2,
    /// kind: a patch for its cluster's configuration
    Kind,
}
