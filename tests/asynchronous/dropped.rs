//! Futures that are dropped before their end leave nothing.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;
use untar_in_root::Untar;

use super::{AN_END, Then, archive, one_thread, several, source, untar};
use crate::support::privilege::need_root;
use crate::support::process::helpers_of;
use crate::support::run::program;
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// Helpers that work for this test alone.
fn helpers_in(dests: &[&Path]) -> usize {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let wanted: Vec<_> = dests.iter().map(|dest| inode(dest)).collect();
    let there = |pid: &u32| {
        let cwd = inode(Path::new(&format!("/proc/{pid}/cwd")));
        cwd.is_some() && wanted.contains(&cwd)
    };
    helpers_of(std::process::id()).iter().filter(|pid| there(pid)).count()
}

#[test]
fn a_future_that_is_dropped_leaves_no_helper() {
    if !need_root() {
        return;
    }
    for runtime in [one_thread(), several()] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let source = source(&archive()[..1_000_000], Then::Stalls);
        let given = Arc::clone(&source.given);
        runtime.block_on(async {
            let run = untar(&dest).apply_async(source);
            let begun = async {
                while given.load(Ordering::Relaxed) < 1_000_000 || helpers_in(&[&dest]) == 0 {
                    tokio::task::yield_now().await;
                }
            };
            // Dropped in the middle, with the runtime going on.
            assert!(first_of(run, begun).await.is_none(), "the source is stalled");
            let dropped = Instant::now();
            while helpers_in(&[&dest]) > 0 {
                assert!(dropped.elapsed() < AN_END, "its helper is still there");
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
