//! Which of several errors is told when a run is over, and of which kind it is.

use crate::error::{Death, Detail, Error, Filtered, Garbled};
use crate::kind::ErrorKind;
use crate::report::{Cause, Digest, Failure, Report, Stage};
use crate::wire::Reply;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The kind that a helper's failure is to the caller.
fn kind_of(failure: &Failure) -> ErrorKind {
    const FULL: [i32; 4] = [Errno::ENOSPC as i32, Errno::EDQUOT as i32, Errno::EROFS as i32, Errno::EIO as i32];
    match (&failure.cause, failure.stage) {
        (Cause::Panic { .. }, _) => ErrorKind::Helper,
        (Cause::Cancelled, _) => ErrorKind::Cancelled,
        (Cause::Limit { .. }, _) => ErrorKind::Limit,
        (Cause::Pattern { .. } | Cause::IgnoreLine { .. }, _) => ErrorKind::Options,
        (Cause::LowersNotHeld(_) | Cause::NotCovered(_), _) | (_, Stage::Enter) => ErrorKind::Root,
        (Cause::Landlock { .. }, _) | (_, Stage::Confine) => ErrorKind::Confinement,
        (_, Stage::Request) => ErrorKind::Protocol,
        (Cause::Os(_), Stage::Read) => ErrorKind::Read,
        (Cause::Os(errno), _) if FULL.contains(errno) => ErrorKind::Storage,
        (Cause::Os(_) | Cause::NoThread(_), Stage::Write) => ErrorKind::Write,
        (
            Cause::Os(_)
            | Cause::NoThread(_)
            | Cause::Descriptors { .. }
            | Cause::Exchanged { .. }
            | Cause::Attribute { .. },
            _,
        ) => ErrorKind::Entry,
        (Cause::Malformed { .. } | Cause::Compressed { .. } | Cause::NotTar { .. } | Cause::Empty, _) => {
            ErrorKind::Archive
        }
        (
            Cause::LinkTargetMissing { .. }
            | Cause::Source(_)
            | Cause::SameName { .. }
            | Cause::ReservedName
            | Cause::OverlayMark { .. },
            _,
        ) => ErrorKind::Entry,
        (
            Cause::PathEscapes
            | Cause::LinkEscapes
            | Cause::CrossesMount
            | Cause::UnmappedId { .. }
            | Cause::MountPoint { .. }
            | Cause::Refused(_),
            _,
        ) => ErrorKind::Refused,
    }
}

/// Everything known when a run is over.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) cancelled: bool,
    /// The helper outlived its time limit, in milliseconds.
    pub(crate) expired: Option<u64>,
    /// The helper's memory was limited to so many bytes.
    pub(crate) memory: Option<u64>,
    /// The caller's own reader failed.
    pub(crate) reader: Option<io::Error>,
    pub(crate) reply: Option<Reply>,
    /// How the helper ended; `None` if its status could not be had.
    pub(crate) status: Option<ExitStatus>,
    /// If it was killed by SIGSYS.
    pub(crate) filtered: Filtered,
    /// What it said that no helper says.
    pub(crate) garbled: Option<Garbled>,
    pub(crate) stderr: Vec<u8>,
    /// What the parent knows itself: merged into the helper's report.
    pub(crate) known: Known,
    pub(crate) expected_digest: Option<Digest>,
    pub(crate) expected_diff_id: Option<Digest>,
}

/// What the parent does not ask the helper.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) bytes_in: Option<u64>,
    pub(crate) digest: Option<Digest>,
    pub(crate) events: Vec<crate::report::Event>,
    /// Events that were counted, but not kept.
    pub(crate) dropped: u64,
    pub(crate) confinement: Option<crate::report::Confinement>,
    pub(crate) total: std::time::Duration,
}

/// Decides what is told when several things went wrong: cancelled, the caller's own reader, the helper's
/// failure, its death by signal or exit code, the protocol, then digests.
pub(crate) fn verdict(outcome: Outcome) -> Result<Report, Error> {
    let Outcome {
        cancelled,
        expired,
        memory,
        reader,
        reply,
        status,
        filtered,
        garbled,
        stderr,
        known,
        expected_digest,
        expected_diff_id,
    } = outcome;
    // A confinement that was told makes a report, but no success.
    let replied = reply.is_some();
    let (report, failure) = match reply {
        Some(reply) => (Some(merge(reply.report, known)), reply.failure),
        None => (known.confinement.is_some().then(|| merge(Report::default(), known)), None),
    };
    let limit = |limit, value| Failure {
        stage: Stage::Read,
        entry: None,
        after: None,
        operation: None,
        cause: Cause::Limit { limit, value },
    };
    let expired = expired.map(|value| limit(crate::report::Limit::Timeout, value));
    let starved = memory.filter(|_| starved(failure.as_ref(), status, &stderr));
    let starved = starved.map(|value| match &failure {
        Some(failure) => Failure { cause: limit(crate::report::Limit::Memory, value).cause, ..failure.clone() },
        None => limit(crate::report::Limit::Memory, value),
    });
    let fail = |error: Error, report: Option<Report>| Err(error.with(report.map(Box::new), stderr));
    if cancelled {
        return fail(Error::of(ErrorKind::Cancelled), report);
    }
    if let Some(error) = reader {
        return fail(Error::io(ErrorKind::Read, "reading the archive", error), report);
    }
    if let Some(failure) = starved.or(failure).or(expired) {
        return fail(Error::new(kind_of(&failure), Detail::Failure(failure)), report);
    }
    let died = Detail::Died(status.map(|status| death(status, filtered)));
    if status.is_some_and(|s| !s.success()) || (!replied && garbled.is_none()) {
        return fail(Error::new(kind_of_death(status), died), report);
    }
    if let Some(garbled) = garbled {
        return fail(Error::new(ErrorKind::Protocol, Detail::Garbled(garbled)), report);
    }
    let Some(report) = report else {
        return fail(Error::new(ErrorKind::Helper, died), None);
    };
    let wrong = mismatch("digest", expected_digest, report.digest)
        .or_else(|| mismatch("diff ID", expected_diff_id, report.diff_id));
    match wrong {
        Some(detail) => fail(Error::new(ErrorKind::Digest, detail), Some(report)),
        None => Ok(report),
    }
}

/// Did the helper run out of memory? A call then fails, or the allocator's last words say so.
fn starved(failure: Option<&Failure>, status: Option<ExitStatus>, stderr: &[u8]) -> bool {
    const WORDS: &[u8] = b"memory allocation of";
    match failure {
        Some(Failure { cause: Cause::Os(errno), .. }) => *errno == Errno::ENOMEM as i32,
        Some(_) => false,
        None => status.is_some_and(|s| s.signal().is_some()) && stderr.windows(WORDS.len()).any(|words| words == WORDS),
    }
}

fn death(status: ExitStatus, filtered: Filtered) -> Death {
    let name = |number| Signal::try_from(number).ok().map(Signal::as_str);
    Death { status, signal: status.signal().map(|number| (number, name(number))), filtered }
}

fn kind_of_death(status: Option<ExitStatus>) -> ErrorKind {
    match status.and_then(|s| s.signal()) {
        Some(signal) if signal == Signal::SIGSYS as i32 => ErrorKind::Confinement,
        _ => ErrorKind::Helper,
    }
}

fn mismatch(which: &'static str, expected: Option<Digest>, actual: Option<Digest>) -> Option<Detail> {
    let expected = expected?;
    (actual != Some(expected)).then_some(Detail::DigestMismatch { which, expected, actual })
}

fn merge(mut report: Report, known: Known) -> Report {
    report.bytes_in = known.bytes_in.unwrap_or(report.bytes_in);
    report.digest = known.digest;
    report.event_count = report.event_count.max(known.events.len() as u64 + known.dropped);
    report.events = known.events;
    report.times.total = known.total;
    if let Some(confinement) = known.confinement {
        report.confinement = confinement;
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Compression;
    use crate::report::{BadPattern, Call, Damage, Limit, Malformed, Operand, Operation, Refusal};

    fn failure(stage: Stage, call: Option<Call>, cause: Cause) -> Failure {
        let operation = call.map(|call| Operation::new(call, Operand::Nothing, ""));
        Failure { stage, entry: None, after: None, operation, cause }
    }

    fn reply(failure: Option<Failure>) -> Option<Reply> {
        Some(Reply { report: Report::default(), failure })
    }

    fn status(raw: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(raw))
    }

    fn kind(outcome: Outcome) -> Result<(), ErrorKind> {
        verdict(outcome).map(drop).map_err(|error| error.kind())
    }

    /// What a run looks like that ends well.
    fn good() -> Outcome {
        Outcome { reply: reply(None), status: status(0), ..Outcome::default() }
    }

    /// Everything that can go wrong does; what is told is taken away, then the next.
    #[test]
    fn of_several_errors_the_first_of_this_table_is_told() {
        type Step = (ErrorKind, fn(&mut Outcome));
        let steps: [Step; 8] = [
            (ErrorKind::Cancelled, |o| o.cancelled = true),
            (ErrorKind::Read, |o| o.reader = Some(io::Error::other("the reader"))),
            (ErrorKind::Refused, |o| o.reply = reply(Some(failure(Stage::Apply, None, Cause::PathEscapes)))),
            (ErrorKind::Limit, |o| o.expired = Some(200)),
            (ErrorKind::Confinement, |o| o.status = status(31)),
            (ErrorKind::Protocol, |o| o.garbled = Some(Garbled::Magic)),
            (ErrorKind::Digest, |o| o.expected_digest = Some(Digest([1; 32]))),
            (ErrorKind::Digest, |o| o.expected_diff_id = Some(Digest([2; 32]))),
        ];
        for first in 0..steps.len() {
            let mut outcome = good();
            steps[first..].iter().for_each(|(_, happen)| happen(&mut outcome));
            assert_eq!(kind(outcome), Err(steps[first].0), "step {first}");
        }
        assert_eq!(kind(good()), Ok(()));
    }

    #[test]
    fn how_a_helper_ended_is_told_by_what_it_left() {
        type Row = (&'static str, fn(&mut Outcome), Result<(), ErrorKind>);
        let table: [Row; 10] = [
            ("a status that nobody could have: SIGCHLD is ignored", |o| o.status = None, Ok(())),
            ("no word", |o| o.reply = None, Err(ErrorKind::Helper)),
            (
                "a confinement, and then no word",
                |o| (o.reply, o.known.confinement) = (None, Some(crate::report::Confinement::default())),
                Err(ErrorKind::Helper),
            ),
            ("no word and no status", |o| (o.reply, o.status) = (None, None), Err(ErrorKind::Helper)),
            ("a word, then a crash", |o| o.status = status(11), Err(ErrorKind::Helper)),
            ("a word, then an exit status", |o| o.status = status(101 << 8), Err(ErrorKind::Helper)),
            ("a violation", |o| (o.reply, o.status) = (None, status(31)), Err(ErrorKind::Confinement)),
            (
                "garbage from one that had to be killed",
                |o| (o.reply, o.status, o.garbled) = (None, None, Some(Garbled::Content)),
                Err(ErrorKind::Protocol),
            ),
            (
                "a failure and an exit status",
                |o| {
                    o.reply = reply(Some(failure(Stage::Apply, None, Cause::PathEscapes)));
                    o.status = status(1 << 8);
                },
                Err(ErrorKind::Refused),
            ),
            (
                "out of time, and killed for it",
                |o| (o.reply, o.status, o.expired) = (None, None, Some(1)),
                Err(ErrorKind::Limit),
            ),
        ];
        for (what, happen, want) in table {
            let mut outcome = good();
            happen(&mut outcome);
            assert_eq!(kind(outcome), want, "{what}");
        }
    }

    #[test]
    fn a_helper_that_starves_has_reached_its_limit_if_it_had_one() {
        fn failed(cause: fn(i32) -> Cause, errno: Errno) -> Outcome {
            Outcome { reply: reply(Some(failure(Stage::Apply, None, cause(errno as i32)))), ..good() }
        }
        fn aborted(stderr: &[u8]) -> Outcome {
            Outcome { status: status(6), stderr: stderr.to_vec(), ..Outcome::default() }
        }
        type Row = (&'static str, fn() -> Outcome, ErrorKind, bool);
        let table: [Row; 4] = [
            ("a call", || failed(Cause::Os, Errno::ENOMEM), ErrorKind::Entry, true),
            ("the allocator", || aborted(b"memory allocation of 65536 bytes failed"), ErrorKind::Helper, true),
            ("another call", || failed(Cause::Os, Errno::EAGAIN), ErrorKind::Entry, false),
            ("another death", || aborted(b"other words"), ErrorKind::Helper, false),
        ];
        for (what, outcome, without, starved) in table {
            assert_eq!(kind(outcome()), Err(without), "{what}, no limit");
            let error = verdict(Outcome { memory: Some(1 << 20), ..outcome() }).expect_err(what);
            let cause = error.failure().map(|failure| failure.cause.clone());
            let limit = Cause::Limit { limit: Limit::Memory, value: 1 << 20 };
            assert_eq!(cause == Some(limit), starved, "{what}: {error:?}");
            assert_eq!(error.kind(), if starved { ErrorKind::Limit } else { without }, "{what}");
        }
    }

    #[test]
    fn each_cause_has_its_kind() {
        let os = |errno: Errno| Cause::Os(errno as i32);
        let table = [
            (Stage::Apply, None, Cause::Panic { message: String::new() }, ErrorKind::Helper),
            (Stage::Enter, None, Cause::Cancelled, ErrorKind::Cancelled),
            (Stage::Parse, None, Cause::Limit { limit: Limit::Depth, value: 1 }, ErrorKind::Limit),
            (Stage::Enter, Some(Call::Unshare), os(Errno::EPERM), ErrorKind::Root),
            (Stage::Confine, Some(Call::Seccomp), os(Errno::EOPNOTSUPP), ErrorKind::Confinement),
            (Stage::Request, None, os(Errno::EIO), ErrorKind::Protocol),
            (Stage::Read, Some(Call::Read), os(Errno::EIO), ErrorKind::Read),
            (
                Stage::Apply,
                None,
                Cause::Pattern { pattern: String::new(), what: BadPattern::Range },
                ErrorKind::Options,
            ),
            (Stage::Apply, None, Cause::Exchanged { name: Vec::new() }, ErrorKind::Entry),
            (Stage::Apply, None, Cause::Attribute { name: Vec::new(), errno: 1 }, ErrorKind::Entry),
            (Stage::Enter, None, Cause::Exchanged { name: Vec::new() }, ErrorKind::Root),
            (Stage::Apply, Some(Call::Write), os(Errno::ENOSPC), ErrorKind::Storage),
            (Stage::Apply, Some(Call::Write), os(Errno::EDQUOT), ErrorKind::Storage),
            (Stage::Finish, Some(Call::Syncfs), os(Errno::EIO), ErrorKind::Storage),
            (Stage::Apply, Some(Call::Mkdirat), os(Errno::EROFS), ErrorKind::Storage),
            (Stage::Apply, Some(Call::Mkdirat), os(Errno::EACCES), ErrorKind::Entry),
            (Stage::Parse, None, Cause::Malformed { what: Malformed::Checksum, offset: 0 }, ErrorKind::Archive),
            (
                Stage::Decode,
                None,
                Cause::Compressed { format: Compression::Xz, what: Damage::Corrupt, offset: 0 },
                ErrorKind::Archive,
            ),
            (Stage::Apply, None, Cause::LinkTargetMissing { target: Vec::new() }, ErrorKind::Entry),
            (Stage::Apply, None, Cause::PathEscapes, ErrorKind::Refused),
            (Stage::Apply, None, Cause::LinkEscapes, ErrorKind::Refused),
            (Stage::Apply, None, Cause::CrossesMount, ErrorKind::Refused),
            (Stage::Apply, None, Cause::MountPoint { directory: false }, ErrorKind::Refused),
            (Stage::Apply, None, Cause::Refused(Refusal::Uid), ErrorKind::Refused),
        ];
        for (stage, call, cause, want) in table {
            let failure = failure(stage, call, cause);
            assert_eq!(kind_of(&failure), want, "{failure:?}");
        }
    }

    #[test]
    fn deaths_say_how_and_why() {
        let died = |raw| status(raw).map(|status| death(status, Filtered::default()));
        let by = |own, around, call| status(31).map(|status| death(status, Filtered { own, around, call }));
        for (death, want) in [
            (died(9), "the helper was killed by signal 9 (SIGKILL): by somebody, or for want of memory"),
            (died(11), "the helper was killed by signal 11 (SIGSEGV): it crashed"),
            (
                by(Some(true), false, Some((165, Some("mount")))),
                "the helper violated its confinement and was killed by SIGSYS, for system call 165 (mount), which it has no \
                 use for: do not trust",
            ),
            (
                by(Some(false), true, Some((116, Some("setgroups")))),
                "the helper was killed by SIGSYS before it had read anything: a filter that this program was started \
                 under (SystemCallFilter= of systemd, a container's seccomp profile) does not allow system call 116 \
                 (setgroups), which it needs",
            ),
            (
                by(Some(true), true, Some((7, None))),
                "the helper was killed by SIGSYS, for system call 7 (`ausyscall 7` names it): either",
            ),
            (died(31), "the helper was killed by SIGSYS, for a system call that the kernel's log may name"),
            (died(64), "the helper was killed by signal 64"),
            (died(0), "the helper exited without a reply: is that program an untar-in-root?"),
            (died(2 << 8), "the helper exited with status 2 and without a reply"),
            (None, "the helper ended without a reply"),
        ] {
            let text = Error::new(ErrorKind::Helper, Detail::Died(death)).to_string();
            assert!(text.starts_with(want) && !text.contains('\n'), "{text}");
        }
    }
}
