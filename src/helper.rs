//! The child side: everything that runs inside the root. The only public item is [`init`].

mod apply;
mod at_start;
mod fault;
mod feed;
#[cfg(any(fuzzing, test))]
mod fuzz;
mod hash;
mod holes;
mod jail;
mod journal;
mod list;
mod look;
mod open;
mod pack;
mod path;
mod read;
mod reporter;
mod rights;
mod selection;
mod sys;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzz::{BenchDirs, BenchEntries, Seen, bench_reader, fuzz_entries};
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub use fuzz::{
    fuzz_decode, fuzz_encode, fuzz_frames, fuzz_header, fuzz_ignore, fuzz_overlay, fuzz_reader, fuzz_resolver,
    fuzz_stall,
};

#[doc(hidden)]
pub use at_start::at_start;

use crate::linux::own::{ARGV0, mark_initialised};
use crate::options::{Mode, Options};
use crate::report::{Cause, Confinement, EventKind, Failure, Purpose, Report, Stage, UserNamespaceReport};
use crate::wire::{Down, Reply, Request, Up, frame_of_panic};
use apply::Applier;
use fault::Fault;
use feed::{Sink, failure, feed, read_failure};
use jail::right::Write;
use jail::root::{Entrance, Inside};
use jail::{arrival, confine, lifeline, limits, userns};
use list::Lister;
use nix::errno::Errno;
use read::decode;
use read::entry::{Reader, Strictness};
use read::input::{Input, Watch};
use read::stream::Stream;
use reporter::Reporter;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes this process the helper if it was started as one; to be called first in `main`.
///
/// In any other process it returns at once, and [`Program::this`](crate::Program::this) works from then on.
/// In a helper it never returns: the archive on descriptor 0 is applied as the parent on descriptor 1 asks.
/// Where `main` is not yours to change: [`helper_at_start!`](crate::helper_at_start).
///
/// A set-uid program is never a helper: `argv[0]` is the caller's choice there. Such a process, one whose
/// descriptor 1 is no socket and one that has threads already ends with a message and exit status 2.
pub fn init() {
    begin(std::env::args_os().next());
    mark_initialised(sys::executed_as);
}

/// Returns unless this process was started as a helper.
fn begin(name: Option<OsString>) {
    if name.is_none_or(|name| name.as_bytes() != ARGV0.as_bytes()) {
        return;
    }
    let refusal = if sys::raised_privileges() {
        "refusing to run as a helper with raised privileges"
    } else if !sys::is_socket(1) {
        "this is the helper of untar-in-root; it is started by the library, not by hand"
    } else if has_threads() {
        "helper::init() must come first in main, and this program has threads by then (a runtime's?)"
    } else {
        run();
    };
    sys::complain(refusal);
    sys::exit_now(2);
}

/// `unshare(2)` refuses to part memory that is shared, and does nothing where it is not. An emulator of another processor
/// has threads of its own, which are not the program's fault; it has no seccomp, with which one could be bound alone.
fn has_threads() -> bool {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_VM) == Err(Errno::EINVAL)
        && rustix::thread::secure_computing_mode().is_ok()
}

/// The whole sequence.
fn run() -> ! {
    let started = Instant::now();
    report_panics();
    lifeline::tie();
    limits::start_clean();
    let (archive, control) = sys::take_standard();
    // Held to the end: no file that is made may get the number that the filter guards.
    let archive = Arc::new(archive);
    let exit = match control.try_clone() {
        // The reporter has the number that the filter of packing lets it write to.
        Ok(second) => serve(&archive, second, Reporter::new(control), started),
        Err(_) => 1,
    };
    sys::exit_now(exit)
}

fn serve(archive: &Arc<OwnedFd>, control: OwnedFd, mut reporter: Reporter, started: Instant) -> i32 {
    let request = reporter.receive();
    let mut report = Report::default();
    let arrived = arrival::go().map_err(at(Stage::Enter));
    let worked = match (request, arrived) {
        (Ok(Down::Request(_) | Down::Pack(_)), Err(failure)) => Err(failure),
        (Ok(Down::Request(request)), Ok(())) => work(archive, control, &request, &mut reporter, &mut report, started),
        (Ok(Down::Pack(request)), Ok(())) => {
            pack::work(archive, control, &request, &mut reporter, &mut report, started)
        }
        // Nobody is there, or nobody that could make sense of a reply.
        _ => return 1,
    };
    let failure = worked.err();
    reporter.send(&Up::Reply(Box::new(Reply { report, failure: failure.map(|failure| *failure) })));
    0
}

fn work(
    archive: &Arc<OwnedFd>,
    control: OwnedFd,
    request: &Request,
    reporter: &mut Reporter,
    report: &mut Report,
    started: Instant,
) -> Result<(), Box<Failure>> {
    reporter.configure(request.options.limits.events, request.options.progress);
    let watch = Watch::new(control, request.options.jail.limits.timeout_ms()).telling(reporter.line());
    let Entered { inside, user_namespace, files, initial } = enter(request, reporter)?;
    let options = &request.options;
    report.times.enter = elapsed(started);

    let mark = Instant::now();
    let mut confined = confine::drop_privileges(inside, options, initial).map_err(at(Stage::Confine))?;
    confined.report.user_namespace = user_namespace;
    report.confinement = confined.report.clone();
    report.user_marks = matches!(options.mode, Mode::Overlay(_)) && !confined.right.trusted_marks;
    report.times.confine = elapsed(mark);
    let confinement: Confinement = report.confinement.clone();
    reporter.hold(&Up::Started(Box::new(confinement)));

    // Nothing is read ahead of what needs it, where the parent gives no more than is needed.
    let threaded = confined.processors > 1 && !request.in_step;
    let mark = Instant::now();
    let mut input = Input::new(Arc::clone(archive), watch.clone());
    if request.in_step {
        input = input.fed_by(reporter.second_channel().map_err(at(Stage::Read))?);
    }
    // An archive that is there, and small, is told of in one go.
    if request.lowers_later || request.in_step || !input.is_ready() {
        reporter.flush();
    }
    if options.list {
        let mut lister = Lister::new(options, reporter).map_err(at(Stage::Apply))?;
        return process(&mut lister, input, options, threaded, report, mark);
    }
    let mut applier = Applier::new(confined, request, watch, reporter, files).map_err(at(Stage::Apply))?;
    let entered = applier.enter_destination(&request.destination, request.copy);
    entered.map_err(|fault| if request.copy.is_some() { not_landed(fault) } else { not_entered(fault) })?;
    process(&mut applier, input, options, threaded, report, mark)
}

/// What has come of entering the root, and what cannot be found out once that is done.
struct Entered {
    inside: Inside<Write>,
    user_namespace: Option<UserNamespaceReport>,
    /// How many descriptors there may be.
    files: usize,
    /// Marks in `trusted.` may be tried: this is the first user namespace.
    initial: bool,
}

fn enter(request: &Request, reporter: &mut Reporter) -> Result<Entered, Box<Failure>> {
    let options = &request.options;
    let beneath = confine::may_stay_beneath(options);
    let entered = userns::enter(&options.jail, beneath, reporter);
    let userns::Entered { report: user_namespace, refused } =
        entered.map_err(|fault| at(Stage::Enter)(fault.meant_if(confine::enters_for(options))))?;
    let files = limits::bound_process(options.jail.limits.memory_bytes).map_err(at(Stage::Confine))?;
    // Looked for in /proc, which is out of reach later.
    let initial = confine::wants_trusted_marks(&options.mode)
        && user_namespace.is_none()
        && confine::can_set_trusted()
        && crate::namespace::is_first();
    let (isolation, mounts) = (options.jail.isolation, options.jail.mounts);
    let entrance = Entrance { isolation, lowers: &request.lowers, mounts, beneath, refused };
    let in_new = user_namespace.is_some();
    let inside =
        entrance.enter().map_err(|fault| at(Stage::Enter)(if in_new { fault.in_new_namespace() } else { fault }))?;
    Ok(Entered { inside, user_namespace, files, initial })
}

fn at(stage: Stage) -> impl Fn(Fault) -> Box<Failure> {
    move |fault| failure(stage, fault, None)
}

/// From descriptor 0 to the end, whatever takes the entries.
fn process(
    sink: &mut dyn Sink<'_>,
    input: Input,
    options: &Options,
    threaded: bool,
    report: &mut Report,
    mark: Instant,
) -> Result<(), Box<Failure>> {
    let decoder = decode::Decoder::open(input, options.compression).map_err(|fault| read_failure(fault, None))?;
    report.compression = decoder.format();
    let digest = !options.skip_diff_id && !options.stop_at_end;
    let stream = Stream::new(decoder, digest, options.limits, threaded, sink.relief());
    let strictness = Strictness::of(options);
    let mut reader = Reader::new(stream, options.limits, strictness).stop_at_end(options.stop_at_end);
    let fed = feed(sink, &mut reader, &options.limits);
    let applied = sink.settle(fed);
    report.times.apply = elapsed(mark);
    let mark = Instant::now();
    let outcome = finish(sink, &mut reader, applied, options);
    report.times.finish = elapsed(mark);
    report.stopped_at_end = outcome.is_ok() && reader.has_stopped();
    if let Some(errno) = reader.source_mut().lacking().or(sink.lacking()) {
        sink.journal().tell_of(None, EventKind::NoThread { errno });
    }

    let totals = reader.source_mut().totals();
    (report.bytes_in, report.bytes_tar) = (totals.bytes_in, totals.bytes_tar);
    report.diff_id = totals.diff_id.filter(|_| outcome.is_ok());
    report.bytes_written = sink.written();
    (report.entries, report.event_count) = (sink.journal().counts, sink.journal().number());
    outcome
}

/// A copy's destination says where in the root it goes, as a name in an archive does.
fn not_landed(fault: Fault) -> Box<Failure> {
    failure(Stage::Apply, fault.meant(Purpose::Landing), None)
}

/// Where the caller's path leads to no directory it is his path that is wrong; else making one failed.
fn not_entered(fault: Fault) -> Box<Failure> {
    let stage = match fault.errno() {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Stage::Enter,
        _ => Stage::Apply,
    };
    failure(stage, fault, None)
}

/// Behind the entries: deferred metadata (after an error too), the rest of the input, the sync policy.
fn finish(
    sink: &mut dyn Sink<'_>,
    reader: &mut Reader<Stream>,
    applied: Result<(), Box<Failure>>,
    options: &Options,
) -> Result<(), Box<Failure>> {
    let finished = sink.finish();
    applied?;
    let end = reader.finish().map_err(|fault| read_failure(fault, None))?;
    if options.refuse_empty && options.mode == Mode::Literal && reader.source_mut().totals().bytes_tar == 0 {
        return Err(read_failure(Cause::Empty.into(), None));
    }
    sink.journal().end(end);
    sink.tell_unmatched();
    finished?;
    sink.synchronise()
}

fn elapsed(since: Instant) -> Duration {
    Duration::from_micros(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// A panic is a bug of ours; it ends the helper, but not without a word.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let failure = Failure {
            stage: Stage::Apply,
            entry: None,
            after: None,
            operation: None,
            cause: Cause::Panic { message: info.to_string() },
        };
        sys::last_words(&frame_of_panic(failure));
        sys::exit_now(101);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Channel;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    const IN_CHILD: &str = "UNTAR_PANICS";

    /// Not a test: what the child of the one below does.
    #[test]
    fn panics_where_it_is_asked_to() {
        if std::env::var_os(IN_CHILD).is_some() {
            report_panics();
            let numbers: Vec<u8> = Vec::new();
            panic!("on purpose: {:?}", numbers.first());
        }
    }

    #[test]
    fn a_panic_is_the_last_word() {
        let (mut ours, theirs) = UnixStream::pair().expect("sockets");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "helper::tests::panics_where_it_is_asked_to", "--nocapture"])
            .env(IN_CHILD, "1")
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let status = child.wait().expect("its end");
        let mut said = Vec::new();
        ours.read_to_end(&mut said).expect("its words");
        assert_eq!(status.code(), Some(101));
        // libtest talks first.
        let start = said.windows(4).position(|bytes| bytes == b"uirU").expect("a frame");
        let (mut again, end) = UnixStream::pair().expect("sockets");
        again.write_all(&said[start..]).expect("room");
        let reply = match Channel::<Up, Down>::new(end.into()).receive() {
            Ok(Up::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        };
        match reply.failure.map(|failure| failure.cause) {
            Some(Cause::Panic { message }) => {
                assert!(message.contains("src/helper.rs") && message.contains("on purpose: None"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
