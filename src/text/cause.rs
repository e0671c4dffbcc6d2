//! Why something failed.

use super::errno::Number;
use super::{Quoted, Tame};
use crate::options::Compression;
use crate::report::{BadPattern, Cause, Damage, Limit, Malformed, MarkProblem, Refusal};
use std::fmt::{self, Display, Formatter};

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Os(errno) => Number(*errno).fmt(f),
            Cause::Descriptors { limit, used } => {
                write!(f, "{}: of {limit} descriptors (RLIMIT_NOFILE) {used} are in use, too few are left", Number(24))
            }
            Cause::Exchanged { name } => write!(f, "another file has come to {}", Quoted(name)),
            Cause::Attribute { name, errno } => {
                write!(f, "extended attribute {} cannot be set: {}", Quoted(name), Number(*errno))
            }
            Cause::Pattern { pattern, what } if pattern.is_empty() => write!(f, "a pattern does not parse: {what}"),
            Cause::Pattern { pattern, what } => {
                write!(f, "a pattern does not parse: {}: {what}", Quoted(pattern.as_bytes()))
            }
            Cause::IgnoreLine { line, what } => write!(f, "line {line} of the .dockerignore does not parse: {what}"),
            Cause::Malformed { what, offset } => {
                write!(f, "malformed at byte {offset} of the uncompressed stream: {what}")
            }
            Cause::NotTar { looks_like, begins } if begins.is_empty() => {
                write!(f, "this is {looks_like}, and no tar archive")
            }
            Cause::NotTar { looks_like, begins } => {
                write!(f, "this is {looks_like}, and no tar archive; it begins {}", Quoted(begins))
            }
            Cause::Source(change) => change.fmt(f),
            Cause::UnmappedId { group, id } => {
                write!(f, "its {} id {id} is outside the map", if *group { "group" } else { "user" })
            }
            Cause::SameName { name } => write!(f, "two files would be packed as {}", Quoted(name)),
            Cause::ReservedName => {
                f.write_str("whoever applies a layer takes names that begin with .wh. for whiteouts")
            }
            Cause::OverlayMark { name, what } => write!(f, "extended attribute {} {what}", Quoted(name)),
            Cause::Empty => f.write_str("the archive is empty: there is not one byte in it"),
            Cause::Compressed { format, what, offset } => {
                write!(f, "damaged {} at byte {offset} of the archive: {what}", name_of(*format))
            }
            Cause::PathEscapes => f.write_str("its name climbs above the destination"),
            Cause::LinkEscapes => f.write_str("its target climbs above the destination"),
            Cause::CrossesMount => f.write_str("another file system is mounted there"),
            Cause::MountPoint { directory } => {
                write!(f, "something is mounted on {}", if *directory { "that directory" } else { "that file" })
            }
            Cause::Limit { limit, value } => write!(f, "the limit of {value} {limit} is reached"),
            Cause::LinkTargetMissing { target } => {
                write!(f, "its target {} is not there", Quoted(target))
            }
            Cause::Refused(refusal) => refusal.fmt(f),
            Cause::LowersNotHeld(errno) => {
                write!(f, "{}: a lower directory is held only in a mount namespace of the helper's own", Number(*errno))
            }
            Cause::NotCovered(errno) => {
                write!(f, "{}: what is mounted below the root cannot be covered", Number(*errno))
            }
            Cause::Landlock { abi, least } => write!(f, "Landlock has ABI {abi} here, and {least} is needed"),
            Cause::NoThread(errno) => write!(f, "{}: zstd needs a thread, and none can be started", Number(*errno)),
            Cause::Cancelled => f.write_str("cancelled"),
            Cause::Panic { message } => write!(f, "the helper panicked: {}", Tame(message)),
        }
    }
}

pub(super) fn name_of(format: Compression) -> &'static str {
    match format {
        Compression::Detect => "compressed data",
        Compression::None => "uncompressed data",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Xz => "xz",
        Compression::Bzip2 => "bzip2",
    }
}

impl Display for BadPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPattern::UnclosedClass => "[ without ]",
            BadPattern::Range => "a range runs backwards",
            BadPattern::UnopenedAlternates => "} without {",
            BadPattern::UnclosedAlternates => "{ without }",
            BadPattern::DanglingEscape => "nothing follows the last backslash",
            BadPattern::TooDeep => "its braces are nested too deeply",
            BadPattern::LoneException => "an exception of nothing",
            BadPattern::Class => "[ begins no class",
        })
    }
}

impl Display for MarkProblem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MarkProblem::NeedsLowers => "says that what is there is in a lower directory, and none was named",
            MarkProblem::NotThere => "says that what is there is in a lower directory, and it is in none",
            MarkProblem::Malformed => "is neither a name nor a path",
            MarkProblem::NoMetacopy => "has a value that says no metacopy: overlayfs shows EIO in place of the file",
            MarkProblem::NotFollowed => "is not followed by overlayfs either, since anybody can set it",
            MarkProblem::OutOfReach => "cannot be read here: that takes CAP_SYS_ADMIN in the first user namespace",
        })
    }
}

impl Display for Malformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Checksum => "the checksum of a header is wrong",
            Malformed::Truncated => "the stream ends in the middle of a header or a body",
            Malformed::StrayZeroBlock => "one block of zeros is followed by something else",
            Malformed::Number => "a number field holds no number",
            Malformed::NegativeNumber => "a number is negative that may not be",
            Malformed::NumberRange => "a number does not fit",
            Malformed::PaxRecord => "the length of a PAX record does not add up",
            Malformed::PaxValue => "the value of a PAX record does not parse",
            Malformed::DanglingExtendedHeader => "an extended header has no entry after it",
            Malformed::MisplacedExtendedHeader => "an extended header is applied to another one",
            Malformed::EmptyName => "a name is empty",
            Malformed::NulInName => "a name contains a NUL byte",
            Malformed::EmptyLink => "a link has no target",
            Malformed::SparseMap => "a sparse map overlaps, runs backwards or does not add up",
            Malformed::Size => "a body is not as long as its header says it must be",
            Malformed::Acl => "an ACL does not parse",
        })
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::Truncated => "it ends too soon",
            Damage::Corrupt => "its data, length or checksum is wrong",
            Damage::Memory => "it needs more memory than the limit allows",
            Damage::TrailingGarbage => "something other than zeros follows its end",
            Damage::NotThisFormat => "it does not begin as this format does",
        })
    }
}

/// What the number of a limit counts.
impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::TotalBytes => "bytes in all",
            Limit::FileBytes => "bytes in one file",
            Limit::Entries => "entries",
            Limit::Ratio => "uncompressed bytes for one compressed",
            Limit::Depth => "components in one name",
            Limit::NameBytes => "bytes in one name",
            Limit::ExtendedHeaderBytes => "bytes in the extended headers of one entry",
            Limit::Xattrs => "extended attributes on one entry",
            Limit::XattrBytes => "bytes in one extended attribute",
            Limit::XattrName => "bytes in the name of an extended attribute",
            Limit::SparseRegions => "regions in one sparse file",
            Limit::Hardlinks => "files with several names",
            Limit::Timeout => "milliseconds",
            Limit::Memory => "bytes of memory",
        })
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownType(flag) => write!(f, "refused: type flag '{}' is not known", flag.escape_ascii()),
            Refusal::RootNotDirectory => f.write_str(
                "refused: its name leads to the destination itself or to a directory above it, which it would replace with no \
                 directory",
            ),
            Refusal::Nameless => f.write_str("refused: rebased it has no name, and it is no directory"),
            Refusal::ClampedToRoot => f.write_str(
                "refused: its name climbs above the destination and so ends at the destination itself, which it would \
                 replace with no directory",
            ),
            Refusal::WhiteoutName => f.write_str("refused: a whiteout of nothing, of \".\" or of \"..\""),
            Refusal::WhiteoutInPath => f.write_str("refused: a \".wh.\" component in the middle of a name"),
            Refusal::Uid => f.write_str("refused: its user id is outside 0..4294967294 or outside the map"),
            Refusal::Gid => f.write_str("refused: its group id is outside 0..4294967294 or outside the map"),
            Refusal::DeviceNumber => f.write_str("refused: its device number does not fit into 12 and 20 bits"),
            Refusal::ForgedWhiteout => f.write_str("refused: a 0:0 device would be a whiteout to overlayfs"),
            Refusal::HeaderOnlySize => f.write_str("refused: an entry of this type has no body, yet a size"),
            Refusal::DirectoryConflict => {
                f.write_str("refused: a directory would replace something else, or be replaced by it")
            }
            Refusal::HardlinkToDirectory => f.write_str("refused: a hardlink to a directory"),
        }
    }
}
