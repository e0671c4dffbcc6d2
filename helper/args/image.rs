//! Subcommands about whole images, and about what this machine allows.

use super::output::When;
use super::values::{self, Word};
use super::{archive, common, copy, diff, jail, limits, pack, writing};
use clap::error::ErrorKind;
use std::path::{Path, PathBuf};
use untar_in_root::Options;
use untar_in_root::image::{Platform, Source};

const WHENS: &[Word<When>] = &[
    ("auto", "a line for each layer, if standard error is a terminal", When::Auto),
    ("always", "the same, and JSON events where there is no terminal", When::Always),
    ("lines", "a line for each layer, wherever it goes", When::Lines),
    ("never", "nothing", When::Never),
];

const SOURCES: &str = "\
Sources:
  oci:DIR[:REF]              an OCI layout, as skopeo, buildah and umoci write it
  oci-archive:FILE[:REF]     a tar archive of one
  docker-archive:FILE[:REF]  what `docker save` and `skopeo copy … docker-archive:FILE` write
  dir:DIR                    what `skopeo copy … dir:DIR` and `podman save --format docker-dir` write
  PATH[:REF]                 any of them, found out
  -                          an archive from standard input; with a name docker-archive:-:REF

REF is a tag, a name, the digest of a manifest, an index or a configuration (sha256:…, NAME@sha256:…, or the 12 digits
that docker prints of an image ID), or @N, the N-th that is listed, from 0. PATH@sha256:… and PATH@N do as well.";

const IMAGE_EXAMPLES: &str = "\
Examples:
  untar-in-root image oci:/srv/layouts/debian:12 /srv/root      all layers in one directory
  untar-in-root image docker-archive:app.tar --layers /srv/app  a directory for each, and the line to mount them
  untar-in-root image app.tar --store /srv/store                the same, kept and found again
  docker save app | untar-in-root image - /srv/root             what comes; layers are kept beside the result meanwhile
  untar-in-root image --include etc app.tar /srv/etc            a part of it";

/// What else there is to be done. A ROOT of such a name is written ./image.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Apply a whole image: all its layers, in one directory or one for each
    Image(Box<Image>),
    /// Pack a directory into an archive
    Pack(Box<pack::Pack>),
    /// Pack what a directory changes as a layer
    Diff(Box<diff::Diff>),
    /// Copy a file or directory out of one directory into another
    Copy(Box<copy::Copy>),
    /// Show what is in an image: platforms, layers, sizes, digests
    Inspect(Inspect),
    /// Look after a store of layers
    Store(Store),
    /// Find out what this machine lets the helper do
    Check(Check),
}

/// Applies a whole image.
///
/// Manifest, configuration and layers are verified by size and SHA-256, each layer by its diff ID too. The result
/// appears at its place when all of it is right; after an error nothing is left. Archives of images are unpacked
/// by the confined helper first, beside the result.
#[derive(Debug, clap::Args)]
#[command(after_help = SOURCES, after_long_help = format!("{SOURCES}\n\n{IMAGE_EXAMPLES}"))]
#[command(override_usage = "untar-in-root image [OPTIONS] SOURCE ROOT\n       \
    untar-in-root image [OPTIONS] SOURCE --layers DIR\n       untar-in-root image [OPTIONS] SOURCE --store DIR")]
pub(crate) struct Image {
    /// Where the image is
    #[arg(value_name = "SOURCE")]
    source: std::ffi::OsString,

    /// All layers in this directory, which must be empty or missing
    #[arg(value_name = "ROOT", required_unless_present_any = ["layers", "store"],
          conflicts_with_all = ["layers", "store"])]
    pub(crate) root: Option<PathBuf>,

    /// A directory for each layer in DIR, `1` the bottom one, for overlayfs
    ///
    /// DIR must be empty or missing. What `mount -t overlay -o` takes is written to standard output. Layers are
    /// applied several at a time.
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    pub(crate) layers: Option<PathBuf>,

    /// The same in a store, which keeps layers and does not apply them again
    ///
    /// It is made if it is missing. The image is recorded in it, under its name, so that `store gc` keeps its
    /// layers.
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// The name under which the image is recorded in the store; its ID if not given
    #[arg(long, value_name = "NAME", requires = "store")]
    pub(crate) name: Option<String>,

    /// Apply to ROOT as it is, as if it were a layer below
    ///
    /// For mount points and such. Nothing is rolled back after an error.
    #[arg(long, requires = "root")]
    pub(crate) in_place: bool,

    /// Which platform; if not given, the only image, or the one for this machine
    #[arg(long, value_name = "[OS/]ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,

    /// Layers applied at once; as many as there are processors if not given
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,

    /// Where archives of images are unpacked; beside the result if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) staging: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) selection: archive::Selection,
    #[command(flatten)]
    owners: writing::Owners,
    #[command(flatten)]
    common: common::Common,

    #[command(flatten)]
    jail: jail::Jail,
    #[command(flatten)]
    limits: limits::Limits,

    /// Write one JSON object to standard output: what has been made, or what failed
    ///
    /// With --progress there is one object {"event": …} on a line for each thing that happens before it.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// No warnings, no notes, no progress; errors only
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Show how far it has come: a line for each layer
    ///
    /// JSON events are {"event": …}, one on a line, on standard error; with --json, on standard output.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto",
          default_missing_value = "always", value_parser = values::words(WHENS), help_heading = "Output")]
    pub(crate) progress: When,
}

impl Image {
    pub(super) fn check(&self) -> Result<(), (ErrorKind, String)> {
        self.selection.check((self.source != "-").then_some(Path::new("")))?;
        self.owners.check()?;
        self.jail.check(self.owners.given())?;
        // clap takes a requirement for met where it conflicts with what is there.
        if self.name.is_some() && self.store.is_none() {
            return Err((ErrorKind::MissingRequiredArgument, "--name is for images in a store: --store DIR".into()));
        }
        if self.quiet && matches!(self.progress, When::Always | When::Lines) {
            let words = "--quiet shows no progress; leave it or --progress out";
            return Err((ErrorKind::ArgumentConflict, words.into()));
        }
        Ok(())
    }

    pub(crate) fn source(&self) -> Source {
        Source::parse(&self.source)
    }

    /// Makes of them what the library wants.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        self.selection.set(&mut options);
        self.owners.set(&mut options);
        self.common.set(&mut options);
        self.jail.set(&mut options.jail);
        self.limits.set(&mut options);
        options
    }
}

/// Shows what is in an image, or in all images of a layout or archive: platform, layers and their sizes, entry point,
/// environment, labels, history. Of archives, manifests and configurations are unpacked by the confined helper into a
/// temporary directory first, and no layer.
#[derive(Debug, clap::Args)]
#[command(after_help = SOURCES)]
pub(crate) struct Inspect {
    /// Where the image is; without a REF all of them
    #[arg(value_name = "SOURCE")]
    source: std::ffi::OsString,

    /// Only the image for this platform
    #[arg(long, value_name = "[OS/]ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,

    /// Where manifests and configurations of archives are unpacked; the temporary directory if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) staging: Option<PathBuf>,

    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Inspect {
    pub(crate) fn source(&self) -> Source {
        Source::parse(&self.source)
    }
}

/// Looks after a store of layers.
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

/// What is done with a store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// List the images that are recorded in it
    List(StoreArgs),
    /// Forget images by their names; `gc` then removes what only they needed
    Forget(Forget),
    /// Remove every layer that no recorded image needs
    ///
    /// Layers that are mounted are removed like any others: forget an image when it is mounted nowhere.
    Gc(StoreArgs),
    /// Compare every layer with what was recorded when it was made
    ///
    /// Names, types, owners, modes, times, sizes, links, attributes and content. It says what differs from then, and
    /// exits with 1 if anything does. Whoever can change the store can change the record too: this finds damage,
    /// not intent.
    Verify(StoreArgs),
}

/// Names a store.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Names images of a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// The names, as `list` shows them
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// Finds out what this machine lets the helper do.
///
/// A helper is started on an empty temporary directory, as for an archive, and says what the kernel confirmed. What
/// is missing is told with its remedy. Exit status 0 if archives can be applied here, 3 if not.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The directory to try it in: another file system may answer otherwise
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// What `check` starts itself with, to mount an overlay in DIR: it takes a process with one thread
    #[arg(long, hide = true, requires = "dir")]
    pub(crate) mount_here: bool,

    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
