//! What becomes of a failure: a gRPC status with one line for the person at the pull.
//!
//! It reaches whoever pulls, so what the host's directories are called stays in the log.

use crate::advice::told;
use crate::blob::Lacking;
use crate::code;
use crate::mounts::Unusable;
use crate::store::Refused;
use crate::turns::At;
use std::io;
use std::time::Duration;
use tonic::{Code, Status};
use untar_in_root::{Cause, Error, ErrorKind, Failure, Stage};

/// Why a layer was not applied, or not made.
#[derive(Debug)]
pub(crate) enum Trouble {
    NoDescriptor,
    MediaType(String),
    /// No layer of this media type is made here.
    NotMade(String),
    Mounts(Unusable),
    Blob(Lacking),
    /// One of the snapshot's, by what it is to it, cannot be opened.
    Directory(String, Error),
    Apply(Error),
    Make(Error),
    /// containerd does not take a layer that is made.
    Store(Refused),
    InUserNamespace,
    /// Nothing of this layer has moved for so long.
    Stalled(Duration, At),
    /// It has not had its turn, and nothing has moved for so long of those who have theirs.
    NoTurn(Duration),
    /// The thread that waits for the helper has panicked.
    Bug,
}

impl From<Lacking> for Trouble {
    fn from(lacking: Lacking) -> Trouble {
        Trouble::Blob(lacking)
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        Trouble::Store(refused)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Apply(error)
    }
}

impl From<Unusable> for Trouble {
    fn from(unusable: Unusable) -> Trouble {
        Trouble::Mounts(unusable)
    }
}

impl From<&Trouble> for Status {
    fn from(trouble: &Trouble) -> Status {
        Status::new(code::of(trouble), one_line(&text(trouble)))
    }
}

/// The most bytes of a status: it goes through HTTP headers and into logs of others.
const LONGEST: usize = 4 << 10;

/// Names in a layer may be long, and there may be several.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() + '…'.len_utf8() > LONGEST {
            line.push('…');
            break;
        }
        line.push(c);
    }
    line
}

fn text(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NoDescriptor => "the request has no descriptor".into(),
        Trouble::MediaType(media_type) => format!("a layer of media type {:?} is not applied here", start(media_type)),
        Trouble::NotMade(media_type) => format!("a layer of media type {:?} is not made here", start(media_type)),
        Trouble::Mounts(Unusable::NotOurs(what)) => format!("not served here: {what}"),
        Trouble::Mounts(Unusable::Bad(what)) => format!("the mounts are of no use: {what}"),
        Trouble::InUserNamespace => "not in a user namespace: devices could not be made here".into(),
        Trouble::Stalled(time, at) => of_stall(*time, *at),
        Trouble::NoTurn(time) => format!(
            "all turns (max-parallel) are held by layers of which nothing was read or written for {} s: the storage of the \
             content store or of the snapshots hangs",
            time.as_secs()
        ),
        Trouble::Bug => "a thread of untar-in-root-diffd has panicked; its log says where".into(),
        Trouble::Blob(lacking) => of_blob(lacking),
        Trouble::Directory(which, error) => match error.raw_os_error() {
            Some(errno) => format!("opening {which}: {}", bare(&io::Error::from_raw_os_error(errno))),
            None => of_apply(error),
        },
        Trouble::Apply(error) => of_apply(error),
        Trouble::Make(error) => of_making(error),
        Trouble::Store(refused) => of_store(refused),
    }
}

fn of_stall(time: Duration, At { entries, bytes, containerd }: At) -> String {
    let seconds = time.as_secs();
    let (what, hangs) = match containerd {
        Some(doing) => {
            (format!("{doing}: containerd has not answered for {seconds} s"), "containerd or its disk hangs")
        }
        None => (
            format!("nothing of it was read or written for {seconds} s"),
            "the storage of the content store or of the snapshots hangs",
        ),
    };
    let far = match (entries, bytes) {
        (0, 0) => "before its first entry was done".into(),
        _ => format!("after about {entries} entries and {bytes} bytes of it"),
    };
    format!("{what}, {far}: {hangs}; if it is only slow, raise stall-seconds of diffd.toml's [limits]")
}

/// Others' words, which may be megabytes.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(256).collect()
}

fn of_blob(lacking: &Lacking) -> String {
    match lacking {
        Lacking::Digest(text) => format!("{:?} is no SHA-256 digest", start(text)),
        Lacking::OtherDigest(text) => format!("a layer by the digest {:?} is not applied here", start(text)),
        Lacking::Missing { digest, .. } => {
            format!("the content store has no {digest}; where it is, is content-root of the differ's diffd.toml")
        }
        Lacking::Size { expected, actual } => {
            format!("the blob has {actual} bytes, and its descriptor says {expected}")
        }
        Lacking::NoFile(digest) => format!("{digest} is no regular file in the content store"),
        Lacking::Io(error) => format!("opening the blob: {}", bare(error)),
    }
}

/// What is told without names of the host's: the parent's words have them, and those of a helper that is not inside yet.
fn of_apply(error: &Error) -> String {
    match (error.failure(), error.kind(), error.raw_os_error()) {
        (Some(failure), ..) => of_failure(failure),
        (None, ErrorKind::Root, errno) => at_the_snapshot(errno),
        (None, ErrorKind::Digest | ErrorKind::Cancelled, _) => told(error.to_string(), error.advice()),
        (None, _, Some(errno)) => bare(&io::Error::from_raw_os_error(errno)),
        (None, _, None) => match error.status() {
            Some(status) => format!("the helper has ended: {status}"),
            None => "untar-in-root-diffd has failed, and its log says how".into(),
        },
    }
}

pub(crate) fn of_failure(failure: &Failure) -> String {
    match failure.stage {
        Stage::Request | Stage::Enter | Stage::Confine => {
            let call = failure.operation.as_ref().map_or_else(String::new, |operation| format!("{}: ", operation.call));
            format!("{}: {call}{}", failure.stage, bare_cause(failure))
        }
        _ => told(failure.to_string(), failure.advice()),
    }
}

/// What the helper did before it was inside has the host's names in it, all but the call and the number.
fn bare_cause(failure: &Failure) -> String {
    let errno = failure.cause.raw_os_error();
    errno.map_or_else(|| "the log says why".into(), |errno| bare(&io::Error::from_raw_os_error(errno)))
}

/// What may help who commits a container that changes meanwhile.
pub(crate) const PAUSE: &str = "what a layer is made of must be at rest: pause or stop the container meanwhile";

fn of_making(error: &Error) -> String {
    let changed = error.failure().is_some_and(|failure| matches!(failure.cause, Cause::Source(_)));
    if changed { format!("{}: {PAUSE}", of_apply(error)) } else { of_apply(error) }
}

/// containerd's words may have names of the host's, which its own log has, and ours.
fn of_store(refused: &Refused) -> String {
    match refused {
        Refused::NoContainerd(..) => {
            "nobody answers at containerd's socket, which is containerd-address of the differ's \
                                      diffd.toml"
                .into()
        }
        Refused::By(doing, status) => format!("{doing}: containerd answers: {}", bare_words(status)),
        Refused::OtherBytes(what) => format!("containerd has other bytes than were written: {what}"),
    }
}

/// What the caller did wrong he is told as containerd says it to its own clients; else the innermost of Go's words. Neither
/// if it has a name of the host's in it.
fn bare_words(status: &Status) -> &str {
    let callers = matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound);
    if callers && !status.message().is_empty() && !names_a_file(status.message()) {
        return status.message();
    }
    let innermost = status.message().rsplit(": ").next().unwrap_or_default();
    if innermost.is_empty() || innermost.contains('/') { status.code().description() } else { innermost }
}

/// Whether something in it begins as an absolute path does.
fn names_a_file(words: &str) -> bool {
    let is_between = |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '_' | '-');
    words.split(is_between).any(|part| part.starts_with('/'))
}

fn at_the_snapshot(errno: Option<i32>) -> String {
    let why = errno.map_or("the log says why".into(), |errno| bare(&io::Error::from_raw_os_error(errno)));
    format!("a directory of the snapshot cannot be entered: {why}")
}

/// Without a path, which `io::Error` has only where std was given one.
fn bare(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.kind().to_string(), |n| io::Error::from_raw_os_error(n).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containerd_says_goes_on_without_names_of_the_hosts() {
        let of = |message: &str| of_store(&Refused::By("writing the layer", Status::unknown(message)));
        let full = of("failed: write /var/lib/containerd/x/data: no space left on device");
        assert_eq!(full, "writing the layer: containerd answers: no space left on device");
        assert!(!of("open /var/lib/x").contains("/var") && !of("").ends_with(": "));
        let of = |status: Status| of_store(&Refused::By("making a lease", status));
        let invalid = of(Status::invalid_argument("identifier \"a/b\" must match ^[a-z]+: invalid argument"));
        assert!(invalid.contains("\"a/b\" must match"), "{invalid}");
        for words in ["open /var/lib/x: not found", "\"/run/x\": not found", "unix:///run/x: not found", "(/x)"] {
            let told = of(Status::not_found(words));
            assert!(!told.contains("/run") && !told.contains("/var") && !told.contains("/x"), "{told}");
        }
    }

    #[test]
    fn a_status_is_one_line_and_ends_somewhere() {
        assert_eq!(one_line("a\nb"), "a b");
        let cut = one_line(&"é".repeat(LONGEST));
        assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4 && cut.ends_with('…'), "{} bytes", cut.len());
    }
}
