//! The configuration: what the file says, and the command line above it.

use crate::args::{Args, Results};
use serde::Deserialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use untar_in_root::{Limits, ProcessLimits};

/// Where the configuration is unless the command line says otherwise.
pub(crate) const FILE: &str = "/etc/untar-in-root/diffd.toml";
const CONTENT_ROOT: &str = "/var/lib/containerd";
pub(crate) const ADDRESS: &str = "/run/containerd/containerd.sock";
/// Longer than a slow disk takes to write what memory has for it; and a pull does not wait for ever for one that hangs.
const STALL: Duration = Duration::from_secs(600);

/// What may change while the service runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) content_root: PathBuf,
    /// Where layers that are made go.
    pub(crate) containerd_address: PathBuf,
    pub(crate) results: Results,
    /// Counted once, at the start.
    pub(crate) max_parallel: usize,
    pub(crate) limits: Limits,
    pub(crate) process: ProcessLimits,
    /// How long nothing of a layer may move.
    pub(crate) stall: Duration,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    content_root: Option<PathBuf>,
    containerd_address: Option<PathBuf>,
    results: Option<Results>,
    max_parallel: Option<u16>,
    #[serde(default)]
    limits: WrittenLimits,
}

/// Bounds on one layer; what is left out is as in the library's `Limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenLimits {
    total_bytes: Option<u64>,
    file_bytes: Option<u64>,
    entries: Option<u64>,
    ratio: Option<u64>,
    memory_bytes: Option<u64>,
    timeout_seconds: Option<u64>,
    stall_seconds: Option<u64>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum Wrong {
    Read(PathBuf, io::Error),
    Parse(PathBuf, toml::de::Error),
    /// A value that no layer could be applied with.
    Value(PathBuf, &'static str),
}

impl Settings {
    /// Read anew each time: at the start, and at each SIGHUP.
    ///
    /// # Errors
    ///
    /// The file cannot be read or says what it should not; that it is missing is one only where it was named.
    pub(crate) fn read(args: &Args) -> Result<Settings, Wrong> {
        let path = args.config.as_deref().unwrap_or(Path::new(FILE));
        let written = match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|e| Wrong::Parse(path.into(), e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound && args.config.is_none() => Written::default(),
            Err(e) => return Err(Wrong::Read(path.into(), e)),
        };
        written.check().map_err(|what| Wrong::Value(path.into(), what))?;
        Ok(written.under(args))
    }
}

impl Written {
    fn check(&self) -> Result<(), &'static str> {
        let Written { content_root, containerd_address, max_parallel, limits, .. } = self;
        let mut places = [content_root, containerd_address].into_iter().flatten();
        let zero = |value: Option<u64>| value == Some(0);
        let all = [
            limits.total_bytes,
            limits.file_bytes,
            limits.entries,
            limits.ratio,
            limits.memory_bytes,
            limits.timeout_seconds,
            limits.stall_seconds,
        ];
        match () {
            () if *max_parallel == Some(0) => Err("max-parallel is at least 1"),
            // Whatever the directory is that a service is started in.
            () if places.any(|place| place.is_relative()) => {
                Err("content-root and containerd-address are absolute paths")
            }
            () if all.into_iter().any(zero) => Err("a limit of 0 lets no layer be applied"),
            () => Ok(()),
        }
    }

    fn under(self, args: &Args) -> Settings {
        let content_root = args.content_root.clone().or(self.content_root);
        let containerd_address = args.containerd_address.clone().or(self.containerd_address);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            content_root: content_root.unwrap_or_else(|| CONTENT_ROOT.into()),
            containerd_address: containerd_address.unwrap_or_else(|| ADDRESS.into()),
            results: args.results.or(self.results).unwrap_or_default(),
            max_parallel: args.max_parallel.or(self.max_parallel).map_or(processors, usize::from),
            limits: self.limits.over_defaults(),
            process: self.limits.of_the_process(),
            stall: self.limits.stall_seconds.map_or(STALL, Duration::from_secs),
        }
    }
}

impl WrittenLimits {
    fn over_defaults(&self) -> Limits {
        let mut limits = Limits::default();
        let set = |value: Option<u64>, limit: &mut u64| *limit = value.unwrap_or(*limit);
        set(self.total_bytes, &mut limits.total_bytes);
        set(self.file_bytes, &mut limits.file_bytes);
        set(self.entries, &mut limits.entries);
        set(self.ratio, &mut limits.ratio);
        limits
    }

    fn of_the_process(&self) -> ProcessLimits {
        let mut limits = ProcessLimits::default();
        limits.memory_bytes = self.memory_bytes;
        limits.timeout = self.timeout_seconds.map(Duration::from_secs);
        limits
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Read(path, error) => write!(f, "reading {}: {error}", path.display()),
            Wrong::Parse(path, error) => write!(f, "{}: {}", path.display(), error.to_string().trim_end()),
            Wrong::Value(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn read(text: &str, words: &[&str]) -> Result<Settings, Wrong> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("text");
        let words = ["diffd", "--config"].into_iter().chain(file.path().to_str()).chain(words.iter().copied());
        Settings::read(&Args::parse_from(words))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = read("", &[]).expect("settings");
        assert_eq!(settings.content_root, Path::new(CONTENT_ROOT));
        assert_eq!(settings.containerd_address, Path::new(ADDRESS));
        assert_eq!(settings.results, Results::Containerd);
        assert!(settings.max_parallel >= 1);
        assert_eq!(settings.limits, Limits::default());
        assert_eq!((settings.process.timeout, settings.stall), (None, STALL));
    }

    #[test]
    fn the_manual_has_every_key() {
        let page = include_str!("pages.rs");
        let unknown = read("x = 1", &[]).expect_err("unknown").to_string()
            + &read("[limits]\nx = 1", &[]).expect_err("unknown").to_string();
        let keys: Vec<&str> =
            unknown.split('`').skip(1).step_by(2).filter(|key| !["x", "limits"].contains(key)).collect();
        assert_eq!(keys.len(), 11, "{unknown}");
        for key in keys {
            assert!(page.contains(&format!("\n{key}: ")), "{key}");
        }
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let text = "content-root = '/file'\nmax-parallel = 3\nresults = 'spec'\n[limits]\nentries = 5\ntimeout-seconds = 2\nstall-seconds = 3\n";
        let settings = read(text, &["--content-root", "/line"]).expect("settings");
        assert_eq!(settings.content_root, Path::new("/line"));
        assert_eq!((settings.results, settings.max_parallel), (Results::Spec, 3));
        assert_eq!((settings.limits.entries, settings.process.timeout), (5, Some(Duration::from_secs(2))));
        assert_eq!(settings.stall, Duration::from_secs(3));
    }

    #[test]
    fn what_nobody_meant_is_refused_by_name() {
        for (text, said) in [
            ("contentroot = '/x'", "contentroot"),
            ("max-parallel = 0", "at least 1"),
            ("[limits]\nentries = 0", "no layer"),
            ("results = 'docker'", "docker"),
            ("content-root = 'relative'", "absolute"),
            ("containerd-address = 'unix:///run/x'", "absolute"),
            ("[limits]\nentries = -1", "entries"),
        ] {
            let wrong = read(text, &[]).expect_err(text).to_string();
            assert!(wrong.contains(said), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let args = Args::parse_from(["diffd", "--config", "/nowhere/diffd.toml"]);
        assert!(Settings::read(&args).expect_err("missing").to_string().contains("/nowhere/diffd.toml"));
    }
}
