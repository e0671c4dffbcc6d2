//! The one place for attributes that carry ids or rights: what becomes of each, by the caller's policy on owners and
//! the user namespace, in whatever spelling it came. Pure.
//!
//! The principle: nobody on the host gains a right that the archive's owners, as the caller's policy has them on disk,
//! do not have. SECURITY.md shows the table; a test compares the two.

pub(super) mod acl;
mod capability;
mod owners;
pub(super) mod packed;
#[cfg(test)]
mod tests;

pub(crate) use owners::Owners;

use crate::helper::apply::attribute::{ACL_ACCESS, ACL_DEFAULT};
use crate::helper::fault::{Fault, Result};
use crate::options::{IdRange, Mode, Options, Owner};
use crate::report::{Cause, Malformed, UserNamespaceReport};
use acl::Acl;
use capability::Capability;
use nix::errno::Errno;

/// What a name means. [`NAMES`] is the table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Capability,
    Acl,
    /// Labels and signatures of security modules, by consent.
    Label,
    /// Data of the host's root, by consent.
    Trusted,
    /// Where Lustre and GlusterFS keep what a file is to them: its stripes, its number, which copies lag behind.
    Layout,
    /// The bytes of an ACL beside the kernel's checks: XFS keeps it there.
    RawAcl,
    /// A mark of overlayfs.
    UserMark,
    TrustedMark,
    /// A claim about who owns the file, to those who believe it.
    RecordedOwner,
    User,
    /// What file systems invent, other ACLs above all.
    System,
    /// A name in no namespace that Linux has: where a file system shows its settings, as `btrfs.compression`.
    Foreign,
}

/// Whole names, and beginnings that end in a dot. The first that fits.
const NAMES: &[(&str, Class)] = &[
    ("security.capability", Class::Capability),
    ("security.", Class::Label),
    ("system.posix_acl_access", Class::Acl),
    ("system.posix_acl_default", Class::Acl),
    ("system.", Class::System),
    ("trusted.overlay.", Class::TrustedMark),
    ("trusted.SGI_ACL_FILE", Class::RawAcl),
    ("trusted.SGI_ACL_DEFAULT", Class::RawAcl),
    ("trusted.lov", Class::Layout),
    ("trusted.lmv", Class::Layout),
    ("trusted.dmv", Class::Layout),
    ("trusted.lma", Class::Layout),
    ("trusted.link", Class::Layout),
    ("trusted.fid", Class::Layout),
    ("trusted.hsm", Class::Layout),
    ("trusted.som", Class::Layout),
    ("trusted.version", Class::Layout),
    ("trusted.gfid", Class::Layout),
    ("trusted.gfid2path.", Class::Layout),
    ("trusted.pgfid.", Class::Layout),
    ("trusted.glusterfs.", Class::Layout),
    ("trusted.afr.", Class::Layout),
    ("trusted.ec.", Class::Layout),
    ("trusted.bit-rot.", Class::Layout),
    ("trusted.", Class::Trusted),
    ("user.overlay.", Class::UserMark),
    ("user.containers.override_stat", Class::RecordedOwner),
    ("user.fuseoverlayfs.", Class::RecordedOwner),
    ("user.rootlesscontainers", Class::RecordedOwner),
    ("user.virtfs.", Class::RecordedOwner),
    ("user.", Class::User),
];

fn class(name: &[u8]) -> Class {
    let fits =
        |known: &str| if known.ends_with('.') { name.starts_with(known.as_bytes()) } else { name == known.as_bytes() };
    NAMES.iter().find(|(known, _)| fits(known)).map_or(Class::Foreign, |(_, class)| *class)
}

/// What an archive gives, read as far as it carries ids or rights.
#[derive(Debug)]
pub(crate) struct Attribute {
    /// The attribute's name, as the kernel has it.
    pub(crate) name: Vec<u8>,
    meaning: Meaning,
}

#[derive(Debug)]
enum Meaning {
    /// `None`: the kernel would not take it.
    Capability(Option<Capability>),
    Acl(Option<Acl>),
    Other(Class, Vec<u8>),
}

impl Attribute {
    /// Takes the value in the kernel's form.
    pub(crate) fn new(name: Vec<u8>, value: Vec<u8>) -> Attribute {
        let meaning = match class(&name) {
            Class::Capability => Meaning::Capability(Capability::parse(&value)),
            Class::Acl => Meaning::Acl(acl::decode(&value).ok()),
            class => Meaning::Other(class, value),
        };
        Attribute { name, meaning }
    }

    /// An ACL as text; what an access ACL leaves open the mode says.
    pub(crate) fn acl_text(text: &[u8], access: bool, mode: u32) -> Attribute {
        let acl = acl::parse(text).ok().and_then(|mut acl| {
            if access {
                acl.complete(mode);
            }
            acl.is_valid().then_some(acl)
        });
        let name = if access { ACL_ACCESS } else { ACL_DEFAULT };
        Attribute { name: name.to_bytes().into(), meaning: Meaning::Acl(acl) }
    }

    /// An ACL that names users or groups by name only: they are never looked up.
    pub(crate) fn is_by_name(&self) -> bool {
        matches!(&self.meaning, Meaning::Acl(Some(acl)) if acl.by_name)
    }

    /// The mode of a file whose access ACL comes later, or never: the group's bits are then the ACL's mask, which
    /// would give the group what the ACL keeps from it.
    pub(crate) fn mode_without(&self, mode: u32) -> u32 {
        match &self.meaning {
            Meaning::Acl(Some(acl)) if self.name == ACL_ACCESS.to_bytes() => acl.mode_without(mode),
            _ => mode,
        }
    }

    /// The mode as an access ACL has it for the owner.
    pub(crate) fn owners_mode(&self, mode: u32) -> u32 {
        let Meaning::Acl(Some(acl)) = &self.meaning else { return mode };
        let of_owner = acl.entries.iter().find(|entry| entry.tag == acl::Tag::UserObj);
        let of_owner = of_owner.filter(|_| self.name == ACL_ACCESS.to_bytes());
        of_owner.map_or(mode, |entry| mode & !0o700 | u32::from(entry.permissions & 7) << 6)
    }

    /// An access ACL, which decides over the mode, gives the owner everything.
    pub(crate) fn let_owner_use(&mut self) {
        if let Meaning::Acl(Some(acl)) = &mut self.meaning
            && self.name == ACL_ACCESS.to_bytes()
        {
            acl.entries
                .iter_mut()
                .filter(|entry| entry.tag == acl::Tag::UserObj)
                .for_each(|entry| entry.permissions |= 7);
        }
    }

    /// The value on disk of what is kept, mapped or escaped.
    pub(crate) fn value(self, setting: &Setting) -> Result<Vec<u8>> {
        Ok(match self.meaning {
            Meaning::Capability(Some(capability)) => {
                let root = setting.owners.namespace_root(capability.root());
                root.map_or(capability, |root| capability.for_root(root)).encode()
            }
            Meaning::Acl(Some(acl)) => setting.owners.acl(&acl).map_err(Cause::Refused)?.encode(),
            Meaning::Other(_, value) => value,
            Meaning::Capability(None) | Meaning::Acl(None) => Vec::new(),
        })
    }

    /// Why it is refused; `offset`: where its entry's header begins.
    pub(crate) fn refusal(&self, setting: &Setting, offset: u64) -> Fault {
        match &self.meaning {
            Meaning::Acl(Some(acl)) => match setting.owners.acl(acl) {
                Err(refusal) => Cause::Refused(refusal).into(),
                Ok(_) => Cause::Malformed { what: Malformed::Acl, offset }.into(),
            },
            Meaning::Acl(None) => Cause::Malformed { what: Malformed::Acl, offset }.into(),
            // As the kernel would.
            _ => Fault::attribute(&self.name, Errno::EPERM),
        }
    }
}

/// What the table depends on, besides the attribute; the same for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) owners: Owners,
    namespace: Namespace,
    /// Consent: `trusted.*` may be set.
    trusted: bool,
    /// Consent: `security.*` may be set.
    security: bool,
    /// An upper directory is written.
    overlay: bool,
    /// No root was entered, and no capability is there that could set anything.
    beneath: bool,
}

/// The user namespace that the helper has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// None; the caller may still be in one.
    Callers,
    OneId,
    Ranges,
}

impl Namespace {
    pub(crate) fn of(report: Option<&UserNamespaceReport>) -> Namespace {
        match report.map(|report| &report.uids[..]) {
            None => Namespace::Callers,
            Some([IdRange { count: 1, .. }]) => Namespace::OneId,
            Some(_) => Namespace::Ranges,
        }
    }
}

impl Setting {
    pub(crate) fn new(options: &Options, own: u32, namespace: Namespace, beneath: bool) -> Setting {
        Setting {
            owners: Owners::new(if beneath { &Owner::Caller } else { &options.owner }, own),
            namespace,
            trusted: options.trusted_xattrs,
            security: options.security_xattrs,
            overlay: matches!(options.mode, Mode::Overlay(_)),
            beneath,
        }
    }

    /// Where ids are not mapped, the kernel reads them in the user namespace that it is told them in.
    fn by_owners(&self) -> Ruling {
        if self.owners.are_mapped() { Ruling::Mapped } else { Ruling::Kept }
    }

    /// This outcome where the caller consents, in the first user namespace: `xattr(7)`.
    fn by_consent(&self, consent: bool, outcome: Ruling) -> Ruling {
        match self.namespace {
            _ if !consent => Ruling::Dropped,
            _ if self.beneath => Ruling::Refused,
            Namespace::Callers => outcome,
            Namespace::OneId | Namespace::Ranges => Ruling::Refused,
        }
    }
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Kept,
    /// It is set, its ids by the policy on owners.
    Mapped,
    /// It is dropped, and an event says so.
    Dropped,
    /// Renamed so that overlayfs takes it for data, with an event.
    Escaped,
    /// The entry fails.
    Refused,
}

/// The table.
pub(crate) fn decide(attribute: &Attribute, setting: &Setting) -> Ruling {
    match &attribute.meaning {
        Meaning::Capability(_) if setting.beneath => Ruling::Dropped,
        Meaning::Capability(capability) => {
            let root = capability.and_then(|capability| setting.owners.namespace_root(capability.root()));
            root.map_or(Ruling::Dropped, |_| setting.by_owners())
        }
        Meaning::Acl(None) => Ruling::Refused,
        Meaning::Acl(Some(acl)) if acl.by_name => Ruling::Dropped,
        Meaning::Acl(Some(acl)) if !acl.names_others() => Ruling::Kept,
        // One id for everything is nobody that the ACL names.
        Meaning::Acl(Some(_)) if !setting.owners.are_many() => Ruling::Dropped,
        Meaning::Acl(Some(acl)) => setting.owners.acl(acl).map_or(Ruling::Refused, |_| setting.by_owners()),
        Meaning::Other(class, _) => decide_other(*class, setting),
    }
}

fn decide_other(class: Class, setting: &Setting) -> Ruling {
    match class {
        Class::User => Ruling::Kept,
        Class::UserMark if setting.overlay => Ruling::Escaped,
        Class::TrustedMark if setting.overlay => setting.by_consent(setting.trusted, Ruling::Escaped),
        Class::Trusted | Class::Layout => setting.by_consent(setting.trusted, Ruling::Kept),
        Class::Label => setting.by_consent(setting.security, Ruling::Kept),
        _ => Ruling::Dropped,
    }
}

/// Whether an attribute of a file that is there is the system's, or a setting of the file system and not of the file: not
/// an archive's to clear or to be given from a lower directory.
pub(crate) fn is_masked(name: &[u8]) -> bool {
    match class(name) {
        Class::Label | Class::System | Class::RawAcl | Class::Layout | Class::Foreign => true,
        Class::UserMark => !name.starts_with(b"user.overlay.overlay."),
        Class::TrustedMark => !name.starts_with(b"trusted.overlay.overlay."),
        _ => false,
    }
}

/// `user.overlay.x` becomes `user.overlay.overlay.x`.
pub(crate) fn escape(name: &[u8]) -> Vec<u8> {
    let dot = name.iter().position(|byte| *byte == b'.').map_or(0, |at| at + 1);
    [&name[..dot], b"overlay.", &name[dot..]].concat()
}
