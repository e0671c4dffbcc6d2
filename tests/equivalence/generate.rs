//! Entries, their text, their tar, and random sequences of layers of them.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

use super::model::{Model, Switches};
use crate::support::tarball::Tarball;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    File,
    Dir,
    Symlink(String),
    Hardlink(String),
    Fifo,
    /// Character device 1:3.
    Null,
    /// The path is the hidden one.
    Whiteout,
    /// The path is the directory's.
    Opaque,
}

/// What may be given beside; the default otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub mode: Option<u32>,
    pub owner: Option<(u32, u32)>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<Xattr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xattr {
    User,
    Other,
    Trusted,
    Capability,
    AccessAcl,
    DefaultAcl,
}

impl Xattr {
    const ALL: [(Xattr, &str, &str); 6] = [
        (Xattr::User, "user", "user.one"),
        (Xattr::Other, "other", "user.two"),
        (Xattr::Trusted, "trusted", "trusted.three"),
        (Xattr::Capability, "cap", "security.capability"),
        (Xattr::AccessAcl, "access", "system.posix_acl_access"),
        (Xattr::DefaultAcl, "acl", "system.posix_acl_default"),
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(x, ..)| *x == self).expect("all are listed").2
    }

    /// Its value on disk.
    pub fn value(self) -> Vec<u8> {
        match self {
            // `capabilities(7)`, version 2, effective: cap_net_raw.
            Xattr::Capability => [&0x0200_0001_u32.to_le_bytes()[..], &(1_u32 << 13).to_le_bytes(), &[0; 12]].concat(),
            Xattr::AccessAcl | Xattr::DefaultAcl => {
                let entry = |tag: u16, perm: u16, id: u32| {
                    [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
                };
                let none = u32::MAX;
                let entries = [(1, 7, none), (2, 7, 5), (4, 5, none), (16, 7, none), (32, 1, none)];
                [vec![2, 0, 0, 0], entries.into_iter().flat_map(|(t, p, i)| entry(t, p, i)).collect()].concat()
            }
            _ => self.name().as_bytes().to_vec(),
        }
    }
}

const ACL: &str = "user::rwx,user:5:rwx,group::r-x,mask::rwx,other::--x";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub path: String,
    pub what: What,
    pub attributes: Attributes,
}

impl Item {
    fn default_mode(&self) -> u32 {
        match self.what {
            What::Dir => 0o755,
            What::Symlink(_) => 0o777,
            _ => 0o644,
        }
    }

    pub fn mode(&self) -> u32 {
        self.attributes.mode.unwrap_or(self.default_mode())
    }

    /// On disk: an access ACL speaks of the same bits.
    pub fn final_mode(&self) -> u32 {
        let acl = self.attributes.xattrs.contains(&Xattr::AccessAcl);
        if acl { self.mode() & 0o7000 | 0o771 } else { self.mode() }
    }

    pub fn mtime(&self) -> (i64, u32) {
        self.attributes.mtime.unwrap_or((1_000, 0))
    }

    pub fn owner(&self) -> (u32, u32) {
        self.attributes.owner.unwrap_or_default()
    }

    fn flag(&self) -> u8 {
        match self.what {
            What::File | What::Whiteout | What::Opaque => b'0',
            What::Dir => b'5',
            What::Symlink(_) => b'2',
            What::Hardlink(_) => b'1',
            What::Fifo => b'6',
            What::Null => b'3',
        }
    }

    fn tar(&self, tar: Tarball, content: &str) -> Tarball {
        let named = match self.what {
            What::Whiteout => return tar.whiteout(&self.path),
            What::Opaque => return tar.opaque(if self.path == "." { "" } else { &self.path }),
            What::Dir => format!("{}/", self.path),
            _ => self.path.clone(),
        };
        let body = if self.what == What::File { content } else { "" };
        tar.entry(named, self.flag(), body).with(|entry| {
            let (seconds, nanoseconds) = self.mtime();
            let (uid, gid) = self.owner();
            entry.mode(self.mode()).uid(uid.into()).gid(gid.into()).mtime(seconds);
            if nanoseconds != 0 {
                entry.mtime_ns(seconds, nanoseconds);
            }
            match &self.what {
                What::Symlink(target) | What::Hardlink(target) => _ = entry.link(target),
                What::Null => _ = entry.device(1, 3),
                _ => {}
            }
            for xattr in &self.attributes.xattrs {
                match xattr {
                    Xattr::AccessAcl => entry.pax("SCHILY.acl.access", ACL),
                    Xattr::DefaultAcl => entry.pax("SCHILY.acl.default", ACL),
                    other => entry.xattr(other.name(), other.value()),
                };
            }
        })
    }
}

/// The archive of a layer, which begins with what is skipped.
pub fn tar(layer: &[Item], number: usize, large: bool) -> Vec<u8> {
    let add = |tar, (at, item): (usize, &Item)| item.tar(tar, &content(number, at));
    let (entries, bytes) = skipped(number, large);
    let skipped = (0..entries).fold(Tarball::new(), |tar, _| tar.file(".wh..wh.skipped", vec![b'.'; bytes]));
    layer.iter().enumerate().fold(skipped, add).build()
}

/// How many entries come before those of the layer, and the bytes of each. Writers come to help with a large layer:
/// one has bytes enough for all threads, the next only entries enough for writers.
pub fn skipped(number: usize, large: bool) -> (u64, usize) {
    match (large, number % 2) {
        (false, _) => (1, 0),
        (true, 0) => (1, 2 << 20),
        (true, _) => (64, 0),
    }
}

/// What the file at this place of this layer has in it.
pub fn content(layer: usize, at: usize) -> String {
    format!("{layer}.{at}")
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::File => write!(f, "file {path}")?,
            What::Dir => write!(f, "dir {path}")?,
            What::Symlink(target) => write!(f, "link {path} -> {target}")?,
            What::Hardlink(target) => write!(f, "hard {path} = {target}")?,
            What::Fifo => write!(f, "fifo {path}")?,
            What::Null => write!(f, "null {path}")?,
            What::Whiteout => return write!(f, "hide {path}"),
            What::Opaque => return write!(f, "opaque {path}"),
        }
        let Attributes { mode, owner, mtime, xattrs } = &self.attributes;
        mode.map_or(Ok(()), |mode| write!(f, " mode={mode:o}"))?;
        owner.map_or(Ok(()), |(uid, gid)| write!(f, " own={uid}:{gid}"))?;
        mtime.map_or(Ok(()), |(seconds, nanoseconds)| write!(f, " mtime={seconds}.{nanoseconds}"))?;
        if !xattrs.is_empty() {
            let names = xattrs.iter().map(|x| Xattr::ALL.iter().find(|(y, ..)| x == y).expect("listed").1);
            write!(f, " xattr={}", names.collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

/// The entry of this text.
fn item(text: &str) -> Item {
    let mut words = text.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("too short: {text}"));
    let (verb, path) = (word(), word().to_owned());
    let what = match verb {
        "file" => What::File,
        "dir" => What::Dir,
        "link" => What::Symlink((word(), word()).1.to_owned()),
        "hard" => What::Hardlink((word(), word()).1.to_owned()),
        "fifo" => What::Fifo,
        "null" => What::Null,
        "hide" => What::Whiteout,
        "opaque" => What::Opaque,
        _ => panic!("{text}"),
    };
    let mut attributes = Attributes::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("{text}"));
        let pair = |sign| value.split_once(sign).unwrap_or_else(|| panic!("{text}"));
        match key {
            "mode" => attributes.mode = Some(u32::from_str_radix(value, 8).expect("mode")),
            "own" => attributes.owner = Some((pair(':').0.parse().expect("uid"), pair(':').1.parse().expect("gid"))),
            "mtime" => {
                attributes.mtime = Some((pair('.').0.parse().expect("time"), pair('.').1.parse().expect("time")));
            }
            "xattr" => {
                let named = |name| Xattr::ALL.iter().find(|(_, short, _)| *short == name).expect("xattr").0;
                attributes.xattrs = value.split(',').map(named).collect();
            }
            _ => panic!("{text}"),
        }
    }
    Item { path, what, attributes }
}

/// Layers to apply one after the other, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Case {
    pub layers: Vec<Vec<Item>>,
    pub writers: u32,
    /// Large enough for writers.
    pub large: bool,
    /// `user.overlay.*` instead of `trusted.overlay.*`.
    pub userxattr: bool,
    pub switches: Switches,
}

impl Case {
    /// The layers of these texts.
    pub fn of(layers: &[&str]) -> Case {
        let layer = |text: &&str| text.split(';').filter(|t| !t.trim().is_empty()).map(item).collect();
        Case {
            layers: layers.iter().map(layer).collect(),
            writers: 1,
            large: false,
            userxattr: false,
            switches: Switches::default(),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Switches { keep_links, no_overwrite } = self.switches;
        writeln!(
            f,
            "writers {}, large {}, userxattr {}, keep_links {keep_links}, no_overwrite {no_overwrite}",
            self.writers, self.large, self.userxattr
        )?;
        for layer in &self.layers {
            let items: Vec<String> = layer.iter().map(ToString::to_string).collect();
            writeln!(f, "    \"{}\",", items.join(" ; "))?;
        }
        Ok(())
    }
}

/// Random sequences. An entry that would fail is left out, but for a few.
pub fn cases() -> impl Strategy<Value = Case> {
    let layers = vec(vec((items(), weighted(0.02, Just(()))), 1..12), 1..5);
    let switches = (prop::bool::weighted(0.1), prop::bool::weighted(0.05));
    (layers, select(vec![1_u32, 2, 4, 8]), prop::bool::weighted(0.3), prop::bool::weighted(0.2), switches).prop_map(
        |(layers, writers, large, userxattr, (keep_links, no_overwrite))| {
            let switches = Switches { keep_links, no_overwrite };
            Case { layers: viable(layers, switches), writers, large, userxattr, switches }
        },
    )
}

fn viable(layers: Vec<Vec<(Item, Option<()>)>>, switches: Switches) -> Vec<Vec<Item>> {
    let mut model = Model::new(switches);
    let mut out = Vec::new();
    for layer in layers {
        let mut kept = Vec::new();
        model.begin_layer();
        for (item, risked) in layer {
            let before = model.clone();
            if model.apply(&item, "").is_err() {
                model = before;
                if risked.is_none() {
                    continue;
                }
            }
            kept.push(item);
        }
        out.push(kept);
    }
    out
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("c"), 1 => Just("d")]
}

fn path() -> impl Strategy<Value = String> {
    let depth = prop_oneof![6 => Just(1_usize), 6 => Just(2), 3 => Just(3), 1 => Just(4)];
    depth.prop_flat_map(|depth| vec(name(), depth)).prop_map(|names| names.join("/"))
}

/// Relative, absolute, with `..`, dangling, to directories.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name().prop_map(str::to_owned),
        2 => path(),
        3 => path().prop_map(|path| format!("/{path}")),
        3 => path().prop_map(|path| format!("../{path}")),
        1 => (path(), path()).prop_map(|(a, b)| format!("{a}/../{b}")),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just("/".to_owned()),
    ]
}

fn items() -> impl Strategy<Value = Item> {
    let what = prop_oneof![
        8 => Just(What::File),
        7 => Just(What::Dir),
        4 => target().prop_map(What::Symlink),
        8 => (path(), select(vec!["", "", "", "", "/", "./", "d/../"])).prop_map(|(p, start)| What::Hardlink(format!("{start}{p}"))),
        1 => Just(What::Fifo),
        1 => Just(What::Null),
        5 => Just(What::Whiteout),
        3 => Just(What::Opaque),
    ];
    (what, path(), attributes(), 0..60_u8).prop_map(|(what, path, attributes, at_root)| {
        let rootable = matches!(what, What::Dir | What::Opaque);
        let path = match at_root {
            0 | 1 if rootable => ".".to_owned(),
            2..5 => format!("/{path}"),
            5..8 => format!("./{path}"),
            8..11 => format!("d/../{path}"),
            _ => path,
        };
        let attributes = fitting(&what, attributes);
        Item { path, what, attributes }
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let mode = weighted(0.3, select(vec![0o644, 0o755, 0o700, 0o2775, 0o4755, 0o1777, 0o555, 0]));
    let owner = weighted(0.3, select(vec![(0, 0), (1, 2), (1000, 1000), (0, 7), (4_294_967_294, 1)]));
    let mtime = weighted(0.4, select(vec![(0, 0), (5, 500), (1_700_000_000, 123_456_789), (-1, 0), (1 << 31, 1)]));
    let xattrs = prop::sample::subsequence(
        vec![Xattr::User, Xattr::Other, Xattr::Trusted, Xattr::Capability, Xattr::AccessAcl, Xattr::DefaultAcl],
        0..=6,
    );
    (mode, owner, mtime, weighted(0.25, xattrs)).prop_map(|(mode, owner, mtime, xattrs)| Attributes {
        mode,
        owner,
        mtime,
        xattrs: xattrs.unwrap_or_default(),
    })
}

/// Only what such an entry can have; a whiteout is nothing but its name.
fn fitting(what: &What, attributes: Attributes) -> Attributes {
    let Attributes { mode, owner, mtime, mut xattrs } = attributes;
    xattrs.retain(|xattr| match xattr {
        Xattr::Capability => *what == What::File,
        Xattr::DefaultAcl => *what == What::Dir,
        Xattr::AccessAcl => !matches!(what, What::Symlink(_)),
        _ => true,
    });
    match what {
        What::Whiteout | What::Opaque => Attributes::default(),
        _ => Attributes { mode, owner, mtime, xattrs },
    }
}
