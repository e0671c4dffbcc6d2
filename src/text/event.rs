//! Things skipped or softened.

use super::Quoted;
use super::cause::name_of;
use super::errno::Number;
use crate::report::{Advice, Event, EventKind, SourceChange};
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{entry}: {}", self.what),
            None => self.what.fmt(f),
        }
    }
}

impl Display for EventKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            EventKind::SkippedType(flag) => {
                write!(f, "skipped: type '{}' carries no file", flag.escape_ascii())
            }
            EventKind::SkippedAufs => f.write_str("skipped: aufs bookkeeping"),
            EventKind::HeaderOnlySize(size) => {
                write!(f, "its header says {size} bytes, but an entry of this type has no body")
            }
            EventKind::NoEndMarker
            | EventKind::CompressionDiffers { .. }
            | EventKind::TrailingData { .. }
            | EventKind::AnotherArchive { .. } => of_archive(self, f),
            EventKind::PatternUnmatched { pattern } => {
                write!(f, "no name in the archive matches the pattern {}", Quoted(pattern.as_bytes()))
            }
            EventKind::XattrUnsupported { name, errno } => {
                write!(f, "extended attribute {} not set: {}", Quoted(name), Number(*errno))
            }
            EventKind::XattrDropped { name } => write!(f, "extended attribute {} dropped", Quoted(name)),
            EventKind::XattrEscaped { name } => {
                write!(f, "extended attribute {} renamed, so that overlayfs takes it for data", Quoted(name))
            }
            EventKind::OwnerIgnored { uid, gid, errno } => {
                write!(f, "owner {uid}:{gid} not set: {}", Number(*errno))
            }
            EventKind::ModeIgnored { mode, errno } => write!(f, "mode 0{mode:o} not set: {}", Number(*errno)),
            EventKind::ModeWidened { mode } => {
                write!(f, "mode 0{mode:o} widened: its owner may read, write and enter it")
            }
            EventKind::TimesIgnored { errno } => write!(f, "times not set: {}", Number(*errno)),
            EventKind::NoThread { errno } => no_thread(*errno, f),
            EventKind::MountSkipped => f.write_str("left out: something is mounted there or below"),
            EventKind::DeviceSkipped { errno } => write!(f, "device left out: {}", Number(*errno)),
            EventKind::DevicePlaceholder { errno } => {
                write!(f, "an empty file in place of the device: {}", Number(*errno))
            }
            EventKind::Source(change) => change.fmt(f),
            EventKind::SocketSkipped
            | EventKind::Unreadable { .. }
            | EventKind::MountNotEntered
            | EventKind::MountCrossed
            | EventKind::XattrUnreadable { .. }
            | EventKind::ForeignCapability { .. }
            | EventKind::OwnerUnmapped { .. }
            | EventKind::AclUnmapped { .. }
            | EventKind::ArchiveItself
            | EventKind::HolesFilled
            | EventKind::AttributesUnread
            | EventKind::AccessTimes { .. } => of_packing(self, f),
            EventKind::Clamped => f.write_str("its name climbs above the destination and was kept inside"),
            EventKind::CallersOwn | EventKind::LinksUntimed | EventKind::UserMarks | EventKind::MarksOutOfReach => {
                f.write_str(without_rights(self))
            }
            EventKind::DirectoryGone => {
                f.write_str("its mode and times were not set: it is no longer the directory that was made")
            }
        }
    }
}

/// What is told once of a run that has not all the rights there are.
fn without_rights(event: &EventKind) -> &'static str {
    match event {
        EventKind::CallersOwn => {
            "all that is made belongs to the caller, without set-id bits, whatever the archive says: no root was entered"
        }
        EventKind::MarksOutOfReach => {
            "trusted.overlay.* attributes cannot be read here: where root has mounted that overlay its marks are missed, and \
             those in user.overlay.* are taken for them"
        }
        EventKind::LinksUntimed => "times of symlinks and FIFOs are not set where no root was entered",
        _ => {
            "overlayfs's marks are user.overlay.* attributes, since trusted ones cannot be set here; mount it with \
             userxattr"
        }
    }
}

/// What is told of an archive as a whole.
fn of_archive(event: &EventKind, f: &mut Formatter<'_>) -> fmt::Result {
    match event {
        EventKind::NoEndMarker => {
            f.write_str("the archive has no end-of-archive marker; it may have been cut short between two entries")
        }
        EventKind::CompressionDiffers { declared, found } => {
            write!(f, "declared as {}, but its bytes are {}; read as that", name_of(*declared), name_of(*found))
        }
        EventKind::TrailingData { bytes } => {
            write!(f, "{bytes} bytes, not all of them zero, follow the end-of-archive marker; they were ignored")
        }
        EventKind::AnotherArchive { bytes } => {
            write!(f, "another archive follows the end-of-archive marker; its {bytes} bytes were ignored")
        }
        _ => Ok(()),
    }
}

/// What only packing tells.
fn of_packing(event: &EventKind, f: &mut Formatter<'_>) -> fmt::Result {
    match event {
        EventKind::SocketSkipped => f.write_str("left out: a socket, for which tar has no type"),
        EventKind::Unreadable { errno } => write!(f, "left out: it cannot be read: {}", Number(*errno)),
        EventKind::MountNotEntered => {
            f.write_str("another file system is mounted here: the directory was packed, and nothing that is in it")
        }
        EventKind::MountCrossed => f.write_str("another file system is mounted here, and was packed too"),
        EventKind::XattrUnreadable { name, errno } => {
            write!(f, "extended attribute {} left out: it cannot be read: {}", Quoted(name), Number(*errno))
        }
        EventKind::ForeignCapability { root } => {
            write!(f, "its capability is for a user namespace whose root is {root}, and was packed as it is")
        }
        EventKind::OwnerUnmapped { uid, gid } => {
            write!(f, "owner {uid}:{gid} is outside the map; 65534 took the place of what is")
        }
        EventKind::AclUnmapped { group, id } => {
            let what = if *group { "group" } else { "user" };
            write!(f, "{what} id {id} in its ACL is outside the map; 65534 took its place")
        }
        EventKind::ArchiveItself => f.write_str("left out: it is the archive itself"),
        EventKind::HolesFilled => {
            f.write_str("its holes were packed as zeros: too many of them for a list, or more than a gibibyte")
        }
        EventKind::AttributesUnread => f.write_str(
            "an ACL or other attributes, if it has any, were not read: of a FIFO or device that takes a new root",
        ),
        EventKind::AccessTimes { errno } => {
            write!(f, "reading changes times of access, since they may not be kept here: {}", Number(*errno))
        }
        _ => Ok(()),
    }
}

impl Display for SourceChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SourceChange::Shrank { at } => {
                write!(f, "it got shorter while it was read; from byte {at} on there are zeros in its place")
            }
            SourceChange::Grew { size } => {
                write!(f, "it got longer while it was read; what comes behind its {size} bytes is left out")
            }
            SourceChange::Changed => f.write_str("it changed while it was read"),
            SourceChange::Appeared => f.write_str("left out: it came after the copy began"),
            SourceChange::Vanished => f.write_str("left out: it was gone when it was to be read"),
            SourceChange::Busy => f.write_str("left out: whoever holds a lease on it did not give it up"),
        }
    }
}

fn no_thread(errno: i32, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "a thread could not be started, and the work was done without it: {}", Number(errno))?;
    match io::Error::from_raw_os_error(errno).kind() {
        ErrorKind::PermissionDenied => {
            f.write_str(": a filter on system calls that is older than the C library forbids clone3")
        }
        _ => write!(f, ": {}", Advice::Threads),
    }
}
