//! Destinations on which the inode number of a directory changes once nobody holds it: an overlayfs whose layers lie on
//! different file systems, with the kernel's caches emptied while the archive stalls.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use untar_in_root::{Cause, Error, Report};

use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::process::{my_helper_on, wait_until};
use crate::support::run::{apply, literal, program, program_after, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// More than are kept open.
const DIRECTORIES: usize = 400;

/// An overlayfs over two file systems; these directories are in its lower layer.
fn overlay(scratch: &Scratch, lower: impl FnOnce(&Path)) -> PathBuf {
    let (below, above) =
        (scratch.tmpfs("below", 64 << 20).expect("tmpfs"), scratch.tmpfs("above", 64 << 20).expect("tmpfs"));
    let [upper, work] = ["upper", "work"].map(|name| scratch.dir(above.join(name)));
    lower(&below);
    let merged = scratch.dir("merged");
    let layers = format!("lowerdir={},upperdir={},workdir={}", below.display(), upper.display(), work.display());
    let options = CString::new(format!("{layers},xino=off")).expect("no NUL");
    mount("overlay", &merged, "overlay", MountFlags::empty(), Some(options.as_c_str())).expect("overlayfs");
    merged
}

/// Empties the kernel's caches until a directory that nobody holds has another number. Says so where that cannot be.
fn forget(merged: &Path) -> bool {
    let number = || fs::metadata(merged.join("other")).expect("a directory").ino();
    let before = number();
    for _ in 0..200 {
        if fs::write("/proc/sys/vm/drop_caches", "2").is_err() {
            break;
        }
        if number() != before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    skip("the kernel's caches cannot be emptied here")
}

/// Directories with a file in each, and once more with another.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let names = || (0..DIRECTORIES).map(|i| format!("d{i}"));
    let first = Tarball::new().dir("new").with(|e| _ = e.mode(0o700)).file("new/f1", "1");
    let first = names().fold(first, |tar, name| tar.dir(&name).file(format!("{name}/f1"), "1"));
    let second = names().fold(Tarball::new().file("new/f2", "2"), |tar, name| tar.file(format!("{name}/f2"), "2"));
    (first.no_end().build(), second.build())
}

/// Applies one half, does something while nothing comes, and applies the other. `None`: it cannot be tried here.
fn interrupted(
    scratch: &Scratch,
    merged: &Path,
    commands: &str,
    meanwhile: impl FnOnce(),
) -> Option<Result<Report, Error>> {
    let (first, second) = halves();
    let helper = if commands.is_empty() { program() } else { program_after(scratch, commands) };
    let mut session = untar(merged, literal).program(helper).spawn().expect("helper");
    session.write_all(&first).expect("the first half");
    let last = merged.join(format!("d{}/f1", DIRECTORIES - 2));
    wait_until("the first half is applied", || last.exists());
    meanwhile();
    if !forget(merged) {
        return None;
    }
    // One that fails early reads no more.
    let _ = session.write_all(&second);
    Some(session.finish())
}

fn in_lower(below: &Path) {
    for name in (0..DIRECTORIES).map(|i| format!("d{i}")).chain(["other".to_owned()]) {
        fs::create_dir(below.join(name)).expect("lower directory");
    }
}

fn files(merged: &Path) -> usize {
    let each = |name: &str| (0..DIRECTORIES).filter(|i| merged.join(format!("d{i}/{name}")).exists()).count();
    each("f1") + each("f2")
}

/// With descriptors enough for all, for some and for none.
const DESCRIPTORS: [&str; 3] = ["", "ulimit -n 200", "ulimit -n 48"];

#[test]
fn directories_that_have_another_number_when_they_are_come_back_to_are_the_same() {
    if !need_root() {
        return;
    }
    for commands in DESCRIPTORS {
        let scratch = Scratch::new();
        let merged = overlay(&scratch, in_lower);
        let Some(result) = interrupted(&scratch, &merged, commands, || ()) else { return };
        result.unwrap_or_else(|error| panic!("{commands}: {error}"));
        assert_eq!(files(&merged), 2 * DIRECTORIES, "{commands}");
    }
}

/// Elsewhere a number says which directory it is, and costs no descriptor.
#[test]
fn left_directories_are_held_only_where_numbers_change() {
    if !need_root() {
        return;
    }
    let held = |merged: &Path| {
        let pid = my_helper_on(merged).expect("a helper");
        fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count()
    };
    let scratch = Scratch::new();
    let (merged, mut there) = (overlay(&scratch, in_lower), 0);
    let Some(result) = interrupted(&scratch, &merged, "", || there = held(&merged)) else { return };
    result.expect("applied");
    assert!((250..DIRECTORIES + 50).contains(&there), "{there}");
    let plain = scratch.tmpfs("plain", 64 << 20).expect("tmpfs");
    fs::create_dir(plain.join("other")).expect("directory");
    let (first, _) = halves();
    let mut session = untar(&plain, literal).spawn().expect("helper");
    session.write_all(&first).expect("the first half");
    let last = plain.join(format!("d{}/f1", DIRECTORIES - 2));
    wait_until("the first half is applied", || last.exists());
    assert!(held(&plain) < 192 + 30, "{}", held(&plain));
    drop(session);
}

/// Somebody who may rename in the destination puts a directory of his own to the name of one that was left.
#[test]
fn another_directory_at_the_name_gets_nothing() {
    if !need_root() {
        return;
    }
    for (commands, mode) in [("", 0o777), ("ulimit -n 48", 0o777), ("ulimit -n 48", 0o700)] {
        let scratch = Scratch::new();
        let merged = overlay(&scratch, in_lower);
        let (place, aside) = (merged.join("new"), merged.join("aside"));
        let exchange = || {
            fs::rename(&place, &aside).and_then(|()| fs::create_dir(&place)).expect("exchange");
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("mode");
            chown(&place, Some(1000), Some(1000)).expect("owner");
        };
        let Some(result) = interrupted(&scratch, &merged, commands, exchange) else { return };
        assert!(!place.join("f2").exists(), "{commands}: it was written to");
        match result {
            // What is held is the directory that it was, wherever it is now.
            Ok(_) if commands.is_empty() => assert!(aside.join("f2").exists()),
            Err(error) if !commands.is_empty() => {
                let cause = error.failure().map(|failure| &failure.cause);
                assert!(matches!(cause, Some(Cause::Exchanged { .. })), "{commands}: {error}");
            }
            other => panic!("{commands}: {other:?}"),
        }
        let stat = fs::metadata(&place).expect("the other");
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (mode, 1000), "{commands}");
    }
}

/// Root's own, of the same mode: what it would hand down is asked again.
#[test]
fn a_directory_that_is_looked_at_anew_hands_nothing_down() {
    if !need_root() || !need_tools(&["setfacl"]) {
        return;
    }
    let scratch = Scratch::new();
    let merged = overlay(&scratch, in_lower);
    let place = merged.join("new");
    let exchange = || {
        fs::rename(&place, merged.join("aside")).and_then(|()| fs::create_dir(&place)).expect("exchange");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).expect("mode");
        let acl = Command::new("setfacl").args(["-d", "-m", "user:1000:rwx"]).arg(&place).status().expect("setfacl");
        assert!(acl.success());
    };
    let Some(result) = interrupted(&scratch, &merged, "ulimit -n 48", exchange) else { return };
    result.expect("applied");
    let acl = rustix::fs::getxattr(place.join("f2"), "system.posix_acl_access", &mut [0u8; 64]);
    assert!(acl.is_err(), "{acl:?}");
}

/// What has several names in a lower layer has another number once it is linked to.
#[test]
fn a_hardlink_to_a_lower_file_with_several_names_is_one() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let merged = overlay(&scratch, |below| {
        fs::write(below.join("a"), "1").and_then(|()| fs::hard_link(below.join("a"), below.join("b"))).expect("lower");
    });
    let archive = Tarball::new().hardlink("c", "a").hardlink("d", "c").hardlink("b", "a");
    apply(&merged, &archive.build(), literal).expect("applied");
    let number = |name: &str| fs::metadata(merged.join(name)).expect("a file").ino();
    assert_eq!([number("b"), number("c"), number("d")], [number("a"); 3]);
}
