//! What a helper is given, and its start.

use crate::error::Error;
use crate::inode;
use crate::kind::ErrorKind;
use crate::linux::own::ARGV0;
use crate::plan::PIECE;
use crate::proc;
use crate::program::Program;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::getegid;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

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

/// Starts a helper in the root, with these as its three standard descriptors.
pub(super) fn process(
    program: &Program,
    root: &OwnedFd,
    [archive, control, stderr]: [OwnedFd; 3],
) -> Result<Child, Error> {
    let mut command = command(program);
    command.stdin(Stdio::from(archive)).stdout(Stdio::from(control)).stderr(Stdio::from(stderr));
    // A handle, not a name: a rename in between changes nothing.
    let started = match proc::name_of(root) {
        Ok(name) => spawned(command.current_dir(name)),
        Err(_) => from_inside(&mut command, root),
    };
    started.map_err(|e| spawn_error(program, root, e))
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

/// Without `/proc` a descriptor has no name: a thread goes into the root, alone, and starts it from there.
fn from_inside(command: &mut Command, root: &OwnedFd) -> io::Result<Child> {
    let start = || {
        unshare(CloneFlags::CLONE_FS)?;
        nix::unistd::fchdir(root)?;
        spawned(command.current_dir("."))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, start)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// `posix_spawn` does not say which of its steps failed, so the likely ones are looked at.
fn spawn_error(program: &Program, root: &OwnedFd, error: io::Error) -> Error {
    match nix::sys::stat::fstat(root) {
        Ok(stat) if inode::is_directory(&stat) => {
            Error::io_at(ErrorKind::Helper, "starting the helper", program.path(), error)
        }
        Ok(_) => Error::io(ErrorKind::Root, "entering the root", Errno::ENOTDIR),
        Err(e) => Error::io(ErrorKind::Root, "entering the root", e),
    }
}
