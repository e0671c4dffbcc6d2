//! An asynchronous host: streams what arrives into a session without a blocking thread, and hears at once
//! when the helper ends, however stalled the source is. `download | async_host ROOT`.
#![allow(clippy::print_stdout)]

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use untar_in_root::{Pending, Program, Untar, helper};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Before the runtime starts its threads.
    helper::init();
    let root = std::env::args_os().nth(1).ok_or("usage: download | async_host ROOT")?;
    let session = Untar::open(root)?.program(Program::this()?).spawn()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (pipe, mut pending) = session.into_parts()?;
        let pipe = Sender::from_owned_fd(pipe.ok_or("the session has a pipe")?)?;
        tokio::select! {
            // The archive has been written, or the helper no longer takes it: either way the outcome tells.
            _ = stream(pipe) => {}
            over = ended(&mut pending) => over?,
        }
        while !pending.poll() {
            readable(&pending).await?;
        }
        let report = pending.wait()?;
        println!("{} entries", report.entries.total());
        Ok(())
    })
}

/// Stands for a download: copies standard input into the pipe, whose end it closes. Not through
/// `tokio::io::stdin`, which blocks a thread that the end of the program would wait for.
async fn stream(mut pipe: Sender) -> io::Result<()> {
    let mut source = Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer).await? {
            0 => return Ok(()),
            n => pipe.write_all(&buffer[..n]).await?,
        }
    }
}

/// Returns when the run is over.
async fn ended(pending: &mut Pending) -> io::Result<()> {
    while !pending.poll() {
        readable(pending).await?;
    }
    Ok(())
}

/// The control socket has something to take note of.
async fn readable(pending: &Pending) -> io::Result<()> {
    let socket = UnixStream::from(pending.as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)?.readable().await
}
