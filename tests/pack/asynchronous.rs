//! The feature `tokio`: a packing that a task reads, with the same promise.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use untar_in_root::{Error, ErrorKind, IdRange, Packing, UserNamespace};

use super::failure::is_not_whole;
use super::{pack, packer, plain};
use crate::support::privilege::need_root;
use crate::support::process::wait_until;
use crate::support::run::program_after;
use crate::support::scratch::Scratch;

const LARGE: u64 = 64 << 20;

fn runtimes() -> [Runtime; 2] {
    let one = Builder::new_current_thread().enable_all().build();
    let several = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    [one, several].map(|runtime| runtime.expect("a runtime"))
}

fn tree(scratch: &Scratch) -> std::path::PathBuf {
    let root = scratch.dir("root");
    for name in ["a", "b", "c"] {
        scratch.file(format!("root/{name}"), name.repeat(500_000));
    }
    root
}

async fn read(mut packing: Packing) -> (Vec<u8>, Result<Packing, Error>) {
    let mut archive = Vec::new();
    match packing.read_to_end(&mut archive).await {
        Ok(_) => (archive, Ok(packing)),
        Err(failed) => {
            assert!(packing.read(&mut [0; 10]).await.is_err(), "it goes on failing");
            (archive, Err(*failed.into_inner().expect("an error inside").downcast::<Error>().expect("ours")))
        }
    }
}

#[test]
fn pack_rule_25_a_task_reads_to_the_end_or_to_an_error() {
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (whole, want) = pack(&root, plain);
    for runtime in runtimes() {
        runtime.block_on(async {
            let (archive, packing) = read(packer(&root, plain).spawn().expect("a helper")).await;
            let packing = packing.expect("whole");
            assert!(archive == whole && packing.packed().map(|packed| packed.digest) == Some(want.digest));
            assert_eq!(packing.finish().expect("the report").entries, want.entries);

            let (archive, error) = read(packer(&root, |o| o.limits.entries = 2).spawn().expect("a helper")).await;
            assert_eq!(error.expect_err("a limit").kind(), ErrorKind::Limit);
            is_not_whole("a task's", &archive);

            // A whole archive, and no word of the helper's.
            let file = scratch.file("whole", &whole);
            let program = program_after(&scratch, &format!("cat {} >&0; exit 0", file.display()));
            let (_, error) = read(packer(&root, plain).program(program).spawn().expect("a helper")).await;
            assert_eq!(error.expect_err("no word").kind(), ErrorKind::Helper);

            let packing = packer(&root, plain).spawn().expect("a helper");
            packing.canceller().cancel();
            assert_eq!(read(packing).await.1.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        });
    }
}

#[test]
fn pack_rule_25_a_task_that_is_dropped_leaves_no_helper() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    File::create(root.join("a")).and_then(|file| file.set_len(LARGE)).expect("a large file");
    for runtime in runtimes() {
        let told = scratch.join("pid");
        let program = program_after(&scratch, &format!("echo $$ > {}", told.display()));
        let packing = packer(&root, |o| o.dense = true).program(program).spawn().expect("a helper");
        runtime.block_on(async {
            let mut packing = packing;
            packing.read_exact(&mut [0; 1000]).await.expect("the beginning");
            // From here on it is a task's.
            let sync = std::io::Read::read(&mut packing, &mut [0; 10]).expect_err("a task's");
            let error = sync.into_inner().expect("inside").downcast::<Error>().expect("ours");
            assert_eq!(error.kind(), ErrorKind::Options);
        });
        let pid = fs::read_to_string(&told).expect("a number").trim().to_owned();
        wait_until("the helper is gone", || !Path::new("/proc").join(&pid).exists());
    }
    // A time limit ends who waits for nobody.
    for runtime in runtimes() {
        let limited = packer(&root, |o| o.dense = true).timeout(Duration::from_millis(300));
        let mut packing = limited.spawn().expect("a helper");
        runtime.block_on(async {
            packing.read_exact(&mut [0; 1000]).await.expect("the beginning");
            tokio::time::sleep(Duration::from_millis(600)).await;
            assert_eq!(read(packing).await.1.expect_err("late").kind(), ErrorKind::Limit);
        });
    }
}

#[test]
fn a_helper_that_asks_for_a_map_is_answered_while_a_task_waits() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let ids = vec![IdRange { inside: 0, outside: 0, count: 65_536 }];
    for runtime in runtimes() {
        let mut pack = packer(&root, plain);
        pack.options_mut().jail.user_namespace = UserNamespace::Mapped { uids: ids.clone(), gids: ids.clone() };
        let (archive, packing) = runtime.block_on(read(pack.spawn().expect("a helper")));
        packing.expect("whole");
        assert!(archive == super::pack(&root, plain).0);
    }
}
