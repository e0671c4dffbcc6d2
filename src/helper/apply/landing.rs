//! Where a copy goes: the destination says it, found out once, inside (rule 24 of `docs/pack-semantics.md`).

use super::dirs::{Missing, NodeId};
use super::{Applier, files, refused};
use crate::helper::fault::{Fault, Result, at};
use crate::helper::open;
use crate::report::{Call, Descriptor, EntryKind, Purpose, Refusal};
use crate::wire::Content;
use nix::errno::Errno;
use nix::sys::stat::SFlag;

/// As many links as the kernel follows in one path: `path_resolution(7)`.
const LINKS: u32 = 40;

/// What becomes of the names of an archive that is one file or directory.
pub(super) struct Landing {
    content: Content,
    /// The destination's own name, where it is no directory: what is copied takes it.
    name: Option<Vec<u8>>,
    /// Something that is no directory has it.
    taken: bool,
    /// The destination is written as a directory.
    slash: bool,
    begun: bool,
}

impl Applier<'_> {
    /// Goes to the directory that is the destination, or to the one that its last name is in: that name alone may be
    /// missing, behind a link too.
    pub(super) fn land(&mut self, destination: &[u8], content: Content) -> Result<()> {
        let (mut at, mut links) = (NodeId::ROOT, 0);
        let mut slash = destination.ends_with(b"/");
        let mut parts = parts(destination);
        let name = loop {
            let Some(last) = parts.pop_if(|last| !matches!(&last[..], b"." | b"..")) else {
                at = self.go(at, &parts)?;
                break None;
            };
            at = self.go(at, &parts)?;
            let handle = self.tree.open(at)?;
            match files::stat(&handle, &last)?.map(|stat| stat.st_mode & SFlag::S_IFMT.bits()) {
                Some(kind) if kind == SFlag::S_IFDIR.bits() => {
                    at = self.go(at, &[last])?;
                    break None;
                }
                Some(kind) if kind == SFlag::S_IFLNK.bits() => {
                    // One that is gone meanwhile is nothing.
                    let Some(target) = open::link_target(&handle, &last)? else { break Some((last, false)) };
                    links += 1;
                    if links > LINKS {
                        return Err(Fault::as_if(Errno::ELOOP));
                    }
                    if target.starts_with(b"/") {
                        at = NodeId::ROOT;
                    }
                    slash |= target.ends_with(b"/");
                    parts = self::parts(&target);
                }
                there => break Some((last, there.is_some())),
            }
        };
        let (name, taken) = name.map_or((None, false), |(name, taken)| (Some(name), taken));
        self.destination = at;
        self.tree.dirs.pin(at);
        self.landing = Some(Landing { content, name, taken, slash, begun: false });
        Ok(())
    }

    fn go(&mut self, from: NodeId, parts: &[Vec<u8>]) -> Result<NodeId> {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(self.resolve(from, &parts, Missing::Refuse)?.unwrap_or(from))
    }
}

impl Landing {
    /// Gives an entry the name that it has there; the first is what is copied, and must fit.
    pub(super) fn rename(&mut self, kind: EntryKind, path: &mut Vec<u8>, link: &mut Vec<u8>) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.fits(kind == EntryKind::Directory)?;
        }
        self.put(path);
        if path.is_empty() {
            path.extend_from_slice(b"./");
        }
        if kind == EntryKind::Hardlink {
            self.put(link);
        }
        Ok(())
    }

    fn fits(&self, directory: bool) -> Result<()> {
        match (&self.name, directory) {
            (Some(_), true) if self.taken => Err(refused(Refusal::DirectoryConflict)),
            (Some(_), false) if self.slash && self.taken => Err(Fault::as_if(Errno::ENOTDIR)),
            (Some(name), false) if self.slash => {
                let looked = at(Descriptor::Directory, name).with("<stat>, AT_SYMLINK_NOFOLLOW");
                Err(Fault::os(Errno::ENOENT, Call::Newfstatat, looked).meant(Purpose::Landing))
            }
            (None, false) if self.content == Content::Alone => Err(Fault::as_if(Errno::ENOTDIR)),
            _ => Ok(()),
        }
    }

    /// The first name is what is copied: it becomes the destination's, or goes.
    fn put(&self, path: &mut Vec<u8>) {
        let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
        match (&self.name, self.content) {
            (Some(name), _) => drop(path.splice(..end, name.iter().copied())),
            (None, Content::Alone) => drop(path.drain(..path.len().min(end + 1))),
            (None, Content::With) => {}
        }
    }
}

fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_rule_24_the_first_name_becomes_the_destinations_or_goes() {
        let landing = |name: Option<&str>, content| Landing {
            content,
            name: name.map(|name| name.as_bytes().to_vec()),
            taken: false,
            slash: false,
            begun: false,
        };
        for (name, content, path, want) in [
            (Some("new"), Content::With, "src/", "new/"),
            (Some("new"), Content::Alone, "src/a/b", "new/a/b"),
            (Some("new"), Content::With, "src", "new"),
            (None, Content::With, "src/a", "src/a"),
            (None, Content::Alone, "src/a", "a"),
            (None, Content::Alone, "src/", "./"),
            (None, Content::Alone, "src", "./"),
        ] {
            let (mut path, mut link) = (path.as_bytes().to_vec(), b"src/l".to_vec());
            landing(name, content).rename(EntryKind::Directory, &mut path, &mut link).expect("it fits");
            assert_eq!((path.as_slice(), &link[..]), (want.as_bytes(), &b"src/l"[..]));
        }
        let (mut path, mut link) = (b"src/a".to_vec(), b"src/l".to_vec());
        let mut landing = landing(Some("new"), Content::With);
        landing.begun = true;
        landing.rename(EntryKind::Hardlink, &mut path, &mut link).expect("not the first");
        assert_eq!((&path[..], &link[..]), (&b"new/a"[..], &b"new/l"[..]));
    }
}
