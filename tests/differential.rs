//! Archives that GNU tar, bsdtar and Python make here and now, in each of their formats: extracted by us and by GNU
//! tar or bsdtar, the same trees in all fields. `differential/make.sh` makes them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{literal, untar};
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, compare_but};

/// Where we differ, and why: archive, beginning of the difference. One that does not occur is a failure, too.
const ALLOWED: &[(&str, &str)] = &[
    // libarchive 3.6 takes the fraction of a time before 1970 for one that adds to the seconds before the point, when
    // it writes and when it reads; POSIX, GNU tar and Go read `-2.75` as 2.75 s before. (The next test has GNU tar.)
    ("bsd-pax-names", "n/large-id: mtime -275248381.250000000 / -275248380.750000000"),
];

/// As many as `make.sh` makes: none is lost without a word.
const ARCHIVES: usize = 37;

fn archives() -> Option<(Scratch, Vec<PathBuf>)> {
    let tools = ["tar", "bsdtar", "python3", "setfacl", "setfattr", "setcap"];
    if !need_root() || !need_tools(&tools) {
        return None;
    }
    let scratch = Scratch::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/differential/make.sh");
    let output = Command::new("bash").arg(script).arg(scratch.path()).output().expect("bash");
    assert!(output.status.success(), "make.sh: {}", String::from_utf8_lossy(&output.stderr));
    let mut paths: Vec<PathBuf> =
        fs::read_dir(scratch.join("archives")).expect("archives").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    assert_eq!(paths.len(), ARCHIVES);
    Some((scratch, paths))
}

fn name(archive: &Path) -> String {
    archive.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// What we make of it.
fn ours(archive: &Path) -> Scratch {
    let scratch = Scratch::new();
    untar(scratch.path(), literal).apply_fd(File::open(archive).expect("archive")).expect("applied");
    scratch
}

/// What `tar` or `bsdtar` makes of it.
fn theirs(program: &str, archive: &Path) -> Scratch {
    let scratch = Scratch::new();
    let mut command = Command::new(program);
    command.args(["--numeric-owner", "--acls", "--xattrs", "-xpf"]).arg(archive).arg("-C").arg(scratch.path());
    if program == "tar" {
        command.arg("--xattrs-include=*");
    }
    let output = command.output().expect(program);
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    scratch
}

/// The root is not in the archives: its time is that of the run.
fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let mut lines = compare_but(ours, theirs, &[]);
    lines.retain(|line| !line.starts_with(".: mtime "));
    lines
}

#[test]
fn archives_of_other_tools_are_extracted_as_they_do() {
    let Some((_scratch, archives)) = archives() else { return };
    let mut unused = ALLOWED.to_vec();
    let mut wrong = Vec::new();
    for archive in &archives {
        let name = name(archive);
        let theirs = theirs(if name.starts_with("bsd") { "bsdtar" } else { "tar" }, archive);
        let (ours, theirs) = (Tree::read(ours(archive).path()), Tree::read(theirs.path()));
        assert!(theirs.paths().len() > 4, "{name}: {theirs}");
        for line in differences(&ours, &theirs) {
            let allowed = |(of, start): &(&str, &str)| *of == name && line.starts_with(start);
            let known = ALLOWED.iter().any(allowed);
            unused.retain(|entry| !allowed(entry));
            wrong.extend((!known).then(|| format!("{name}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "ours / theirs: {wrong:#?}");
    assert!(unused.is_empty(), "allowed, but not so: {unused:?}");
}

#[test]
fn archives_of_bsdtar_are_extracted_as_gnu_tar_does() {
    // Where bsdtar agrees with itself only. Its spelling of ACLs is not GNU tar's; and GNU tar gives a directory its
    // time before bsdtar's order of names makes the last hard link in it.
    let Some((_scratch, archives)) = archives() else { return };
    let of_bsdtar = archives.iter().filter(|path| name(path).starts_with("bsd") && !name(path).ends_with("attributes"));
    for archive in of_bsdtar {
        let (ours, theirs) = (Tree::read(ours(archive).path()), Tree::read(theirs("tar", archive).path()));
        let lines = compare_but(&ours, &theirs, &[But::Of("dir", "mtime")]);
        assert_eq!(lines, Vec::<String>::new(), "{}", name(archive));
    }
}

/// Rule 11: SEEK_HOLE agrees (`holes` is compared above), and so do the blocks that are used.
#[test]
fn sparse_files_of_gnu_tar_have_its_holes() {
    let Some((_scratch, archives)) = archives() else { return };
    let sparse: Vec<_> = archives.iter().filter(|path| name(path).contains("sparse")).collect();
    assert_eq!(sparse.len(), 6);
    for archive in sparse {
        let (ours, theirs) = (ours(archive), theirs("tar", archive));
        // Blocks are counted when they are allocated.
        rustix::fs::syncfs(File::open(ours.path()).expect("directory")).expect("syncfs");
        let (ours, theirs) = (Tree::read(ours.path()), Tree::read(theirs.path()));
        for file in ["h/only", "h/pieces", "h/many", "h/first", "h/none"] {
            let fields = |tree: &Tree| ["size", "holes", "blocks"].map(|field| tree.get(file, field).to_owned());
            assert_eq!(fields(&ours), fields(&theirs), "{}: {file}", name(archive));
            let dense = theirs.get(file, "size").parse::<u64>().expect("a size") / 512;
            let used: u64 = ours.get(file, "blocks").parse().expect("blocks");
            assert!(file == "h/none" || used < dense, "{file}: {used} blocks of {dense}");
        }
    }
}
