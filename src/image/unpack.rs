//! How an image is applied: what all outcomes have in common.

use super::blob::{self, Blob};
use super::{Image, Layer};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::options::{Durability, Mode, Options};
use crate::program::Program;
use crate::purse::Purse;
use crate::report::{Event, EventKind, LayerRef, Progress, Report};
use crate::session::Untar;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Applies an image: a builder, from [`Image::unpack`].
pub struct Unpack<'a> {
    pub(super) image: &'a Image,
    pub(super) program: Option<Program>,
    pub(super) options: Options,
    pub(super) jobs: usize,
    pub(super) watcher: Option<Watcher>,
    pub(super) canceller: Canceller,
    /// Bounds the reports of all layers together.
    purse: Purse,
}

type Watcher = Arc<dyn Fn(Step) + Send + Sync>;

/// What is going on with a layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Counted from 0, the bottom one first.
    pub layer: usize,
    /// What happens to it.
    pub what: What,
}

/// What is going on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// Another process has the store; told once, of layer 0.
    StoreBusy,
    /// The layer is in the store already.
    Found,
    /// A helper has been started for it.
    Begun,
    /// How far it has come, if [`Options::progress`] is set.
    Progress(Progress),
    /// It waits until the layers below are complete.
    Waiting,
    /// It has been applied, and is what it should be.
    Done(Box<Report>),
}

impl fmt::Debug for Unpack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Unpack");
        fields.field("image", &self.image.id).field("program", &self.program).field("options", &self.options);
        fields.field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

impl Image {
    /// How the image is applied.
    #[must_use]
    pub fn unpack(&self) -> Unpack<'_> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let (options, canceller) = (Options::default(), Canceller::default());
        Unpack { image: self, program: None, options, jobs, watcher: None, canceller, purse: Purse::default() }
    }
}

impl Unpack<'_> {
    /// Which program is the helper; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// How each layer is applied, and what bounds it. The image says `compression` and the outcome `mode`, of which
    /// only [`Overlay::prefix`](crate::Overlay::prefix) is looked at; [`Limits`](crate::Limits) are for each layer by itself, time in which it waits for others included.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The options, to change some.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// How many layers are applied at once where they can be; as many as there are processors if not said. Each
    /// takes a helper and 32 MiB or so, zstd with a large window more.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets who is told what is going on, from several threads.
    #[must_use]
    pub fn on_step(mut self, watcher: impl Fn(Step) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Lets this canceller end the work, from another thread.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Self {
        self.canceller = canceller;
        self
    }

    pub(super) fn tell(&self, layer: usize, what: What) {
        if let Some(watcher) = &self.watcher {
            watcher(Step { layer, what });
        }
    }

    /// Finds out what can be found out before anything is started: options, the helper, that every blob is there,
    /// of the right size and format.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.options.list {
            let text = "an image is applied, not listed";
            return Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(text)));
        }
        self.program = Some(self.program.take().map_or_else(Program::this, Ok)?);
        for index in 0..self.image.layers().len() {
            self.blob(index).map_err(|error| self.locate(index, error))?;
        }
        Ok(())
    }

    fn blob(&self, index: usize) -> Result<Blob, Error> {
        match &self.image.files {
            Some(files) if !files.whole => {
                let text = "the image was opened only to be looked at: its layers are not there";
                Err(Error::new(ErrorKind::Options, crate::error::Detail::Text(text)))
            }
            Some(files) => Blob::open(&files.beneath, &self.image.layers()[index]),
            None => Err(Error::of(ErrorKind::Image)),
        }
    }

    fn locate(&self, index: usize, error: Error) -> Error {
        let (number, of) = (index + 1, self.image.layers().len());
        error.in_layer(LayerRef { number, of, diff_id: self.image.layers()[index].diff_id })
    }

    /// Applies one layer; `begun` is called once there is a helper. It passes through this process: what is digested is
    /// what is applied, whoever writes to the file meanwhile.
    pub(super) fn apply(
        &self,
        index: usize,
        root: OwnedFd,
        mode: Mode,
        durability: Durability,
        shape: impl FnOnce(Untar) -> Untar,
        begun: impl Fn(),
    ) -> Result<Report, Error> {
        self.tell(index, What::Begun);
        let result = self.apply_blob(index, root, mode, durability, shape, begun);
        let report = result.map_err(|error| self.locate(index, error))?;
        self.tell(index, What::Done(Box::new(report.clone())));
        Ok(report)
    }

    fn apply_blob(
        &self,
        index: usize,
        root: OwnedFd,
        mode: Mode,
        durability: Durability,
        shape: impl FnOnce(Untar) -> Untar,
        begun: impl Fn(),
    ) -> Result<Report, Error> {
        let layer = &self.image.layers()[index];
        let blob = self.blob(index)?;
        let mut options = self.options.clone();
        (options.mode, options.compression, options.durability) = (mode, blob.compression, durability);
        options.skip_diff_id = false;
        let mut untar = Untar::new(root).options(options).cancelled_by(self.canceller.clone());
        untar = untar.paid_from(self.purse.clone());
        if let Some(program) = &self.program {
            untar = untar.program(program.clone());
        }
        untar = untar.expect_diff_id(layer.diff_id);
        if let Some(digest) = layer.digest {
            untar = untar.expect_digest(digest);
        }
        if let Some(watcher) = self.watcher.clone() {
            let tell = move |progress| watcher(Step { layer: index, what: What::Progress(progress) });
            untar = untar.on_progress(tell);
        }
        let read = |error| Error::io_at(ErrorKind::Read, "reading", layer.file.as_ref(), error);
        // Nothing is read before the helper is there.
        let reader = Told { reader: blob.reader().map_err(read)?, begun: Some(begun) };
        let mut report = shape(untar).apply(reader).map_err(|error| match error.kind() {
            // Whatever a damaged blob looks like to the helper: that it is damaged says more.
            ErrorKind::Archive | ErrorKind::Entry | ErrorKind::Refused | ErrorKind::Limit => {
                damage(layer, &blob, error)
            }
            _ => error,
        })?;
        if let Some(declared) = blob.declared {
            let what = EventKind::CompressionDiffers { declared, found: blob.compression };
            report.events.insert(0, Event { entry: None, what });
        }
        Ok(report)
    }
}

/// A reader that tells of its first read.
struct Told<R, F> {
    reader: R,
    begun: Option<F>,
}

impl<R: Read, F: Fn()> Read for Told<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun.take().into_iter().for_each(|begun| begun());
        self.reader.read(buffer)
    }
}

/// The durability of each layer, where all are synchronised at the end.
pub(super) fn without_sync(durability: Durability) -> Durability {
    match durability {
        Durability::PerFile => Durability::PerFile,
        _ => Durability::None,
    }
}

/// The blob is not what its descriptor says; or it is, and the error stands.
fn damage(layer: &Layer, blob: &Blob, error: Error) -> Error {
    match (layer.digest, blob.digest()) {
        (Some(declared), Ok(actual)) => match blob::verify(&declared, actual, &layer.file) {
            Err(mismatch) => mismatch,
            Ok(()) => error,
        },
        _ => error,
    }
}
