//! The root comes as a handle on standard error, where the parent has put it before this process was there.

use crate::helper::fault::{Attempt, Fault, Result, on};
use crate::report::{Call, Descriptor};
use nix::errno::Errno;
use nix::unistd::fchdir;
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// Makes the root the working directory. Where none has come the caller's own is never taken for it.
pub(crate) fn go() -> Result<()> {
    let root = taken().map_err(|errno| Fault::os(errno, Call::Recvmsg, "2, <root>, MSG_DONTWAIT|MSG_CMSG_CLOEXEC"))?;
    fchdir(root).call(Call::Fchdir, || on(Descriptor::Root))
}

fn taken() -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut handles = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(std::io::stderr(), &mut [IoSliceMut::new(&mut byte)], &mut handles, flags)
        .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    let root = handles.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
        _ => None,
    });
    root.ok_or(Errno::EBADMSG)
}
