//! Standard output and error as whoever started us has left them: non-blocking, where a Node, npm or Rust program shares them.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Stderr, Stdout, Write};
use std::os::fd::AsFd;

/// Writes as if the descriptor were blocking. The flag stays: it is of the open file, which others have too.
pub(crate) struct Patient<F>(F);

pub(crate) fn output() -> Patient<Stdout> {
    Patient(io::stdout())
}

pub(crate) fn errors() -> Patient<Stderr> {
    Patient(io::stderr())
}

impl<F: AsFd> Patient<F> {
    /// A peer that is gone is told by the next write.
    fn wait(&self) -> io::Result<()> {
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl<F: AsFd> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::write(&self.0, bytes) {
                Err(Errno::EAGAIN) => self.wait()?,
                written => return Ok(written?),
            }
        }
    }

    /// There is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the command line's parser has to say, help or an error, in colours where they are wanted; and the status to end with.
pub(crate) fn show(words: &clap::Error) -> u8 {
    let text = words.render();
    let _ = match words.use_stderr() {
        true => put(&mut errors(), &text, io::stderr().is_terminal()),
        false => put(&mut output(), &text, io::stdout().is_terminal()),
    };
    u8::try_from(words.exit_code()).unwrap_or(1)
}

fn put(to: &mut dyn Write, text: &clap::builder::StyledStr, terminal: bool) -> io::Result<()> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if terminal && !dumb && !set("NO_COLOR") {
        return to.write_all(text.ansi().to_string().as_bytes());
    }
    to.write_all(text.to_string().as_bytes())
}
