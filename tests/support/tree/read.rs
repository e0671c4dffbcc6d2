//! Reading a tree with one directory open at a time: neither depth nor length of names matters.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Stat};
use sha2::{Digest, Sha256};

use super::Fields;

/// Content up to this length is kept as text.
const INLINE: usize = 64;

/// A directory on the way down: its names still to do, and how long the path to it is.
struct Level {
    todo: Vec<CString>,
    path_len: usize,
}

/// State of one walk.
struct Walk {
    nodes: BTreeMap<String, Fields>,
    inodes: BTreeMap<(u64, u64), String>,
}

/// All entries below the root and the root itself, by escaped path.
pub(super) fn walk(root: &Path, without: &[&str]) -> io::Result<BTreeMap<String, Fields>> {
    let mut walk = Walk { nodes: BTreeMap::new(), inodes: BTreeMap::new() };
    let mut here = open_dir(CWD, root.as_os_str())?;
    walk.nodes.insert(".".into(), describe(here.as_fd(), OsStr::new("."), &fs::fstat(&here)?));
    let mut path = Vec::new();
    let mut todo = names(&here)?;
    todo.retain(|name| !without.iter().any(|w| w.as_bytes() == name.to_bytes()));
    let mut levels = vec![Level { todo, path_len: 0 }];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.path_len);
        let Some(name) = level.todo.pop() else {
            levels.pop();
            // The way up is `..`, so that one descriptor is enough for any depth.
            here = if levels.is_empty() { here } else { open_dir(here.as_fd(), OsStr::new(".."))? };
            continue;
        };
        let name = OsStr::from_bytes(name.to_bytes());
        path.extend(if path.is_empty() { &b""[..] } else { b"/" });
        path.extend(name.as_bytes());
        if let Some((child, todo)) = walk.visit(here.as_fd(), name, &path)? {
            here = child;
            levels.push(Level { todo, path_len: path.len() });
        }
    }
    Ok(walk.nodes)
}

impl Walk {
    /// Notes an entry; a directory that can be entered is opened and listed.
    fn visit(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> io::Result<Option<(OwnedFd, Vec<CString>)>> {
        let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut fields = describe(dir, name, &stat);
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_dir && stat.st_nlink > 1 {
            let first = self.inodes.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| escape(path));
            put(&mut fields, "link", first.clone());
        }
        let below = if is_dir { enter(dir, name) } else { None };
        if is_dir && below.is_none() {
            put(&mut fields, "content", "unreadable".into());
        }
        self.nodes.insert(escape(path), fields);
        Ok(below)
    }
}

/// None without the right to list and search it: neither its names nor the way up would be there.
fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> Option<(OwnedFd, Vec<CString>)> {
    let child = open_dir(dir, name).ok()?;
    fs::statat(&child, ".", AtFlags::empty()).ok()?;
    let names = names(&child).ok()?;
    Some((child, names))
}

fn open_dir(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(at, name, flags, Mode::empty())?)
}

/// The names in descending order: they are taken from the end.
fn names(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let all = fs::Dir::read_from(dir)?.map(|entry| Ok(entry?.file_name().to_owned()));
    let mut all: Vec<CString> = all.collect::<io::Result<_>>()?;
    all.retain(|name| !matches!(name.to_bytes(), b"." | b".."));
    all.sort_by(|a, b| b.cmp(a));
    Ok(all)
}

fn put(fields: &mut Fields, name: &str, value: String) {
    fields.insert(name.into(), value);
}

fn describe(dir: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Fields {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut fields = Fields::new();
    put(&mut fields, "type", kind_name(kind).into());
    put(&mut fields, "mode", format!("{:04o}", stat.st_mode & 0o7777));
    put(&mut fields, "uid", stat.st_uid.to_string());
    put(&mut fields, "gid", stat.st_gid.to_string());
    put(&mut fields, "mtime", format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec));
    put(&mut fields, "ctime", format!("{}.{:09}", stat.st_ctime, stat.st_ctime_nsec));
    put(&mut fields, "nlink", stat.st_nlink.to_string());
    put(&mut fields, "blocks", stat.st_blocks.to_string());
    match kind {
        FileType::RegularFile => describe_file(&mut fields, dir, name, stat),
        FileType::Symlink => put(&mut fields, "target", target(dir, name)),
        FileType::CharacterDevice | FileType::BlockDevice => {
            put(&mut fields, "rdev", format!("{},{}", fs::major(stat.st_rdev), fs::minor(stat.st_rdev)));
        }
        _ => {}
    }
    // By way of /proc: short for any depth, and links, devices and FIFOs need no opening.
    let place = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    fields.extend(xattrs(&place));
    fields
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "unknown",
    }
}

fn target(dir: BorrowedFd<'_>, name: &OsStr) -> String {
    fs::readlinkat(dir, name, Vec::new()).map_or_else(|e| format!("error:{e}"), |t| escape(t.as_bytes()))
}

fn describe_file(fields: &mut Fields, dir: BorrowedFd<'_>, name: &OsStr, stat: &Stat) {
    put(fields, "size", stat.st_size.to_string());
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match fs::openat(dir, name, flags, Mode::empty()).map(File::from) {
        Ok(mut file) => {
            put(fields, "content", content(&mut file).unwrap_or_else(|e| format!("error:{e}")));
            if let Some(map) = data_map(&file, stat.st_size.cast_unsigned()) {
                put(fields, "holes", map);
            }
        }
        Err(_) => put(fields, "content", "unreadable".into()),
    }
}

fn content(file: &mut File) -> io::Result<String> {
    let mut start = Vec::new();
    file.take(INLINE as u64 + 1).read_to_end(&mut start)?;
    if start.len() <= INLINE {
        return Ok(escape(&start));
    }
    let mut hash = Sha256::new();
    hash.update(&start);
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    Ok(hash.finalize().iter().fold("sha256:".into(), |text, byte| format!("{text}{byte:02x}")))
}

/// Where the data lies (`start+length,...`), if there is a hole before the end.
fn data_map(file: &File, size: u64) -> Option<String> {
    if fs::seek(file, SeekFrom::Hole(0)).ok()? >= size {
        return None;
    }
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Ok(start) = fs::seek(file, SeekFrom::Data(at)) {
        at = fs::seek(file, SeekFrom::Hole(start)).ok()?;
        pieces.push(format!("{start}+{}", at - start));
    }
    Some(pieces.join(","))
}

fn xattrs(place: &Path) -> Vec<(String, String)> {
    let mut list = vec![0_u8; 1 << 16];
    let Ok(n) = fs::llistxattr(place, &mut list[..]) else { return Vec::new() };
    let names = list[..n].split(|&b| b == 0).filter(|name| !name.is_empty());
    names.map(|name| (format!("xattr.{}", escape(name)), xattr(place, name))).collect()
}

fn xattr(place: &Path, name: &[u8]) -> String {
    let mut value = vec![0_u8; 1 << 16];
    match fs::lgetxattr(place, name, &mut value[..]) {
        Ok(n) => escape(&value[..n]),
        Err(e) => format!("error:{e}"),
    }
}

/// Printable ASCII as it is; backslash, blank and everything else in hexadecimal.
pub(super) fn escape(bytes: &[u8]) -> String {
    let one = |&b: &u8| match b {
        b'\\' => "\\\\".to_owned(),
        b'!'..=b'~' => char::from(b).to_string(),
        _ => format!("\\x{b:02x}"),
    };
    bytes.iter().map(one).collect()
}
