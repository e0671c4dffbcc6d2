//! What a store trusts is its own: whatever another user has made, or could change, is refused by name.

use super::{open, sample};
use crate::support::privilege::need_root;
use crate::support::run::{program, program_path};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, compare_all};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use untar_in_root::image::{Problem, Store};

/// What is put at a name.
type Damage<'a> = &'a dyn Fn(&Path);

const NAMES: [&str; 5] = ["version", "version.part", "lock", "layers", "images"];

/// How the program ends on a store, and what it says; `None` if it does not.
fn ends(arguments: &[&str], store: &Path) -> Option<(i32, String)> {
    let mut command = Command::new(program_path());
    command.args(arguments).arg(store).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut child, begun) = (command.spawn().expect("the program"), Instant::now());
    while child.try_wait().expect("the program").is_none() {
        if begun.elapsed() > Duration::from_secs(30) {
            child.kill().and_then(|()| child.wait()).expect("killed");
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("the program");
    Some((output.status.code()?, String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Both ways to come to a store are refused, and nothing outside has changed.
#[track_caller]
fn refused(scratch: &Scratch, what: &str, words: &str, store: &Path) {
    let before = Tree::read(&scratch.join("outside"));
    let oci = scratch.join("oci").display().to_string();
    for arguments in [&["image", "-q", &oci, "--store"][..], &["store", "gc"], &["store", "list"]] {
        let (code, said) = ends(arguments, store).unwrap_or_else(|| panic!("{what}: {arguments:?} hangs"));
        assert_ne!(code, 0, "{what}: {arguments:?}");
        // Who only looks finds no store where there is no version.
        let words = if arguments[0] == "store" && said.contains("no store") { "no store" } else { words };
        assert!(said.contains(words), "{what}: {arguments:?}: {said}");
    }
    let damage = compare_all(&Tree::read(&scratch.join("outside")), &before, &[]);
    assert!(damage.is_empty(), "{what}: {damage:#?}");
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    sample().write(&scratch.join("oci"));
    scratch.dir("outside/directory/precious");
    scratch.file("outside/directory/precious/file", "precious");
    scratch.file("outside/file", "untar-in-root store 1\n");
    for name in ["outside", "outside/directory"] {
        fs::set_permissions(scratch.join(name), fs::Permissions::from_mode(0o700)).expect("mode");
    }
    scratch
}

/// A store of our own.
fn own(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let place = scratch.join(name);
    let store = Store::open_or_make(&place).expect("store");
    open(&scratch.join("oci")).expect("opened").unpack().program(program()).into_store(&store, "x").expect("put");
    place
}

#[test]
fn foreign_store_of_another_user_is_refused() {
    if !need_root() {
        return;
    }
    let scratch = scratch();
    let empty = scratch.dir("empty");
    chown(&empty, Some(65534), Some(65534)).expect("owner");
    refused(&scratch, "empty", "belongs to user 65534", &empty);
    for name in NAMES {
        for (kind, target) in [("file", "outside/file"), ("directory", "outside/directory"), ("missing", "outside/new")]
        {
            let place = scratch.dir(format!("{name}-{kind}"));
            symlink(scratch.join(target), place.join(name)).expect("link");
            chown(&place, Some(65534), Some(65534)).expect("owner");
            refused(&scratch, &format!("{name} linked to a {kind}"), "belongs to user 65534", &place);
        }
    }
}

/// The store's directory is ours; what is in it is not, or others could have put it there.
#[test]
fn foreign_state_in_a_store_is_refused() {
    if !need_root() {
        return;
    }
    let scratch = scratch();
    for name in ["version", "lock", "layers", "images"] {
        let is_file = matches!(name, "version" | "lock");
        let target = scratch.join(if is_file { "outside/file" } else { "outside/directory" });
        let damage: [(&str, &str, Damage<'_>); 5] = [
            ("a link", "symlink", &|path| symlink(&target, path).expect("link")),
            ("a FIFO", if is_file { "no regular file" } else { "no directory" }, &|path| {
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
            }),
            ("another user's", "belongs to user 65534", &|path| {
                make(path, is_file);
                chown(path, Some(65534), None).expect("owner");
            }),
            ("open to others", "others may write", &|path| {
                make(path, is_file);
                fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("mode");
            }),
            ("a hardlink", if is_file { "hardlinks" } else { "no directory" }, &|path| {
                fs::hard_link(scratch.join("outside/file"), path).expect("link");
            }),
        ];
        for (kind, words, damage) in damage {
            let place = own(&scratch, &format!("{name}-{kind}"));
            fs::rename(place.join(name), scratch.join(format!("was-{name}-{kind}"))).expect("renamed");
            damage(&place.join(name));
            refused(&scratch, &format!("{name}: {kind}"), words, &place);
            fs::remove_dir_all(place).expect("removed");
        }
    }
}

fn make(path: &Path, is_file: bool) {
    if is_file { fs::write(path, "untar-in-root store 1\n").expect("file") } else { fs::create_dir(path).expect("dir") }
}

#[test]
fn foreign_place_of_a_store_is_refused() {
    if !need_root() {
        return;
    }
    let scratch = scratch();
    let store = own(&scratch, "store");
    let link = scratch.join("link");
    symlink(&store, &link).expect("link");
    refused(&scratch, "a link to a store", "symlink", &link);
    let fifo = scratch.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    refused(&scratch, "a FIFO", "no directory", &fifo);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o770)).expect("mode");
    refused(&scratch, "open to a group", "others may write", &store);
}

/// What is left of an earlier write is not written through, whatever it is.
#[test]
fn foreign_part_of_a_file_is_replaced() {
    if !need_root() {
        return;
    }
    let scratch = scratch();
    let place = scratch.dir("store");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).expect("mode");
    symlink(scratch.join("outside/file"), place.join("version.part")).expect("link");
    let before = Tree::read(&scratch.join("outside"));
    Store::open_or_make(&place).expect("made");
    assert!(!place.join("version").is_symlink() && !place.join("version.part").is_symlink());
    assert!(compare_all(&Tree::read(&scratch.join("outside")), &before, &[]).is_empty());
}

/// Whoever owns the directory beside may rename a store that is open: that changes where it is, not which one it is.
#[test]
fn foreign_name_of_an_open_store_changes_nothing() {
    if !need_root() {
        return;
    }
    let scratch = scratch();
    let place = own(&scratch, "store");
    let store = Store::open(&place).expect("store");
    fs::rename(&place, scratch.join("renamed")).expect("renamed");
    symlink(scratch.join("outside/directory"), &place).expect("link");
    let before = Tree::read(&scratch.join("outside"));
    assert_eq!(store.images().expect("images"), ["x"]);
    assert!(store.forget("x").expect("forgotten"));
    assert_eq!(store.gc(Some(program())).expect("gc").layers.len(), 3);
    assert!(compare_all(&Tree::read(&scratch.join("outside")), &before, &[]).is_empty());
    assert!(matches!(Store::open(&place).expect_err("a link").image_problem(), Some(Problem::Store(_))));
}
