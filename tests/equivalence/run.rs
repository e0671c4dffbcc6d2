//! The three ways, and what differs between them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, setxattr, utimensat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use untar_in_root::{Error, Mode, Options, OverlayPrefix, Program, Untar};

use super::generate::{Case, Item, content, skipped, tar};
use super::model::{BEGINNING, Failed, Links, Model};
use crate::support::privilege;
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;

type Lines = BTreeMap<String, String>;

/// Where sequences are tried.
pub struct Bench {
    scratch: Scratch,
    /// A tmpfs is mounted for each sequence; else a directory is made.
    tmpfs: bool,
    sequences: Cell<u64>,
    layers: Cell<u64>,
    entries: Cell<u64>,
    failing: Cell<u64>,
}

impl Bench {
    /// `None` where overlayfs cannot be mounted.
    pub fn new() -> Option<Bench> {
        if !privilege::need_root() {
            return None;
        }
        let scratch = Scratch::new();
        let probe = scratch.tmpfs("probe", 1 << 20).expect("tmpfs");
        let tmpfs = setxattr(&probe, "user.probe", b"x", XattrFlags::empty()).is_ok();
        unmount(&probe, UnmountFlags::DETACH).expect("unmount");
        let zero = || Cell::new(0);
        Some(Bench { scratch, tmpfs, sequences: zero(), layers: zero(), entries: zero(), failing: zero() })
    }

    pub fn tally(&self) -> String {
        let Bench { sequences, layers, entries, failing, .. } = self;
        let (sequences, layers, entries, failing) = (sequences.get(), layers.get(), entries.get(), failing.get());
        format!("{sequences} sequences, {layers} layers, {entries} entries, {failing} that end in a failure")
    }

    /// Applies a sequence in the three ways; what differs.
    pub fn check(&self, case: &Case) -> Result<(), String> {
        let place = if self.tmpfs {
            self.scratch.tmpfs("work", 64 << 20).map_err(|e| e.to_string())?
        } else {
            self.scratch.dir("work")
        };
        let result = self.check_at(&place, case).map_err(|text| format!("{case:?}{text}"));
        if self.tmpfs {
            unmount(&place, UnmountFlags::DETACH).map_err(|e| e.to_string())?;
        } else {
            fs::remove_dir_all(&place).map_err(|e| e.to_string())?;
        }
        result
    }

    fn check_at(&self, place: &Path, case: &Case) -> Result<(), String> {
        let count = |counter: &Cell<u64>, n: usize| counter.set(counter.get() + n as u64);
        count(&self.sequences, 1);
        let make = |name: String| {
            let path = place.join(name);
            fs::create_dir(&path).map_err(|e| e.to_string())?;
            let time = Timespec { tv_sec: BEGINNING.0, tv_nsec: BEGINNING.1.into() };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &path, &times, AtFlags::empty()).map_err(|e| e.to_string())?;
            Ok::<PathBuf, String>(path)
        };
        let one = make("one".into())?;
        let mut lowers = vec![make("base".into())?];
        let mut model = Model::new(case.switches);
        for (number, layer) in case.layers.iter().enumerate() {
            count(&self.layers, 1);
            count(&self.entries, layer.len());
            let after = model_of(&model, layer, number);
            if after.is_err() {
                // What was there before is compared, for what the failure leaves behind is nobody's promise.
                compare(place, &model, &one, &lowers, case)?;
            }
            let archive = tar(layer, number, case.large);
            let (before, _) = skipped(number, case.large);
            let upper = make(format!("u{number}"))?;
            let in_layer = apply(&one, &archive, Mode::Layer, case);
            let in_overlay = apply(&upper, &archive, overlay(&lowers, case), case);
            match (after, in_layer, in_overlay) {
                (Ok(after), Ok(()), Ok(())) => model = after,
                (Err((_, at)), Err(l), Err(o)) if [&l, &o].map(entry) == [Some(before + at); 2] => {
                    count(&self.failing, 1);
                    return Ok(());
                }
                (after, l, o) => {
                    let text = |result: Result<(), Error>| result.map_or_else(|e| e.to_string(), |()| "fine".into());
                    let after = after.map_or_else(|e| format!("{e:?}"), |_| "fine".into());
                    return Err(format!("layer {number}: model {after}\nlayer: {}\noverlay: {}", text(l), text(o)));
                }
            }
            lowers.insert(0, upper);
        }
        compare(place, &model, &one, &lowers, case)
    }
}

fn model_of(model: &Model, layer: &[Item], number: usize) -> Result<Model, (Failed, u64)> {
    let mut model = model.clone();
    model.begin_layer();
    for (at, item) in layer.iter().enumerate() {
        model.apply(item, &content(number, at)).map_err(|failed| (failed, at as u64))?;
    }
    Ok(model)
}

/// Which entry failed.
fn entry(error: &Error) -> Option<u64> {
    error.failure()?.entry.as_ref()?.index
}

fn overlay(lowers: &[PathBuf], case: &Case) -> Mode {
    let prefix = if case.userxattr { OverlayPrefix::User } else { OverlayPrefix::Auto };
    Mode::Overlay(crate::support::run::over(lowers).prefix(prefix))
}

fn apply(root: &Path, archive: &[u8], mode: Mode, case: &Case) -> Result<(), Error> {
    let mut options = Options::default();
    options.mode = mode;
    options.trusted_xattrs = true;
    options.writers = std::num::NonZeroU32::new(case.writers);
    options.keep_directory_symlink = case.switches.keep_links;
    options.no_overwrite_dir_nondir = case.switches.no_overwrite;
    let program = Program::at(env!("CARGO_BIN_EXE_untar-in-root"));
    Untar::open(root)?.program(program).options(options).apply(archive).map(drop)
}

fn compare(place: &Path, model: &Model, one: &Path, lowers: &[PathBuf], case: &Case) -> Result<(), String> {
    let mut text = String::new();
    difference(&mut text, "layer mode", &lines(one)?, &model.lines(Links::Layer));
    // A read-only overlay wants two layers at least.
    if lowers.len() > 1 {
        let mounted = place.join("merged");
        _ = fs::create_dir(&mounted);
        let paths: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
        let extra = if case.userxattr { ",userxattr" } else { "" };
        let options = CString::new(format!("lowerdir={}{extra}", paths.join(":"))).map_err(|e| e.to_string())?;
        mount("overlay", &mounted, "overlay", MountFlags::RDONLY, Some(options.as_c_str()))
            .map_err(|e| e.to_string())?;
        let seen = lines(&mounted);
        unmount(&mounted, UnmountFlags::DETACH).map_err(|e| e.to_string())?;
        difference(&mut text, "overlay, mounted", &seen?, &model.lines(Links::Overlay));
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

fn difference(text: &mut String, what: &str, seen: &Lines, model: &Lines) {
    let nothing = "nothing".to_owned();
    let mut paths: Vec<&String> = seen.keys().chain(model.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let (real, wanted) = (seen.get(path).unwrap_or(&nothing), model.get(path).unwrap_or(&nothing));
        if real != wanted {
            _ = writeln!(text, "{path}\n    {what:>16}: {real}\n    {:>16}: {wanted}", "model");
        }
    }
}

/// The tree as lines; hardlinks to names that cannot be seen are none.
fn lines(root: &Path) -> Result<Lines, String> {
    // A name that is listed but not there: a whiteout in a directory that merges nothing.
    let tree = std::panic::catch_unwind(|| Tree::read(root));
    let tree = tree.map_err(|panic| panic.downcast::<String>().map_or_else(|_| "panic".to_owned(), |text| *text))?;
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    for path in tree.paths() {
        *groups.entry(tree.get(path, "link")).or_default() += 1;
    }
    let text = tree.text(&[]);
    let line = |line: &str| {
        let (path, rest) = line.split_once(' ').expect("path and type");
        let alone = groups.get(tree.get(path, "link")) == Some(&1);
        let (kind, fields) = rest.split_once(' ').expect("type and fields");
        let mut fields: Vec<&str> = fields.split(' ').filter(|f| !(alone && f.starts_with("link="))).collect();
        fields.sort_unstable();
        (path.to_owned(), format!("{kind} {}", fields.join(" ")))
    };
    Ok(text.lines().map(line).collect())
}
