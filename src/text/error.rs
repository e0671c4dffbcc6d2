//! The parent's one error, as one line.

use super::errno::Io;
use super::{Escaped, Quoted, line};
use crate::error::{Death, Detail, Error, Filtered, Garbled};
use crate::kind::ErrorKind;
use crate::report::Advice;
use std::fmt::{self, Debug, Display, Formatter};

/// The helper's last words that an error repeats, in bytes.
const TAIL: usize = 512;

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        struct Whole<'a>(&'a Error);
        impl Display for Whole<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                whole(f, self.0)
            }
        }
        line(f, |out| write!(out, "{}", Whole(self)))
    }
}

/// What `main` prints of an error that it returns: for people too.
impl Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        /// As far as one line goes: a problem of an image may have a list in it.
        struct Short<'a>(&'a Detail);
        impl Debug for Short<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                line(f, |out| write!(out, "{:?}", self.0))
            }
        }
        let mut fields = f.debug_struct("Error");
        fields.field("kind", &self.kind()).field("message", &self.to_string());
        fields.field("detail", &Short(self.detail())).finish_non_exhaustive()
    }
}

fn whole(f: &mut Formatter<'_>, error: &Error) -> fmt::Result {
    if let Some(layer) = error.layer() {
        write!(f, "layer {} of {} ({}): ", layer.number, layer.of, layer.diff_id)?;
    }
    if let Some(staging) = error.staging() {
        write!(f, "unpacking the image in {}: ", Quoted(staging.as_os_str().as_encoded_bytes()))?;
    }
    match error.detail() {
        Detail::None => of_kind(f, error.kind()),
        Detail::Text(text) => f.write_str(text),
        #[cfg(feature = "image")]
        Detail::Advised(text, advice) => write!(f, "{text}: {advice}"),
        Detail::Failure(failure) => {
            super::failure::with(f, failure, error.advice())?;
            let refusal = error.report().and_then(|report| report.confinement.map_refusal.as_ref());
            match refusal.filter(|_| matches!(error.advice(), Some(Advice::RefusedMap | Advice::SubordinateIds))) {
                Some(refusal) => write!(f, ": {refusal}"),
                None => Ok(()),
            }
        }
        #[cfg(feature = "image")]
        Detail::Part(part) => Display::fmt(part, f),
        Detail::Died(death) => {
            died(f, *death)?;
            last_words(f, error.helper_stderr())
        }
        Detail::Garbled(garbled) => {
            self::garbled(f, *garbled)?;
            last_words(f, error.helper_stderr())
        }
        Detail::Io { doing, path, error: why } => {
            f.write_str(doing)?;
            if let Some(path) = path {
                write!(f, " {}", Quoted(path.as_os_str().as_encoded_bytes()))?;
            }
            write!(f, ": {}", Io(why))?;
            error.advice().map_or(Ok(()), |advice| write!(f, ": {advice}"))
        }
        Detail::DigestMismatch { which, expected, actual: Some(actual) } => {
            write!(f, "{which} mismatch: expected {expected}, got {actual}: this is not the archive that was meant")
        }
        Detail::DigestMismatch { which, expected, actual: None } => {
            write!(f, "{which} mismatch: expected {expected}, but none was computed")
        }
    }
}

/// Kinds that need no detail.
fn of_kind(f: &mut Formatter<'_>, kind: ErrorKind) -> fmt::Result {
    f.write_str(match kind {
        ErrorKind::Archive => "the archive is damaged",
        ErrorKind::Entry => "an entry could not be applied",
        ErrorKind::Refused => "an entry is refused",
        ErrorKind::Limit => "a limit was reached",
        ErrorKind::Image => "the image is not what it should be",
        ErrorKind::Digest => "a digest is not the expected one",
        ErrorKind::Storage => "the file system failed",
        ErrorKind::Read => "the archive could not be read",
        ErrorKind::Write => "the archive could not be written",
        ErrorKind::Root => "the root could not be entered",
        ErrorKind::Confinement => "the helper could not be confined",
        ErrorKind::Helper => "the helper failed",
        ErrorKind::Protocol => "the other side is not a helper of this version",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::NotInitialised => {
            "this program cannot start itself as the helper: call untar_in_root::helper::init() first in main, in \
             tests use helper_at_start!, or name an installed untar-in-root with Program::at"
        }
        ErrorKind::Options => "the options contradict each other",
        ErrorKind::Unsupported => {
            return write!(f, "untar-in-root works on Linux only, and this is {}", std::env::consts::OS);
        }
    })
}

fn died(f: &mut Formatter<'_>, death: Option<Death>) -> fmt::Result {
    let Some(Death { status, signal, filtered }) = death else {
        return f.write_str("the helper ended without a reply");
    };
    match (signal, status.code()) {
        (Some((_, Some("SIGSYS"))), _) => self::filtered(f, filtered),
        (Some((number, Some(name))), _) => {
            write!(f, "the helper was killed by signal {number} ({name}){}", why_killed(name))
        }
        (Some((number, None)), _) => write!(f, "the helper was killed by signal {number}"),
        (None, Some(0)) => f.write_str("the helper exited without a reply: is that program an untar-in-root?"),
        (None, Some(code)) => write!(f, "the helper exited with status {code} and without a reply"),
        (None, None) => write!(f, "the helper ended without a reply ({status})"),
    }
}

/// Whose filter it was decides whether the archive has anything to do with it: none of it is read before the helper's own.
fn filtered(f: &mut Formatter<'_>, Filtered { own, around, call }: Filtered) -> fmt::Result {
    const AROUND: &str = "a filter that this program was started under (SystemCallFilter= of systemd, a container's \
                          seccomp profile)";
    const TRUST: &str = "do not trust what it has written";
    let call = match call {
        Some((number, Some(name))) => format!("system call {number} ({name})"),
        Some((number, None)) => format!("system call {number} (`ausyscall {number}` names it)"),
        None => "a system call that the kernel's log may name (`journalctl -k`, type=1326)".to_owned(),
    };
    match (own, around) {
        (Some(false), true) => {
            write!(
                f,
                "the helper was killed by SIGSYS before it had read anything: {AROUND} does not allow {call}, which it needs"
            )
        }
        (Some(true), false) => write!(
            f,
            "the helper violated its confinement and was killed by SIGSYS, for {call}, which it has no use for: {TRUST}"
        ),
        (Some(true), true) => write!(
            f,
            "the helper was killed by SIGSYS, for {call}: either {AROUND} does not allow what it needs, or it violated \
             its confinement: {TRUST}"
        ),
        (None | Some(false), _) => write!(
            f,
            "the helper was killed by SIGSYS, for {call}: either {AROUND} does not allow what it needs, or it violated \
             its confinement, if the archive was being read by then: {TRUST}"
        ),
    }
}

fn why_killed(name: &str) -> &'static str {
    match name {
        "SIGKILL" => ": by somebody, or for want of memory (look at dmesg)",
        "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGABRT" | "SIGFPE" => {
            ": it crashed on this archive, which may be hostile; please report it"
        }
        "SIGXCPU" => ": the limit of CPU time (`ulimit -t`)",
        _ => "",
    }
}
fn garbled(f: &mut Formatter<'_>, garbled: Garbled) -> fmt::Result {
    const ONE_VERSION: &str = "helper and library must be of one version";
    match garbled {
        Garbled::Magic => write!(
            f,
            "the program started as the helper does not answer as one: {ONE_VERSION}, and nothing may be printed before init()"
        ),
        Garbled::Version(version) => {
            write!(f, "the helper speaks protocol {version:08x} and not this library's: {ONE_VERSION}")
        }
        Garbled::Length { bytes, most } => {
            write!(f, "the helper announced a frame of {bytes} bytes, over the limit of {most}: {ONE_VERSION}")
        }
        Garbled::Content => write!(f, "the helper sent a frame that does not decode: {ONE_VERSION}"),
        Garbled::Cut => f.write_str("the helper hung up in the middle of a frame"),
        Garbled::Unexpected => f.write_str("the helper sent more than it may: do not trust what it has written"),
    }
}

/// The end of what the helper wrote to its standard error.
fn last_words(f: &mut Formatter<'_>, stderr: &[u8]) -> fmt::Result {
    let words = stderr.trim_ascii();
    let tail = &words[words.len().saturating_sub(TAIL)..];
    match tail {
        [] => Ok(()),
        tail => write!(f, "; its last words: {:?}", Escaped(tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(detail: Detail) -> String {
        Error::new(ErrorKind::Helper, detail).to_string()
    }

    #[test]
    fn a_foreign_helper_is_told_to_be_of_one_version() {
        for garbled in
            [Garbled::Magic, Garbled::Version(9), Garbled::Length { bytes: u32::MAX, most: 1 << 20 }, Garbled::Content]
        {
            assert!(words(Detail::Garbled(garbled)).contains("of one version"), "{garbled:?}");
        }
    }

    #[test]
    fn last_words_are_tame_and_short() {
        struct Words<'a>(&'a [u8]);
        impl Display for Words<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                last_words(f, self.0)
            }
        }
        assert_eq!(Words(b" \n").to_string(), "");
        assert_eq!(Words(b"one\n\x1b[2Jtwo\n").to_string(), "; its last words: \"one\\n\\033[2Jtwo\"");
        assert!(Words(&[b'x'; 9000]).to_string().len() < TAIL + 40);
    }

    #[test]
    fn other_details() {
        let digest = crate::report::Digest([0xab; 32]);
        let io = |number| std::io::Error::from_raw_os_error(number);
        for (detail, want) in [
            (Detail::Text("no"), "no"),
            (
                Detail::Io { doing: "opening the root", path: Some("/a\nb".into()), error: io(2) },
                "opening the root \"/a\\nb\": ENOENT (No such file or directory)",
            ),
            (
                Detail::Io { doing: "reading the archive", path: None, error: std::io::Error::other("gone\n") },
                "reading the archive: gone\\n",
            ),
            (
                Detail::DigestMismatch { which: "digest", expected: digest, actual: None },
                "digest mismatch: expected sha256:abab",
            ),
        ] {
            let text = words(detail);
            assert!(text.starts_with(want), "{text}");
        }
        assert!(Error::of(ErrorKind::NotInitialised).to_string().contains("helper::init()"));
        assert!(Error::of(ErrorKind::NotInitialised).to_string().contains("Program::at"));
    }
}
