//! Opening: the directory, or the archive unpacked first.

use super::archive::{self, How, Unpacked};
use super::beneath::{Beneath, named_file};
use super::staged::Staged;
use super::{Contents, Files, Form, Image, Platform, Source, lists};
use crate::canceller::Canceller;
use crate::error::Error;
use crate::kind::ErrorKind;
use crate::opened::Opened;
use crate::options::{Limits, ProcessLimits};
use crate::program::Program;
use crate::report::Advice;
use crate::staging::failure;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Opens an image: a builder.
#[derive(Clone, Debug)]
pub struct Opener {
    source: Source,
    platform: Option<Platform>,
    program: Option<Program>,
    staging: PathBuf,
    limits: Limits,
    process_limits: ProcessLimits,
    canceller: Canceller,
    documents: bool,
}

impl Opener {
    /// Opens images of this source.
    #[must_use]
    pub fn new(source: Source) -> Opener {
        let staging = std::env::temp_dir();
        Opener {
            source,
            platform: None,
            program: None,
            staging,
            limits: Limits::default(),
            process_limits: ProcessLimits::default(),
            canceller: Canceller::default(),
            documents: false,
        }
    }

    /// Which platform is wanted. Without it, the only image is taken whatever it is for, and of several the one
    /// for this machine.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Opener {
        self.platform = Some(platform);
        self
    }

    /// Which program is the helper that unpacks archives; without it, [`Program::this`].
    #[must_use]
    pub fn program(mut self, program: Program) -> Opener {
        self.program = Some(program);
        self
    }

    /// The directory in which archives are unpacked, below a directory of mode 0700 that goes away with the
    /// [`Image`]; it takes as much room as the archive. Without it, the temporary directory (`TMPDIR`).
    #[must_use]
    pub fn staging_in(mut self, dir: impl Into<PathBuf>) -> Opener {
        self.staging = dir.into();
        self
    }

    /// Bounds on what an archive may cost when it is unpacked.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Opener {
        self.limits = limits;
        self
    }

    /// Bounds on the helper that unpacks an archive.
    #[must_use]
    pub fn process_limits(mut self, limits: ProcessLimits) -> Opener {
        self.process_limits = limits;
        self
    }

    /// Ends the unpacking of an archive from another thread.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: Canceller) -> Opener {
        self.canceller = canceller;
        self
    }

    /// Only to look: of an archive no layer is unpacked, but manifests and configurations alone, which takes hardly any
    /// room. Such images cannot be applied ([`ErrorKind::Options`](crate::ErrorKind::Options)).
    #[must_use]
    pub fn documents_only(mut self) -> Opener {
        self.documents = true;
        self
    }

    /// Opens the image that is meant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`](crate::ErrorKind::Image) and others with a [`Problem`](super::Problem);
    /// [`ErrorKind::Read`](crate::ErrorKind::Read); for archives, those of [`Untar::apply`](crate::Untar::apply).
    pub fn open(&self) -> Result<Image, Error> {
        let files = self.files()?;
        let reference = self.source.reference.as_deref();
        let mut image = lists::one(&files, self.source.form, reference, self.platform.as_ref())?;
        image.files = Some(files);
        Ok(image)
    }

    /// Opens all images, whatever reference and platform are wanted.
    ///
    /// # Errors
    ///
    /// Those of [`contents`](Opener::contents).
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        Ok(self.contents()?.images)
    }

    /// Opens all images, whatever reference and platform are wanted, and says what is listed beside them: images that
    /// are not there or damaged, attestations, artifacts.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Opener::open), but for those of choosing one image. What is wrong with one image is an
    /// error only if there is no other.
    pub fn contents(&self) -> Result<Contents, Error> {
        let files = self.files()?;
        let mut contents = lists::all(&files, self.source.form)?;
        contents.images.iter_mut().for_each(|image| image.files = Some(Arc::clone(&files)));
        Ok(contents)
    }

    /// The directory, or what the archive has been unpacked to.
    fn files(&self) -> Result<Arc<Files>, Error> {
        let path = &self.source.path;
        let (beneath, staging) = match self.source.form {
            Form::OciLayout | Form::Dir => (Beneath::open(path)?, None),
            Form::Detect if !self.source.is_stdin() => match Beneath::look(path) {
                Ok(beneath) => (beneath, None),
                Err(_) => self.unpack()?,
            },
            _ => self.unpack()?,
        };
        let whole = !self.documents || staging.is_none();
        Ok(Arc::new(Files { beneath, whole, _staging: staging }))
    }

    fn unpack(&self) -> Result<(Beneath, Option<Staged>), Error> {
        let path = &self.source.path;
        let program = self.program.clone().map_or_else(Program::this, Ok)?;
        let archive = if self.source.is_stdin() { stdin()? } else { named_file(path)?.0.into() };
        let beside = Opened::named(&self.staging)
            .map_err(|errno| failure(&self.staging, errno).advised(Advice::StagingElsewhere))?;
        let (limits, process_limits, canceller) = (self.limits, self.process_limits, self.canceller.clone());
        let how = How { program, limits, process_limits, canceller, documents: self.documents };
        let Unpacked { staged, files, sizes } = archive::unpack(archive, path, &beside, how)?;
        Ok((Beneath::of(files, path).with_sizes(sizes), Some(staged)))
    }
}

fn stdin() -> Result<OwnedFd, Error> {
    let cloned = std::io::stdin().as_fd().try_clone_to_owned();
    cloned.map_err(|error| Error::io(ErrorKind::Read, "duplicating standard input", error))
}
