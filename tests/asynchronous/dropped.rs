//! Futures that are dropped before their end leave nothing.

use std::fs;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use untar_in_root::{Program, Untar};

use super::{Then, archive, one_thread, several, source};
use crate::bad_helpers::fake;
use crate::support::privilege::need_tool;
use crate::support::process::children_of;
use crate::support::run::program;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// Is a script at this path running?
fn runs(script: &Path) -> bool {
    let name = script.as_os_str().as_bytes();
    children_of(std::process::id()).iter().any(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == name)
    })
}

/// An honest helper would end by itself when its parent's end of the socket is closed.
#[test]
fn a_future_that_is_dropped_kills_its_helper() {
    if !need_tool("python3") {
        return;
    }
    for runtime in [one_thread(), several()] {
        let scratch = Scratch::new();
        // It stays for half a minute, whatever becomes of its parent.
        let script = fake(&scratch, "say-S-");
        let untar = Untar::open(scratch.dir("dest")).expect("root").program(Program::at(&script));
        runtime.block_on(async {
            let run = untar.apply_async(source(&archive(), Then::Stalls));
            let begun = async {
                while !runs(&script) {
                    tokio::task::yield_now().await;
                }
            };
            // Dropped in the middle, with the runtime going on.
            assert!(first_of(run, begun).await.is_none(), "the source is stalled");
            let dropped = Instant::now();
            while runs(&script) {
                assert!(dropped.elapsed() < Duration::from_secs(15), "its helper is still there");
                tokio::task::yield_now().await;
            }
        });
    }
}

/// What the first gives, unless the second ends before: then it is dropped.
async fn first_of<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> Option<T> {
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    std::future::poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => second.as_mut().poll(cx).map(|()| None),
    })
    .await
}

#[test]
fn a_future_that_is_dropped_removes_what_atomic_began() {
    for runtime in [one_thread(), several()] {
        let scratch = Scratch::new();
        let place = scratch.join("new");
        let source = source(&archive()[..1_000_000], Then::Stalls);
        let given = Arc::clone(&source.given);
        runtime.block_on(async {
            let run = Untar::atomic(&place).expect("a place").program(program()).apply_async(source);
            let begun = async {
                while given.load(Ordering::Relaxed) < 1_000_000 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(fs::read_dir(scratch.path()).expect("scratch").count(), 1);
            };
            assert!(first_of(run, begun).await.is_none(), "the source is stalled");
        });
        // It waits for the threads that still have work.
        drop(runtime);
        assert_eq!(fs::read_dir(scratch.path()).expect("scratch").count(), 0);
    }
}

#[test]
fn futures_that_are_dropped_at_any_moment_leave_nothing() {
    let runtime = one_thread();
    let scratch = Scratch::new();
    let archive = Tarball::new().file("f", vec![7; 100_000]).build();
    for polls in 0..40 {
        let place = scratch.join(format!("new-{polls}"));
        runtime.block_on(async {
            let run =
                Untar::atomic(&place).expect("a place").program(program()).apply_async(source(&archive, Then::Ends));
            let mut run = Box::pin(run);
            let mut left = polls;
            std::future::poll_fn(|cx| match run.as_mut().poll(cx) {
                Poll::Pending if left > 0 => {
                    left -= 1;
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
            .await;
        });
    }
    drop(runtime);
    for entry in fs::read_dir(scratch.path()).expect("scratch").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with("new-") && entry.path().join("f").exists(), "{name} is left, not whole");
    }
}
