//! The feature `tokio`: a run that a task waits for, on one thread and on several.

mod dropped;

use std::fs;
use std::future::{Future, IntoFuture, pending};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use untar_in_root::{Digest, Error, ErrorKind, Program, Report, Running, Untar, UserNamespace};

use crate::bad_helpers::fake;
use crate::support::privilege::{need_root, need_tool};
use crate::support::run::program;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// Generous: it says that there is an end, not how soon.
const AN_END: Duration = Duration::from_secs(60);

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn several() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn untar(dest: &Path) -> Untar {
    Untar::open(dest).expect("root").program(program())
}

fn archive() -> Vec<u8> {
    Tarball::new().dir("d/").file("d/f", vec![7; 3_000_000]).symlink("l", "d/f").build()
}

/// What it does after its bytes.
enum Then {
    Ends,
    Fails,
    Stalls,
}

/// A source that gives these bytes, in pieces of this many, each in a turn of its own.
struct Source {
    bytes: Vec<u8>,
    piece: usize,
    given: Arc<AtomicUsize>,
    then: Then,
    turn: bool,
}

fn source(bytes: &[u8], then: Then) -> Source {
    Source { bytes: bytes.to_vec(), piece: 7_001, given: Arc::default(), then, turn: false }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.turn = !self.turn;
        if self.turn {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let at = self.given.load(Ordering::Relaxed);
        let piece = self.piece.min(self.bytes.len() - at).min(buffer.remaining());
        buffer.put_slice(&self.bytes[at..at + piece]);
        self.given.store(at + piece, Ordering::Relaxed);
        match self.then {
            _ if piece > 0 => Poll::Ready(Ok(())),
            Then::Ends => Poll::Ready(Ok(())),
            Then::Fails => Poll::Ready(Err(io::Error::other("the source's own words"))),
            Then::Stalls => Poll::Pending,
        }
    }
}

/// It comes to an end, in a runtime of either kind.
#[track_caller]
fn outcomes<F: Future<Output = Result<Report, Error>> + Send>(run: impl Fn(&Path) -> F) -> [Result<Report, Error>; 2] {
    [one_thread(), several()].map(|runtime| {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        runtime.block_on(async { tokio::time::timeout(AN_END, run(&dest)).await.expect("an end") })
    })
}

#[track_caller]
fn fails<F: Future<Output = Result<Report, Error>> + Send>(kind: ErrorKind, run: impl Fn(&Path) -> F) -> Error {
    let [one, several] = outcomes(run).map(|outcome| outcome.expect_err("it fails"));
    assert_eq!((one.kind(), several.kind()), (kind, kind), "{one:?}, {several:?}");
    one
}

#[test]
fn what_arrives_in_pieces_is_applied_and_digested() {
    let archive = archive();
    let synchronous = {
        let scratch = Scratch::new();
        untar(scratch.path()).compute_digest().apply(&archive[..]).expect("applied")
    };
    let digest = synchronous.digest.expect("digest");
    for report in outcomes(|dest| untar(dest).expect_digest(digest).apply_async(source(&archive, Then::Ends))) {
        let report = report.expect("applied");
        let facts = |report: &Report| (report.entries, report.bytes_in, report.digest, report.diff_id);
        assert_eq!(facts(&report), facts(&synchronous));
    }
    let wrong = Digest([7; 32]);
    fails(ErrorKind::Digest, |dest| untar(dest).expect_digest(wrong).apply_async(source(&archive, Then::Ends)));
}

#[test]
fn a_pending_is_awaited() {
    let archive = archive();
    let file = Scratch::new();
    let path = file.file("archive.tar", &archive);
    for report in outcomes(|dest| {
        let (untar, path) = (untar(dest), path.clone());
        async move {
            let mut session = untar.spawn()?;
            io::Write::write_all(&mut session, &fs::read(path).expect("archive")[..1000]).expect("room");
            let parts = session.into_parts()?;
            drop(parts.pipe);
            parts.pending.await
        }
    }) {
        // What was written was a part only.
        assert_eq!(report.expect_err("cut short").kind(), ErrorKind::Archive);
    }
}

#[test]
fn a_bad_archive_is_told_while_the_source_is_stalled() {
    fails(ErrorKind::Archive, |dest| untar(dest).apply_async(source(&[b'x'; 512], Then::Stalls)));
}

#[test]
fn a_helper_that_ends_early_is_told_while_the_source_is_stalled() {
    let error = fails(ErrorKind::Helper, |dest| {
        untar(dest).program(Program::at("/bin/false")).apply_async(source(&[], Then::Stalls))
    });
    assert_eq!(error.status().and_then(|status| status.code()), Some(1));
    fails(ErrorKind::Helper, |dest| {
        untar(dest).program(Program::at("/missing")).apply_async(source(&[], Then::Stalls))
    });
}

#[test]
fn an_error_of_the_source_is_the_callers_own() {
    let archive = archive();
    for bytes in [&archive[..], &archive[..100_000], &[]] {
        let error = fails(ErrorKind::Read, |dest| untar(dest).apply_async(source(bytes, Then::Fails)));
        assert!(error.to_string().contains("the source's own words"), "{error}");
    }
}

#[test]
fn an_error_of_the_source_removes_what_atomic_began() {
    for runtime in [one_thread(), several()] {
        let scratch = Scratch::new();
        let place = scratch.join("new");
        let untar = Untar::atomic(&place).expect("a place").program(program());
        let outcome = runtime.block_on(untar.apply_async(source(&archive()[..2_000_000], Then::Fails)));
        assert_eq!(outcome.expect_err("the source").kind(), ErrorKind::Read);
        assert_eq!(fs::read_dir(scratch.path()).expect("scratch").count(), 0);
    }
}

#[test]
fn a_canceller_ends_it() {
    fails(ErrorKind::Cancelled, |dest| {
        let untar = untar(dest);
        let canceller = untar.canceller();
        let mut source = source(&archive()[..100_000], Then::Stalls);
        source.piece = 50_000;
        let given = Arc::clone(&source.given);
        async move {
            let cancels = async {
                while given.load(Ordering::Relaxed) < 100_000 {
                    tokio::task::yield_now().await;
                }
                canceller.cancel();
                pending::<()>().await;
            };
            until(untar.apply_async(source), cancels).await
        }
    });
}

/// The first, while the second goes on.
async fn until<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| {
        let _ = second.as_mut().poll(cx);
        first.as_mut().poll(cx)
    })
    .await
}

#[test]
fn ids_are_mapped_by_a_thread() {
    if !need_root() {
        return;
    }
    for wanted in [UserNamespace::Auto, UserNamespace::Single] {
        for report in outcomes(|dest| {
            let mut untar = untar(dest);
            untar.options_mut().jail.user_namespace = wanted.clone();
            untar.apply_async(source(&Tarball::new().dir("d/").build(), Then::Ends))
        }) {
            assert_eq!(report.expect("applied").confinement.user_namespace.is_some(), wanted == UserNamespace::Single);
        }
    }
}

#[test]
fn fifty_at_once_on_one_thread() {
    const RUNS: usize = 50;
    let scratch = Scratch::new();
    let dests: Vec<_> = (0..RUNS).map(|run| scratch.dir(format!("dest-{run}"))).collect();
    let archive: Arc<[u8]> = Tarball::new().file("f", vec![7; 300_000]).build().into();
    let (all, met) = (Arc::new(Barrier::new(RUNS)), Arc::new(AtomicUsize::new(0)));
    let runtime = one_thread();
    let tasks: Vec<_> = dests
        .iter()
        .map(|dest| {
            let (archive, all, met, untar) = (Arc::clone(&archive), Arc::clone(&all), Arc::clone(&met), untar(dest));
            runtime.spawn(async move {
                let (mut feed, source) = tokio::net::UnixStream::pair().expect("sockets");
                let feeds = async move {
                    use tokio::io::AsyncWriteExt;
                    feed.write_all(&archive[..200_000]).await.expect("half");
                    // Nobody's second half comes before everybody has taken the first.
                    met.fetch_add(1, Ordering::Relaxed);
                    all.wait().await;
                    feed.write_all(&archive[200_000..]).await.expect("half");
                    drop(feed);
                    pending::<()>().await;
                };
                until(untar.apply_async(source), feeds).await
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            let report = tokio::time::timeout(AN_END, task).await.expect("an end").expect("no panic").expect("applied");
            assert_eq!(report.entries.files, 1);
        }
    });
    assert_eq!(met.load(Ordering::Relaxed), RUNS);
}

#[test]
fn a_source_is_read_no_faster_than_the_helper_takes_it() {
    if !need_tool("python3") {
        return;
    }
    let scratch = Scratch::new();
    // It never reads the archive.
    let program = Program::at(fake(&scratch, "wants-maps-once"));
    let mut source = source(&vec![0; 8 << 20], Then::Ends);
    source.piece = 1 << 20;
    let given = Arc::clone(&source.given);
    let dest = scratch.dir("dest");
    let mut untar = Untar::open(dest).expect("root").program(program);
    untar.options_mut().jail.limits.timeout = Some(Duration::from_millis(300));
    let error = one_thread().block_on(untar.apply_async(source)).expect_err("it never ends");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    // The pipe, and the piece that waits for room in it.
    let taken = given.load(Ordering::Relaxed);
    assert!((1..=(1 << 20) + (256 << 10)).contains(&taken), "{taken} bytes were taken");
}

#[test]
fn a_hostile_helper_holds_up_no_other_task() {
    if !need_tool("python3") {
        return;
    }
    let rows = [
        ("text", ErrorKind::Protocol),
        ("wants-maps", ErrorKind::Protocol),
        ("stays-after-garbage", ErrorKind::Protocol),
        ("closes-and-stays", ErrorKind::Helper),
        ("flood-events", ErrorKind::Protocol),
        ("flood-stderr", ErrorKind::Helper),
        ("endless-stderr", ErrorKind::Limit),
        ("flood-listed", ErrorKind::Limit),
        ("flood-large-listed", ErrorKind::Limit),
    ];
    for (wish, want) in rows {
        let scratch = Scratch::new();
        let mut untar = Untar::open(scratch.dir("dest")).expect("root").program(Program::at(fake(&scratch, wish)));
        let options = untar.options_mut();
        (options.list, options.limits.entries) = (true, u64::MAX);
        options.jail.limits.timeout = Some(Duration::from_secs(1));
        let turns = AtomicU64::new(0);
        let other = async {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let outcome = one_thread().block_on(until(untar.apply_async(source(&archive(), Then::Stalls)), other));
        let error = outcome.expect_err(wish);
        assert_eq!(error.kind(), want, "{wish}: {error:?}");
        // A second long, the other had its turns.
        let turns = turns.load(Ordering::Relaxed);
        assert!(want != ErrorKind::Limit || turns > 10, "{wish}: {turns} turns");
    }
}

/// Bytes that are heard before others have their turn: tokio lets a task go on 128 times, each a look at 16 KiB here. And
/// the other may miss a turn.
const IN_A_TURN: u64 = 2 * 128 * (16 << 10);

#[test]
fn others_have_their_turns_while_a_helper_says_more_than_can_be_heard() {
    if !need_tool("python3") {
        return;
    }
    for wish in ["flood-listed", "flood-large-listed"] {
        let scratch = Scratch::new();
        let mut untar = Untar::open(scratch.dir("dest")).expect("root").program(Program::at(fake(&scratch, wish)));
        let options = untar.options_mut();
        options.limits.entries = u64::MAX;
        // Reached if nobody else has a turn.
        options.jail.limits.timeout = Some(AN_END);
        let heard = Arc::<AtomicU64>::default();
        let (hears, canceller) = (Arc::clone(&heard), untar.canceller());
        let untar = untar.on_listed(move |entry| _ = hears.fetch_add(entry.path.len() as u64, Ordering::Relaxed));
        let runtime = one_thread();
        let other = runtime.spawn(async move {
            let (mut before, mut turns) = (0, Vec::new());
            while turns.len() < 2 {
                let now = heard.load(Ordering::Relaxed);
                if now > before {
                    turns.push(now - before);
                }
                before = now;
                tokio::task::yield_now().await;
            }
            canceller.cancel();
            turns
        });
        let error = runtime.block_on(untar.apply_async(source(&archive(), Then::Stalls))).expect_err(wish);
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{wish}: {error:?}");
        let turns = runtime.block_on(other).expect("its turns");
        assert!(turns.iter().all(|bytes| *bytes <= IN_A_TURN), "{wish}: {turns:?}");
    }
}

#[test]
fn outside_a_runtime_it_is_an_error_and_no_panic() {
    let scratch = Scratch::new();
    let mut run = Box::pin(untar(scratch.path()).apply_async(source(&[], Then::Ends)));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match run.as_mut().poll(&mut cx) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Options, "{error:?}"),
        other => panic!("{other:?}"),
    }
    let parts = untar(scratch.path()).spawn().expect("it starts").into_parts().expect("parts");
    let mut run = Box::pin(parts.pending.into_future());
    assert!(matches!(run.as_mut().poll(&mut cx), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Options));
}

#[test]
fn its_futures_go_from_thread_to_thread() {
    fn goes<T: Send>(_: &T) {}
    let scratch = Scratch::new();
    goes(&untar(scratch.path()).apply_async(source(&[], Then::Ends)));
    fn types<T: Send + Unpin>() {}
    types::<Running>();
}
