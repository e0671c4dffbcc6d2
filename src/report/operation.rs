//! A system call as `strace(1)` prints it: which, on what, and the rest of its arguments.

use serde::{Deserialize, Serialize};

macro_rules! calls {
    ($($variant:ident $name:literal)*) => {
        /// A system call, by the name that `strace(1)` has for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Call {
            $(#[doc = concat!("`", $name, "(2)`.")] $variant,)*
        }

        impl Call {
            /// Its name, as in `/usr/include/asm/unistd.h`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Call::$variant => $name,)*
                }
            }
        }
    };
}

calls! {
    Capget "capget"
    Capset "capset"
    Chdir "chdir"
    Chroot "chroot"
    Fchdir "fchdir"
    Fchmod "fchmod"
    Fchmodat2 "fchmodat2"
    Fchown "fchown"
    Fchownat "fchownat"
    Fgetxattr "fgetxattr"
    Flistxattr "flistxattr"
    Fremovexattr "fremovexattr"
    Fsetxattr "fsetxattr"
    Fstat "fstat"
    Fsync "fsync"
    Ftruncate "ftruncate"
    Getcwd "getcwd"
    Getdents64 "getdents64"
    LandlockAddRule "landlock_add_rule"
    LandlockCreateRuleset "landlock_create_ruleset"
    LandlockRestrictSelf "landlock_restrict_self"
    Linkat "linkat"
    Listxattrat "listxattrat"
    Llistxattr "llistxattr"
    Lseek "lseek"
    Mkdirat "mkdirat"
    Mknodat "mknodat"
    Mount "mount"
    MountSetattr "mount_setattr"
    MoveMount "move_mount"
    Newfstatat "newfstatat"
    OpenTree "open_tree"
    Openat "openat"
    Openat2 "openat2"
    PivotRoot "pivot_root"
    Prctl "prctl"
    Pread64 "pread64"
    Prlimit64 "prlimit64"
    Pwrite64 "pwrite64"
    Read "read"
    Readlinkat "readlinkat"
    Recvmsg "recvmsg"
    Seccomp "seccomp"
    Setresgid "setresgid"
    Setresuid "setresuid"
    Statx "statx"
    Symlinkat "symlinkat"
    Syncfs "syncfs"
    Umount2 "umount2"
    Unlinkat "unlinkat"
    Unshare "unshare"
    Utimensat "utimensat"
    Write "write"
}

/// A system call that failed, as `strace(1)` prints it but for four things, for which angle brackets stand: the number
/// of a descriptor is what it is of (`<directory>`, or a path as with `strace -y`), the address of a buffer its use
/// (`<stat>`), content its name (`<data>`), and the size of a structure that a library passes, `<size>`
/// (`landlock_create_ruleset`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// The call itself.
    pub call: Call,
    /// The file that it was on.
    pub on: Operand,
    /// Its other arguments, escaped as `strace(1)` does; at most 4096 bytes of them.
    pub rest: String,
    /// What it was for, where that is more than the call says.
    pub purpose: Purpose,
}

/// What a call was for, which decides what may help when it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Purpose {
    /// What the call says.
    #[default]
    Usual,
    /// A mode with a set-uid or set-gid bit.
    SetId,
    /// A mark of overlayfs: a whiteout, an opaque directory.
    Mark {
        /// The mark is an attribute of `trusted.*`, which is the first user namespace's alone.
        trusted: bool,
    },
    /// A device, not a FIFO or a socket.
    Device,
    /// On what is immutable or append-only, or in a directory that is: `chattr(1)`.
    Unchangeable,
    /// A call that wants the rights which the user namespace gives that was made for this run.
    InNewNamespace,
    /// A user namespace that is made for the owners that were asked for: without them no root need be entered.
    Owners,
    /// A user namespace that is made since Landlock or the filter was declined: with both of them no root need be entered.
    Walls,
    /// Finding out where a copy goes.
    Landing,
    /// A wall that must stand where no root is entered: [`Isolation::Beneath`](crate::Isolation::Beneath).
    Beneath,
    /// A map of uid 0 of the namespace around: since Linux 5.12 that takes `CAP_SETFCAP`, and no range of root's would help.
    MapOfRoot,
}

/// The file that a call was on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Operand {
    /// None; or the arguments do not begin with it.
    Nothing,
    /// A new namespace of this kind.
    Namespace(Namespace),
    /// What is open.
    Descriptor(Descriptor),
    /// A name, looked up from an open directory.
    Name {
        /// The directory.
        dir: Descriptor,
        /// The name, at most 4096 bytes of it.
        name: Vec<u8>,
    },
}

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Namespace {
    /// `CLONE_NEWUSER`
    User,
    /// `CLONE_NEWNS`
    Mount,
}

/// What a descriptor of the helper's is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Descriptor {
    /// `AT_FDCWD`, the working directory.
    Cwd,
    /// Descriptor 0, the archive.
    Archive,
    /// A directory of the destination.
    Directory,
    /// What the entry is or becomes.
    File,
    /// A directory or file of a lower layer.
    Lower,
    /// The root: that of before, or the destination.
    Root,
    /// A mount that is at no place yet, or the place of one.
    Mount,
    /// What has this path below the destination, at most 4096 bytes of it.
    Path(Vec<u8>),
}

#[cfg(target_os = "linux")]
impl Operation {
    /// The call with its arguments.
    pub(crate) fn new(call: Call, on: Operand, rest: impl Into<String>) -> Operation {
        Operation { call, on, rest: rest.into(), purpose: Purpose::Usual }
    }

    /// Cuts what is longer.
    pub(crate) fn shorten(&mut self, most: usize) {
        let texts = match &mut self.on {
            Operand::Nothing | Operand::Namespace(_) => [None, None],
            Operand::Descriptor(of) => [of.path_mut(), None],
            Operand::Name { dir, name } => [dir.path_mut(), Some(name)],
        };
        for text in texts.into_iter().flatten() {
            text.truncate(most);
            text.shrink_to_fit();
        }
        self.rest.truncate(crate::text::cut_at(&self.rest, most));
        self.rest.shrink_to_fit();
    }

    /// The bytes that it holds beside itself.
    pub(crate) fn bytes(&self) -> usize {
        let of = |descriptor: &Descriptor| if let Descriptor::Path(path) = descriptor { path.len() } else { 0 };
        let on = match &self.on {
            Operand::Nothing | Operand::Namespace(_) => 0,
            Operand::Descriptor(descriptor) => of(descriptor),
            Operand::Name { dir, name } => of(dir) + name.len(),
        };
        on + self.rest.len()
    }
}

#[cfg(target_os = "linux")]
impl Descriptor {
    fn path_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Descriptor::Path(path) => Some(path),
            _ => None,
        }
    }
}
