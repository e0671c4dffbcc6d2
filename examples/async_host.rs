//! An asynchronous host: applies what arrives without a blocking thread, and hears at once when the helper ends,
//! however stalled the source is. `download | async_host ROOT`.
#![allow(clippy::print_stdout)]

use std::io;
use std::os::fd::AsFd;
use tokio::net::unix::pipe::Receiver;
use untar_in_root::{Untar, helper};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Before the runtime starts its threads.
    helper::init();
    let root = std::env::args_os().nth(1).ok_or("usage: download | async_host ROOT")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let report = Untar::open(root)?.apply_async(download()?).await?;
        println!("{} entries", report.entries.total());
        Ok(())
    })
}

/// Stands for one: standard input, if it is a pipe. Not `tokio::io::stdin`, which blocks a thread that the end of the
/// program would wait for.
fn download() -> io::Result<Receiver> {
    Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)
}
