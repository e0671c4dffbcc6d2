//! System calls that neither nix nor rustix has: the only file that may use `unsafe`.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Whether this answer says that a call is not to be had, so that the older way is taken: the kernel lacks it, or a
/// filter around us (a container's) keeps it back, which answers `EPERM` as often as `ENOSYS`.
pub(crate) fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM)
}

/// Takes over standard input and output as the helper's archive and control socket.
///
/// It must be called once, by a process that is a helper and nothing else.
pub(crate) fn take_standard() -> (OwnedFd, OwnedFd) {
    // SAFETY: the helper owns its descriptors 0 and 1 (its parent opened them for it), nothing else in this
    // process uses them, and they are taken once: the caller never returns to the host program.
    unsafe { (OwnedFd::from_raw_fd(0), OwnedFd::from_raw_fd(1)) }
}

/// Whether the kernel marked this program as set-uid or otherwise raised: `AT_SECURE`.
pub(crate) fn raised_privileges() -> bool {
    // SAFETY: getauxval reads a table that the kernel has filled; no pointer is involved.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Sixteen bytes that the kernel drew when this program was executed: `AT_RANDOM`, there since Linux 2.6.29.
pub(crate) fn at_random() -> [u8; 16] {
    // SAFETY: getauxval reads a table that the kernel has filled.
    let bytes = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const [u8; 16];
    if bytes.is_null() {
        return [0; 16];
    }
    // SAFETY: the kernel has put sixteen bytes there, above the stack, where they stay for the life of the process.
    unsafe { bytes.read() }
}

/// The name that this program was executed by: `AT_EXECFN`. None if its rights were raised: then it is the caller's choice.
pub(crate) fn executed_as() -> Option<PathBuf> {
    // SAFETY: getauxval reads a table that the kernel has filled.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() || raised_privileges() {
        return None;
    }
    // SAFETY: the kernel has put a NUL-ended string there, above the stack, where it stays for the life of the process.
    let name = unsafe { CStr::from_ptr(name) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// Whether this is code of the executable itself, and not of a shared library: `dl_iterate_phdr(3)`.
pub(crate) fn is_in_executable(code: usize) -> bool {
    unsafe extern "C" fn look(object: *mut libc::dl_phdr_info, _size: usize, code: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the loader passes a whole record, whose headers are readable for as many as it says.
        let (object, headers) =
            unsafe { (&*object, std::slice::from_raw_parts((*object).dlpi_phdr, (*object).dlpi_phnum.into())) };
        let there = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).any(|header| {
            let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            (code as usize).wrapping_sub(start) < header.p_memsz as usize
        });
        // Never 0, so the first object is the only one: the executable.
        if there { 1 } else { 2 }
    }
    // SAFETY: `look` keeps nothing of what it is shown, and takes `code` for the number that it is.
    unsafe { libc::dl_iterate_phdr(Some(look), code as *mut libc::c_void) == 1 }
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: no pointers. Nothing in a helper that has just started owns a descriptor beyond 2.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    Errno::result(result).map(drop)
}

/// `landlock_create_ruleset(2)`: the version of its ABI that is in force here.
pub(crate) fn landlock_version() -> Result<u32, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag there are no attributes, whose pointer is null and size 0 then.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    Errno::result(version).map(|version| u32::try_from(version).unwrap_or(0))
}

/// Closes one descriptor by number, for kernels without `close_range`.
pub(crate) fn close_number(fd: i32) {
    // SAFETY: as for `close_from`: nobody owns descriptors beyond 2 when this is called.
    unsafe { libc::close(fd) };
}

/// `mount_setattr(2)` on an open mount and everything below it: sets these attributes.
pub(crate) fn mount_set(tree: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a constant C string; `attr` lives across the call and its true size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// The kernel's `struct open_how`, first version.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl How {
    pub(crate) const SIZE: usize = size_of::<How>();

    pub(crate) const fn new(flags: OFlag, mode: u32, resolve: ResolveFlag) -> How {
        How { flags: flags.bits().cast_unsigned() as u64, mode: mode as u64, resolve: resolve.bits() }
    }
}

/// `openat2(2)`, which is told only what lies in read-only memory.
pub(crate) fn openat2(dir: BorrowedFd<'_>, name: &CStr, how: &'static How) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is NUL-ended, `how` is readable for the size that is told; both live across the call.
    let result =
        unsafe { libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), name.as_ptr(), std::ptr::from_ref(how), How::SIZE) };
    let fd = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor for us, and its number is an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `mseal(2)` (Linux 6.10): the pages that this lies in stay what they are, and where, for the life of the process.
pub(crate) fn seal<T>(constant: &'static T) {
    const SYS_MSEAL: libc::c_long = 462;
    let address = std::ptr::from_ref(constant).addr();
    // SAFETY: it reads a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let from = address & !(page - 1);
    // SAFETY: it changes no memory, and nobody ever unmaps or protects anew what a constant lies in.
    unsafe { libc::syscall(SYS_MSEAL, from, (address + size_of::<T>() - from).next_multiple_of(page), 0) };
}

/// The kernel's `struct mnt_id_req`, first version.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
}

impl MountRequest {
    fn new(mount: u64, param: u64) -> MountRequest {
        // 24 bytes.
        MountRequest { size: size_of::<MountRequest>() as u32, spare: 0, mount, param }
    }
}

/// `statmount(2)` (Linux 6.8): fills in what is asked for of a mount.
pub(crate) fn statmount(mount: u64, mask: u64, told: &mut [u8]) -> Result<(), Errno> {
    const SYS_STATMOUNT: libc::c_long = 457;
    let request = MountRequest::new(mount, mask);
    // SAFETY: `request` is readable for the size that it tells, `told` is writable for its length, and any bytes are
    // good in it; both live across the call.
    let result = unsafe { libc::syscall(SYS_STATMOUNT, &raw const request, told.as_mut_ptr(), told.len(), 0) };
    Errno::result(result).map(drop)
}

/// `listmount(2)` (Linux 6.8): the mounts below one, those after `last`; how many were filled in.
pub(crate) fn listmount(mount: u64, last: u64, ids: &mut [u64]) -> Result<usize, Errno> {
    const SYS_LISTMOUNT: libc::c_long = 458;
    let request = MountRequest::new(mount, last);
    // SAFETY: as above; `ids` is writable for as many numbers as it holds.
    let result = unsafe { libc::syscall(SYS_LISTMOUNT, &raw const request, ids.as_mut_ptr(), ids.len(), 0) };
    Errno::result(result).map(|count| usize::try_from(count).unwrap_or(0))
}

/// `listxattrat(2)` (Linux 6.13) on a name below an open directory, never following a symlink: how much was filled in.
pub(crate) fn listxattrat(dir: BorrowedFd<'_>, name: &CStr, list: &mut [u8]) -> Result<usize, Errno> {
    const SYS_LISTXATTRAT: libc::c_long = 465;
    // SAFETY: the name is NUL-ended, `list` is writable for its length and any bytes are good in it; both live across
    // the call.
    let result = unsafe {
        libc::syscall(
            SYS_LISTXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            list.as_mut_ptr(),
            list.len(),
        )
    };
    Errno::result(result).map(|size| usize::try_from(size).unwrap_or(0))
}

/// `fstat(2)`, which some versions of libc make of another call.
pub(crate) fn fstat(fd: impl AsFd) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel's `struct stat` is libc's on every 64-bit architecture that we build for; it is writable and
    // lives across the call, and the kernel fills all of it where it does not fail.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_fstat, fd.as_fd().as_raw_fd(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

/// Ends the process at once, running nothing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Sends bytes on descriptor 1 from the panic hook, where no owner can be reached.
pub(crate) fn last_words(bytes: &[u8]) {
    // SAFETY: descriptor 1 stays open for the helper's whole life; the slice is readable for its length.
    unsafe { libc::send(1, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

/// Sets a signal's disposition to one that runs no code of ours.
pub(crate) fn ignore(signal: nix::sys::signal::Signal, handler: nix::sys::signal::SigHandler) {
    debug_assert!(!matches!(handler, nix::sys::signal::SigHandler::Handler(_)));
    // SAFETY: no handler function is installed: the disposition is "ignore" or "default".
    let _ = unsafe { nix::sys::signal::signal(signal, handler) };
}

/// `fchmodat2(2)` (Linux 6.6) on what a descriptor holds, be it only as a path. `ENOSYS` also where a filter on system
/// calls is older than this one and answers `EPERM`.
pub(crate) fn fchmodat2(inode: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    match fchmodat2_with(inode, mode, libc::AT_EMPTY_PATH) {
        // The kernel itself would find these flags wrong before anything else.
        Err(Errno::EPERM) if fchmodat2_with(inode, mode, -1) == Err(Errno::EPERM) => Err(Errno::ENOSYS),
        result => result,
    }
}

fn fchmodat2_with(inode: BorrowedFd<'_>, mode: u32, flags: i32) -> Result<(), Errno> {
    const SYS_FCHMODAT2: libc::c_long = 452;
    // SAFETY: the path is a constant C string.
    let result = unsafe { libc::syscall(SYS_FCHMODAT2, inode.as_raw_fd(), c"".as_ptr(), mode, flags) };
    Errno::result(result).map(drop)
}

/// `SCHED_BATCH` for this thread and those that it starts, where nothing but the default was chosen for it: `sched(7)`.
pub(crate) fn schedule_as_batch() {
    // By number: musl's own functions only say ENOSYS.
    // SAFETY: no pointer.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    if policy == libc::c_long::from(libc::SCHED_OTHER) {
        let priority: libc::c_int = 0;
        // SAFETY: the kernel's `struct sched_param` is one int, which lives across the call.
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
    }
}

/// This process gets this signal when something happens on a descriptor of its own, once `O_ASYNC` is set there.
pub(crate) fn signal_me(fd: BorrowedFd<'_>, signal: nix::sys::signal::Signal) -> Result<(), Errno> {
    const F_SETSIG: libc::c_int = 10;
    let owner = (libc::F_SETOWN, nix::unistd::getpid().as_raw());
    for (command, argument) in [(F_SETSIG, signal as libc::c_int), owner] {
        // SAFETY: both commands take a number and no pointer; the descriptor is open.
        Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) })?;
    }
    Ok(())
}

/// Whether a descriptor is a socket.
pub(crate) fn is_socket(fd: i32) -> bool {
    let mut kind: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: `kind` and `size` are writable, live across the call, and `size` is the true size of `kind`.
    unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut size) == 0 }
}

/// Writes a line on standard error, where nothing owns it yet.
pub(crate) fn complain(text: &str) {
    let line = format!("untar-in-root: {text}\n");
    // SAFETY: the slice is readable for its length; a closed descriptor is an error that is ignored.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}
