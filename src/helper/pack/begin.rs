//! From the request to where the first entry is packed: inside, confined, the archive begun.

use super::archive::Archive;
use super::encode::{self, Encoder, NoThread};
use super::open::Opener;
use super::output::Output;
use super::overlay::Marks;
use crate::helper::elapsed;
use crate::helper::fault::{Fault, Result};
use crate::helper::feed::failure;
use crate::helper::jail::confine::{Confined, can_set_trusted, drop_to_reading, may_read_beneath, reads_in_root_for};
use crate::helper::jail::limits::bound_process;
use crate::helper::jail::right::Read;
use crate::helper::jail::root::Entrance;
use crate::helper::jail::userns;
use crate::helper::look::{self, Inode};
use crate::helper::read::input::Watch;
use crate::helper::reporter::Reporter;
use crate::namespace;
use crate::options::{Encoding, OverlayPrefix, PackOptions};
use crate::proc;
use crate::report::{Cause, Failure, MarkProblem, Report, Stage};
use crate::wire::{PackRequest, Packs, Up};
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the kernel has where nobody has changed it: `/proc/sys/fs/lease-break-time`.
const LEASE: Duration = Duration::from_secs(45);

/// A packer that is ready to walk.
pub(super) struct Begun {
    pub(super) confined: Confined<Read>,
    pub(super) marks: Option<Marks>,
    /// How many descriptors there may be.
    pub(super) files: usize,
    /// What the archive is written to.
    pub(super) itself: Option<Inode>,
    pub(super) archive: Archive,
    pub(super) opener: Opener,
}

/// Goes inside, gives up rights, and begins the archive.
pub(super) fn begin(
    archive: &Arc<OwnedFd>,
    watch: &Watch,
    request: &PackRequest,
    reporter: &mut Reporter,
    report: &mut Report,
    started: Instant,
) -> Result<Begun, Box<Failure>> {
    let options = &request.options;
    let at = |stage| move |fault| failure(stage, fault, None);

    let beneath = may_read_beneath(&options.jail);
    let entered = userns::enter(&options.jail, beneath, reporter);
    let userns::Entered { report: namespace, refused } =
        entered.map_err(|fault| at(Stage::Enter)(fault.meant_if(reads_in_root_for(&options.jail))))?;
    let files = bound_process(options.jail.limits.memory_bytes).map_err(at(Stage::Confine))?;
    // It is in /proc, which is out of reach later.
    let lease = lease_time();
    let (isolation, mounts) = (options.jail.isolation, options.jail.mounts);
    // The same.
    let marks = match &request.what {
        Packs::Upper { prefix, .. } => Some(marks(*prefix, namespace.is_none()).map_err(at(Stage::Confine))?),
        _ => None,
    };
    let entrance = Entrance { isolation, lowers: request.what.lowers(), mounts, beneath, refused };
    let inside = entrance.enter::<Read>();
    let inside =
        inside.map_err(|fault| at(Stage::Enter)(if namespace.is_some() { fault.in_new_namespace() } else { fault }))?;
    report.times.enter = elapsed(started);

    let mark = Instant::now();
    let mut confined = drop_to_reading(inside, &options.jail, options.trusted_xattrs || marks == Some(Marks::Trusted))
        .map_err(at(Stage::Confine))?;
    confined.report.user_namespace = namespace;
    report.confinement = confined.report.clone();
    report.times.confine = elapsed(mark);
    reporter.send(&Up::Started(Box::new(report.confinement.clone())));

    let opener = Opener::new(watch.clone(), confined.right.read_only, lease);
    let itself = look::of(archive).ok().map(|seen| seen.inode);
    let output = Output::new(Arc::clone(archive), watch.clone());
    let ending = output.ending();
    let encoder = encoder(output, options, confined.processors).map_err(at(Stage::Write))?;
    let archive = Archive::new(encoder, ending, options.limits.total_bytes);
    Ok(Begun { confined, marks, files, itself, archive, opener })
}

/// Which attributes are overlayfs's own: those in `trusted.` where they can be read.
fn marks(prefix: OverlayPrefix, ours: bool) -> Result<Marks> {
    let readable = ours && can_set_trusted() && namespace::is_first();
    match prefix {
        OverlayPrefix::User => Ok(Marks::User),
        OverlayPrefix::Auto if !readable => Ok(Marks::User),
        OverlayPrefix::Trusted if !readable => {
            Err(Cause::OverlayMark { name: b"trusted.overlay.".into(), what: MarkProblem::OutOfReach }.into())
        }
        OverlayPrefix::Auto | OverlayPrefix::Trusted => Ok(Marks::Trusted),
    }
}

fn lease_time() -> Duration {
    let seconds = proc::read("sys/fs/lease-break-time", 16).ok();
    let seconds = seconds.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
    seconds.map_or(LEASE, Duration::from_secs)
}

fn encoder(output: Output, options: &PackOptions, processors: usize) -> Result<Encoder<Output>> {
    let encoding = match options.encoding {
        Encoding::None => encode::Encoding::Plain,
        Encoding::Gzip { level } => encode::Encoding::Gzip { level: level.into() },
        Encoding::Zstd { level } => encode::Encoding::Zstd { level: level.into() },
    };
    let encoder = Encoder::new(output, encoding, processors);
    // Without a thread zstd has other bytes: that is an error and no event.
    let encoder = encoder.map_err(|error| {
        let thread = error.get_ref().and_then(|inner| inner.downcast_ref::<NoThread>());
        Fault::from(match thread {
            Some(lacking) => Cause::NoThread(lacking.errno),
            None => Cause::Os(error.raw_os_error().unwrap_or(Errno::EINVAL as i32)),
        })
    })?;
    Ok(if options.skip_digests { encoder.without_digests() } else { encoder })
}
