//! A directory tree as text and as data, and what differs between two of them.
//!
//! Links are never followed, trees may be deeper than PATH_MAX, names need not be UTF-8
//! (they are escaped: `\xff`, `\\`, and blanks as `\x20`, so that a line splits at its blanks).

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What is known about one entry, by name: `type`, `mode`, `uid`, `gid`, `size`, `mtime`, `content`
/// (short: the text, else `sha256:`), `holes` (where the data lies, only with holes), `target`, `link`
/// (the first path of the same inode), `rdev`, `xattr.NAME`, and the quiet ones: `ctime`, `nlink`, `blocks`.
pub type Fields = BTreeMap<String, String>;

/// Fields that are read, but neither printed nor compared unless asked for.
const QUIET: [&str; 3] = ["ctime", "nlink", "blocks"];

/// What `compare` and `text` leave out.
#[derive(Clone, Copy)]
pub enum But {
    /// This field of all entries; a final `*` stands for any ending.
    Field(&'static str),
    /// This field of entries of this type only: `Of("dir", "mtime")`.
    Of(&'static str, &'static str),
    /// This path and everything below.
    Path(&'static str),
}

/// A tree that was read once; the root has the path `.`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Fields>,
}

impl Tree {
    /// The tree at this directory.
    ///
    /// # Panics
    /// When the directory cannot be opened.
    pub fn read(root: &Path) -> Tree {
        Self::read_except(root, &[])
    }

    /// The tree at this directory without these names directly below it.
    ///
    /// # Panics
    /// When the directory cannot be opened.
    pub fn read_except(root: &Path, without: &[&str]) -> Tree {
        Tree { nodes: read::walk(root, without).unwrap_or_else(|e| panic!("tree of {}: {e}", root.display())) }
    }

    /// Adds a fact of another kind, so that it is compared with the rest.
    pub fn note(&mut self, path: &str, fact: &str) {
        let fields = [("type", "note"), ("content", fact)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        self.nodes.insert(path.to_owned(), fields.into());
    }

    /// The paths, sorted.
    pub fn paths(&self) -> Vec<&str> {
        self.nodes.keys().map(String::as_str).collect()
    }

    /// Is there something at this (escaped) path?
    pub fn has(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// A field of a path; empty when either is missing.
    pub fn get(&self, path: &str, field: &str) -> &str {
        self.nodes.get(path).and_then(|fields| fields.get(field)).map_or("", String::as_str)
    }

    /// One sorted line for each entry, without these fields.
    pub fn text(&self, but: &[But]) -> String {
        let line = |(path, fields): (&String, &Fields)| {
            let kind = &fields["type"];
            let shown = fields.iter().filter(|(name, _)| *name != "type" && !left_out(but, kind, name));
            let rest: String = shown.map(|(name, value)| format!(" {name}={value}")).collect();
            format!("{path} {kind}{rest}\n")
        };
        self.nodes.iter().filter(|(path, _)| !path_left_out(but, path)).map(line).collect()
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&[]))
    }
}

/// `a/ a/f=hi g==a/f l->x p| c:1,3 b:7,0`, sorted, the root left out.
pub fn line(tree: &Tree) -> String {
    let one = |path: &&str| {
        let get = |field| tree.get(path, field);
        let link = get("link");
        match get("type") {
            _ if !link.is_empty() && link != *path => format!("{path}=={link}"),
            "dir" => format!("{path}/"),
            "symlink" => format!("{path}->{}", get("target")),
            "fifo" => format!("{path}|"),
            "char" | "block" => format!("{path}:{}", get("rdev")),
            _ => format!("{path}={}", get("content")),
        }
    };
    tree.paths().iter().filter(|path| **path != ".").map(one).collect::<Vec<_>>().join(" ")
}

/// Every difference, as a line that names path, field and both values.
pub fn compare(a: &Tree, b: &Tree) -> Vec<String> {
    compare_but(a, b, &[])
}

/// The differences, these left out.
pub fn compare_but(a: &Tree, b: &Tree, but: &[But]) -> Vec<String> {
    differences(a, b, but, left_out)
}

/// The differences with change time, link count and blocks: has anybody touched it at all?
pub fn compare_all(a: &Tree, b: &Tree, but: &[But]) -> Vec<String> {
    differences(a, b, but, named)
}

/// Fail with the differences, of which there should be none.
#[track_caller]
pub fn assert_same(what: &str, got: &Tree, want: &Tree, but: &[But]) {
    let lines = compare_but(got, want, but);
    let shown: String = lines.iter().take(40).map(|line| format!("  {line}\n")).collect();
    assert!(lines.is_empty(), "{what}: {} differences (got, want):\n{shown}", lines.len());
}

fn differences(a: &Tree, b: &Tree, but: &[But], skip: fn(&[But], &str, &str) -> bool) -> Vec<String> {
    let mut paths: Vec<_> = a.nodes.keys().chain(b.nodes.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut out = Vec::new();
    for path in paths.into_iter().filter(|path| !path_left_out(but, path)) {
        match (a.nodes.get(path), b.nodes.get(path)) {
            (Some(one), Some(other)) => out.extend(field_differences(path, one, other, |k, f| skip(but, k, f))),
            (Some(one), None) => out.push(format!("{path}: only in the first ({})", one["type"])),
            (None, Some(other)) => out.push(format!("{path}: only in the second ({})", other["type"])),
            (None, None) => {}
        }
    }
    out
}

fn field_differences(path: &str, a: &Fields, b: &Fields, skip: impl Fn(&str, &str) -> bool) -> Vec<String> {
    if a["type"] != b["type"] {
        return vec![format!("{path}: type {} / {}", a["type"], b["type"])];
    }
    let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| a.get(*name) != b.get(*name) && !skip(&a["type"], name));
    let line = |name: &String| format!("{path}: {name} {} / {}", value(a, name), value(b, name));
    names.into_iter().map(line).collect()
}

fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("none", String::as_str)
}

fn left_out(but: &[But], kind: &str, field: &str) -> bool {
    QUIET.contains(&field) || named(but, kind, field)
}

fn named(but: &[But], kind: &str, field: &str) -> bool {
    let matches = |pattern: &str| pattern.strip_suffix('*').map_or(pattern == field, |start| field.starts_with(start));
    but.iter().any(|but| match but {
        But::Field(pattern) => matches(pattern),
        But::Of(of, pattern) => *of == kind && matches(pattern),
        But::Path(_) => false,
    })
}

fn path_left_out(but: &[But], path: &str) -> bool {
    let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    but.iter().any(|but| matches!(but, But::Path(top) if below(top)))
}
