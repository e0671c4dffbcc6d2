//! A user namespace of our own where the caller lacks the rights, mapped by the parent: `user_namespaces(7)`.

use super::confine;
use super::lifeline;
use crate::helper::fault::{Attempt, Fault, Result, at};
use crate::helper::reporter::Reporter;
use crate::namespace;
use crate::options::{Isolation, Jail, UserNamespace};
use crate::proc;
use crate::report::{Call, Descriptor, Namespace, UserNamespaceReport};
use crate::wire::{Down, Up};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

/// What came of it.
#[derive(Default)]
pub(crate) struct Entered {
    pub(crate) report: Option<UserNamespaceReport>,
    /// Why there is none, although it was needed: it is done without.
    pub(crate) refused: Option<Fault>,
}

/// Makes and enters it if it is wanted or needed. Where it is only needed and cannot be had, what can be done without it
/// is; `beneath`: that is anything.
pub(crate) fn enter(jail: &Jail, beneath: bool, reporter: &mut Reporter) -> Result<Entered> {
    let spare = match &jail.user_namespace {
        UserNamespace::Never => return Ok(Entered::default()),
        UserNamespace::Auto if confine::can_enter() || jail.isolation == Isolation::Beneath => {
            return Ok(Entered::default());
        }
        UserNamespace::Auto => beneath || confine::can_do_without_namespace(jail.isolation),
        _ => false,
    };
    if spare && !confine::can_be_mapped() {
        return Ok(Entered::default());
    }
    match make() {
        Err(fault) if spare => return Ok(Entered { report: None, refused: Some(fault) }),
        made => made?,
    }
    reporter.send(&Up::NeedIdMap);
    match reporter.receive() {
        Ok(Down::IdMapDone(Ok(()))) => {}
        Ok(Down::IdMapDone(Err(failed))) => {
            let cause = crate::report::Cause::Os(failed.errno);
            return Err(Fault { operation: Some(failed.operation), cause });
        }
        _ => return Err(Fault::from(crate::report::Cause::Cancelled)),
    }
    become_root()?;
    lifeline::tie();
    let report = UserNamespaceReport { uids: namespace::uids(), gids: namespace::gids() };
    Ok(Entered { report: Some(report), refused: None })
}

/// Its ids can be mapped nowhere but in `/proc`.
fn make() -> Result<()> {
    proc::file("self/uid_map", OFlag::O_RDONLY).map_err(|error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        Fault::os(errno, Call::Openat, at(Descriptor::Cwd, "/proc/self/uid_map").with("O_RDONLY|O_CLOEXEC"))
    })?;
    unshare(CloneFlags::CLONE_NEWUSER).call(Call::Unshare, || Namespace::User)
}

/// The namespace's root, where its maps have one: files are then made by an id that is mapped.
fn become_root() -> Result<()> {
    let (gid, uid) = (Gid::from_raw(0), Uid::from_raw(0));
    let group = setresgid(gid, gid, gid).call(Call::Setresgid, || "0, 0, 0");
    let both = group.and_then(|()| setresuid(uid, uid, uid).call(Call::Setresuid, || "0, 0, 0"));
    match both {
        // No id 0 in the maps: the helper stays who it is.
        Err(fault) if fault.errno() == Some(Errno::EINVAL) => Ok(()),
        both => both,
    }
}
