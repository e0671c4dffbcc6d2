//! What a helper is given, and its start.

use crate::error::Error;
use crate::kind::ErrorKind;
use crate::linux::own::ARGV0;
use crate::plan::PIECE;
use crate::program::Program;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::getegid;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Milliseconds that a helper waits for room below the limit of processes.
const MOMENTS: u32 = 20;

/// The pipe that carries the archive, as large as the kernel lets it be.
pub(in crate::linux) fn archive_pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let (read, write) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::io(ErrorKind::Helper, "making a pipe", e))?;
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIECE as i32));
    set_nonblocking(&write)?;
    Ok((read, write))
}

pub(super) fn sockets() -> Result<(OwnedFd, OwnedFd), Error> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|e| Error::io(ErrorKind::Helper, "making a socket", e))
}

pub(in crate::linux) fn set_nonblocking(fd: &OwnedFd) -> Result<(), Error> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(drop)
        .map_err(|e| Error::io(ErrorKind::Helper, "making a descriptor non-blocking", e))
}

/// Starts a helper with these as its three standard descriptors, and hands it the root on the third.
///
/// The helper goes there itself: without `/proc` a descriptor has no name by which it could be started there, the working
/// directory is all threads' together, and a directory that may not be entered is then refused by its own name.
pub(super) fn process(
    program: &Program,
    root: &OwnedFd,
    [archive, control, stderr]: [OwnedFd; 3],
    ours: &OwnedFd,
) -> Result<Child, Error> {
    hand_over(root, ours).map_err(|e| Error::io(ErrorKind::Helper, "handing over the root", e))?;
    let mut command = command(program);
    command.stdin(Stdio::from(archive)).stdout(Stdio::from(control)).stderr(Stdio::from(stderr));
    patiently(&mut command).map_err(|e| Error::io_at(ErrorKind::Helper, "starting the helper", program.path(), e))
}

/// A handle, not a name: a rename in between changes nothing. It waits in the socket until the helper is there, and goes
/// with it if none comes.
fn hand_over(root: &OwnedFd, ours: &OwnedFd) -> nix::Result<()> {
    let handles = [root.as_raw_fd()];
    let handles = [ControlMessage::ScmRights(&handles)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&[0])], &handles, flags, None).map(drop)
}

/// A thread or process that has ended counts for a moment longer, so the limit may not be reached at all.
fn patiently(command: &mut Command) -> io::Result<Child> {
    for _ in 0..MOMENTS {
        match spawned(command) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            spawned => return spawned,
        }
    }
    spawned(command)
}

/// By `posix_spawn`, which in glibc is `clone3`, and believes a filter that answers EPERM to a call that it does not know
/// (runc before 1.0-rc93). Then by `fork`, which is `clone`: std takes it where it is to set a group, here the one that is.
pub(in crate::linux) fn spawned(command: &mut Command) -> io::Result<Child> {
    match command.spawn() {
        Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => command.gid(getegid().as_raw()).spawn(),
        spawned => spawned,
    }
}

/// Nothing in it forces `fork`: std uses `posix_spawn` at first.
fn command(program: &Program) -> Command {
    let mut command = Command::new(program.path());
    command.arg0(ARGV0).env_clear();
    if let Some(value) = program.keeps_library_path().then(|| std::env::var_os("LD_LIBRARY_PATH")).flatten() {
        command.env("LD_LIBRARY_PATH", value);
    }
    command
}
