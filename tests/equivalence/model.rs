//! The contract once more, as naive as can be: the whole tree in memory, every rule by looking at all of it.
//!
//! Written from `docs/semantics.md`, not from the source.

use std::collections::BTreeMap;

use super::generate::{Item, What, Xattr};

/// The options that are tried beside the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// `keep_directory_symlink`.
    pub keep_links: bool,
    /// `no_overwrite_dir_nondir`.
    pub no_overwrite: bool,
}

/// An entry that cannot be applied, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    Loop,
    NotDirectory,
    Conflict,
    NoTarget,
    LinkToDirectory,
}

type InodeId = usize;
type Path = Vec<String>;

#[derive(Clone)]
struct Inode {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    xattrs: BTreeMap<&'static str, Vec<u8>>,
}

#[derive(Clone)]
enum Kind {
    Dir(BTreeMap<String, Dirent>),
    File(String),
    Symlink(String),
    Fifo,
    Null,
}

#[derive(Clone)]
struct Dirent {
    inode: InodeId,
    /// This layer made or touched it.
    upper: bool,
    /// The inode as the overlay has it: a link to a file below copies it up.
    overlay: usize,
    /// It was copied up in this layer.
    copied: bool,
}

/// What a path needs and lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Nothing,
}

/// How hardlinks are grouped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Layer,
    Overlay,
}

#[derive(Clone)]
pub struct Model {
    inodes: Vec<Inode>,
    overlays: usize,
    switches: Switches,
    /// Of the entry at hand.
    mtime: (i64, u32),
}

/// The time of the empty directory at the beginning.
pub const BEGINNING: (i64, u32) = (77, 7);

const ROOT: InodeId = 0;

impl Model {
    pub fn new(switches: Switches) -> Model {
        Model { inodes: vec![implied(BEGINNING)], overlays: 0, switches, mtime: BEGINNING }
    }

    /// From now on everything that is there is of a lower layer.
    pub fn begin_layer(&mut self) {
        for inode in &mut self.inodes {
            if let Kind::Dir(children) = &mut inode.kind {
                for child in children.values_mut() {
                    (child.upper, child.copied) = (false, false);
                }
            }
        }
    }

    pub fn apply(&mut self, item: &Item, content: &str) -> Result<(), Failed> {
        let parts = fold(&item.path);
        self.mtime = item.mtime();
        match &item.what {
            What::Opaque => {
                if let Ok(Some(directory)) = self.resolve(&parts, Missing::Nothing) {
                    self.prune(&directory);
                }
                return Ok(());
            }
            What::Whiteout => {
                let (name, parents) = parts.split_last().expect("never the root");
                if let Ok(Some(parent)) = self.resolve(parents, Missing::Nothing) {
                    self.whiteout(&parent, name);
                }
                return Ok(());
            }
            _ => {}
        }
        let Some((name, parents)) = parts.split_last() else {
            self.dress(ROOT, item);
            return Ok(());
        };
        let parent = self.resolve(parents, Missing::Make)?.expect("made");
        match &item.what {
            What::Hardlink(target) => self.hardlink(&parent, name, target)?,
            What::Dir => self.directory(&parent, name, item)?,
            _ => {
                let kind = match &item.what {
                    What::File => Kind::File(content.to_owned()),
                    What::Symlink(target) => Kind::Symlink(target.clone()),
                    What::Fifo => Kind::Fifo,
                    _ => Kind::Null,
                };
                self.refuse_conflict(&parent, name, false)?;
                let inode = self.fresh(kind);
                self.dress(inode, item);
                self.put(&parent, name, inode);
            }
        }
        self.touch(&parent);
        Ok(())
    }

    // Rule 6.
    fn resolve(&mut self, parts: &[&str], missing: Missing) -> Result<Option<Path>, Failed> {
        let mut at = Path::new();
        // Each with whether it is of the path itself, and not of a link's target.
        let mut todo: Vec<(String, bool)> = parts.iter().rev().map(|part| ((*part).to_owned(), true)).collect();
        let (mut links, mut named) = (0, (Path::new(), String::new()));
        while let Some((part, own)) = todo.pop() {
            if own {
                named = (at.clone(), part.clone());
            }
            match part.as_str() {
                "" | "." => {}
                ".." => _ = at.pop(),
                name => match self.lookup(&at, name).map(|inode| &self.inodes[inode].kind) {
                    Some(Kind::Dir(_)) => at.push(part),
                    Some(Kind::Symlink(target)) => {
                        links += 1;
                        if links > 40 {
                            return Err(Failed::Loop);
                        }
                        if target.starts_with('/') {
                            at.clear();
                        }
                        todo.extend(target.split('/').rev().map(|part| (part.to_owned(), false)));
                    }
                    Some(_) if missing == Missing::Nothing => return Err(Failed::NotDirectory),
                    Some(_) => {
                        let (parent, name) = named.clone();
                        self.give_way(&parent, &name)?;
                        at = below(&parent, &name);
                        todo.retain(|(_, own)| *own);
                    }
                    None if missing == Missing::Nothing => return Ok(None),
                    None => self.imply(&mut at, part),
                },
            }
        }
        Ok(Some(at))
    }

    // Rule 10.
    fn imply(&mut self, at: &mut Path, name: String) {
        let inode = self.fresh(Kind::Dir(BTreeMap::new()));
        self.put(at, &name, inode);
        at.push(name);
        self.touch(at);
    }

    // Rule 10.
    fn give_way(&mut self, parent: &Path, name: &str) -> Result<(), Failed> {
        if self.switches.no_overwrite || self.children(parent)[name].upper {
            return Err(Failed::NotDirectory);
        }
        self.children(parent).remove(name);
        self.imply(&mut parent.clone(), name.to_owned());
        Ok(())
    }

    // Rule 7.
    fn whiteout(&mut self, parent: &Path, name: &str) {
        let Some(dirent) = self.children(parent).get(name).cloned() else { return };
        if !dirent.upper {
            self.children(parent).remove(name);
        } else if let Kind::Dir(_) = self.inodes[dirent.inode].kind {
            self.prune(&below(parent, name));
        }
    }

    // Rule 8.
    fn prune(&mut self, directory: &Path) {
        let names: Vec<String> = self.children(directory).keys().cloned().collect();
        for name in names {
            self.whiteout(directory, &name);
        }
    }

    // Rules 9 and 12.
    fn directory(&mut self, parent: &Path, name: &str, item: &Item) -> Result<(), Failed> {
        let there = self.lookup(parent, name);
        match there.map(|inode| &self.inodes[inode].kind) {
            Some(Kind::Dir(_)) => {
                self.touch(&below(parent, name));
                self.dress(there.expect("there"), item);
                return Ok(());
            }
            Some(Kind::Symlink(_)) if self.switches.keep_links => {
                let mut parts: Vec<&str> = parent.iter().map(String::as_str).collect();
                parts.push(name);
                if let Ok(Some(directory)) = self.resolve(&parts, Missing::Nothing) {
                    self.touch(&directory);
                    let inode = self.inode(&directory);
                    self.dress(inode, item);
                    return Ok(());
                }
            }
            _ => {}
        }
        self.refuse_conflict(parent, name, true)?;
        let inode = self.fresh(Kind::Dir(BTreeMap::new()));
        self.dress(inode, item);
        self.put(parent, name, inode);
        Ok(())
    }

    fn refuse_conflict(&self, parent: &Path, name: &str, directory: bool) -> Result<(), Failed> {
        let Some(there) = self.lookup(parent, name).filter(|_| self.switches.no_overwrite) else { return Ok(()) };
        let is_directory = matches!(self.inodes[there].kind, Kind::Dir(_));
        if is_directory == directory { Ok(()) } else { Err(Failed::Conflict) }
    }

    // Rule 11.
    fn hardlink(&mut self, parent: &Path, name: &str, target: &str) -> Result<(), Failed> {
        let parts = fold(target);
        let (last, parents) = parts.split_last().expect("never the root");
        let from = self.resolve(parents, Missing::Nothing).map_err(|_| Failed::NoTarget)?.ok_or(Failed::NoTarget)?;
        let inode = self.lookup(&from, last).ok_or(Failed::NoTarget)?;
        if let Kind::Dir(_) = self.inodes[inode].kind {
            return Err(Failed::LinkToDirectory);
        }
        let copy = self.fresh_overlay();
        let source = self.children(&from).get_mut(*last).expect("looked up");
        if !source.upper && !source.copied {
            (source.copied, source.overlay) = (true, copy);
        }
        let overlay = source.overlay;
        if self.lookup(parent, name) == Some(inode) {
            let dirent = self.children(parent).get_mut(name).expect("looked up");
            (dirent.upper, dirent.overlay) = (true, overlay);
            return Ok(());
        }
        self.refuse_conflict(parent, name, false)?;
        // Rule 9 comes first: what is in the way is removed, and the target with it if it is in there.
        if from.starts_with(&below(parent, name)) {
            return Err(Failed::NoTarget);
        }
        self.put(parent, name, inode);
        self.children(parent).get_mut(name).expect("put").overlay = overlay;
        Ok(())
    }

    /// Owner, mode, time; xattrs that the entry does not have are cleared.
    fn dress(&mut self, inode: InodeId, item: &Item) {
        let inode = &mut self.inodes[inode];
        let openable = matches!(inode.kind, Kind::Dir(_) | Kind::File(_));
        let acl = item.attributes.xattrs.contains(&Xattr::AccessAcl);
        inode.mode = match inode.kind {
            Kind::Symlink(_) => 0o777,
            // Without the ACL nobody gets what its mask, the group's bits, allows.
            Kind::Fifo | Kind::Null if acl => item.mode() & !0o070,
            _ => item.final_mode(),
        };
        inode.owner = item.owner();
        inode.mtime = item.mtime();
        // No descriptor leads to those of anything else.
        let xattrs = item.attributes.xattrs.iter().filter(|_| openable);
        inode.xattrs = xattrs.map(|x| (x.name(), x.value())).collect();
    }

    fn fresh(&mut self, kind: Kind) -> InodeId {
        self.inodes.push(Inode { kind, ..implied(self.mtime) });
        self.inodes.len() - 1
    }

    fn fresh_overlay(&mut self) -> usize {
        self.overlays += 1;
        self.overlays
    }

    /// Whatever was there is replaced.
    fn put(&mut self, parent: &Path, name: &str, inode: InodeId) {
        let overlay = self.fresh_overlay();
        let dirent = Dirent { inode, upper: true, overlay, copied: false };
        self.children(parent).insert(name.to_owned(), dirent);
    }

    fn touch(&mut self, path: &Path) {
        for end in 1..=path.len() {
            let (name, parent) = path[..end].split_last().expect("not empty");
            self.children(&parent.to_vec()).get_mut(name).expect("resolved").upper = true;
        }
    }

    fn lookup(&self, parent: &Path, name: &str) -> Option<InodeId> {
        match &self.inodes[self.inode(parent)].kind {
            Kind::Dir(children) => children.get(name).map(|dirent| dirent.inode),
            _ => None,
        }
    }

    fn inode(&self, path: &Path) -> InodeId {
        path.iter().fold(ROOT, |at, name| match &self.inodes[at].kind {
            Kind::Dir(children) => children[name].inode,
            _ => panic!("resolved to what is no directory"),
        })
    }

    fn children(&mut self, path: &Path) -> &mut BTreeMap<String, Dirent> {
        let inode = self.inode(path);
        match &mut self.inodes[inode].kind {
            Kind::Dir(children) => children,
            _ => panic!("resolved to what is no directory"),
        }
    }

    /// Each path and what is there, as `Tree::text` would have it; groups of one are none.
    pub fn lines(&self, links: Links) -> BTreeMap<String, String> {
        let mut found = Vec::new();
        let mut stack = vec![(String::new(), ROOT, 0)];
        while let Some((path, inode, group)) = stack.pop() {
            if let Kind::Dir(children) = &self.inodes[inode].kind {
                for (name, child) in children {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                    let group = if links == Links::Layer { child.inode } else { child.overlay };
                    stack.push((path, child.inode, group));
                }
            }
            found.push((if path.is_empty() { ".".to_owned() } else { path }, inode, group));
        }
        found.sort();
        let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, inode, group) in &found {
            if !matches!(self.inodes[*inode].kind, Kind::Dir(_)) {
                groups.entry(*group).or_default().push(path.clone());
            }
        }
        let first = |group| groups.get(group).filter(|paths| paths.len() > 1).map(|paths| paths[0].clone());
        found.iter().map(|(path, inode, group)| (path.clone(), self.line(*inode, first(group)))).collect()
    }

    fn line(&self, inode: InodeId, link: Option<String>) -> String {
        let Inode { kind, mode, owner, mtime, xattrs, .. } = &self.inodes[inode];
        let mut fields = vec![
            format!("mode={mode:04o}"),
            format!("uid={}", owner.0),
            format!("gid={}", owner.1),
            format!("mtime={}.{:09}", mtime.0, mtime.1),
        ];
        let name = match kind {
            Kind::Dir(_) => "dir",
            Kind::File(content) => {
                fields.push(format!("content={content}"));
                fields.push(format!("size={}", content.len()));
                "file"
            }
            Kind::Symlink(target) => {
                fields.push(format!("target={target}"));
                "symlink"
            }
            Kind::Fifo => "fifo",
            Kind::Null => {
                fields.push("rdev=1,3".to_owned());
                "char"
            }
        };
        fields.extend(link.map(|link| format!("link={link}")));
        fields.extend(xattrs.iter().map(|(name, value)| format!("xattr.{name}={}", escape(value))));
        fields.sort();
        format!("{name} {}", fields.join(" "))
    }
}

/// Rule 10.
fn implied(mtime: (i64, u32)) -> Inode {
    let kind = Kind::Dir(BTreeMap::new());
    Inode { kind, mode: 0o755, owner: (0, 0), mtime, xattrs: BTreeMap::new() }
}

// Rule 2.
fn fold(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts
}

fn below(parent: &Path, name: &str) -> Path {
    [&parent[..], &[name.to_owned()]].concat()
}

/// As `Tree` writes values.
fn escape(bytes: &[u8]) -> String {
    let one = |&b: &u8| match b {
        b'\\' => "\\\\".to_owned(),
        b'!'..=b'~' => char::from(b).to_string(),
        _ => format!("\\x{b:02x}"),
    };
    bytes.iter().map(one).collect()
}
