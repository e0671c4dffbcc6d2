use super::*;
use nix::fcntl::AT_FDCWD;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("untar-in-root-staging-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("scratch");
    dir
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("scratch").count()
}

fn inside(dir: &Path) -> Staging {
    Staging::inside(&Opened::named(dir).expect("scratch"), nobody()).expect("made")
}

/// Nobody has more rights.
fn nobody() -> Emptier {
    Arc::new(|_, _| {})
}

/// Of mode 0700, with such a name.
fn private(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(format!("{PREFIX}{name}"));
    std::fs::DirBuilder::new().mode(0o700).create(&path).expect("scratch");
    path
}

/// As a killed process leaves it.
fn dead(dir: &Path, name: &str) -> PathBuf {
    let path = private(dir, name);
    let held = Opened::named(&path).expect("scratch");
    let name = path.file_name().expect("a name");
    mark::make(held.as_fd(), name, &fstat(&held).expect("scratch")).expect("marked").expect("marked");
    path
}

#[test]
fn whole_or_not_at_all() {
    let dir = scratch("whole");
    let place = Place::open(&dir.join("result")).expect("vacant");
    drop(Staging::beside(&place, nobody()).expect("made"));
    assert_eq!(names(&dir), 0);
    let (staging, root) = Staging::beside(&place, nobody()).expect("made");
    assert_eq!(std::fs::metadata(staging.path()).expect("there").mode() & 0o777, 0o700);
    fchmod(&root.dir, Bits::from_bits_truncate(0o750)).expect("mine");
    staging.commit(&root, &place, true).expect("committed");
    assert_eq!(names(&dir), 1);
    // Empty: its mode is kept. Filled in between: refused at the end, and nothing left.
    let (staging, root) = Staging::beside(&place, nobody()).expect("empty");
    staging.commit(&root, &place, false).expect("committed");
    assert_eq!(std::fs::metadata(dir.join("result")).expect("there").mode() & 0o777, 0o750);
    let (staging, root) = Staging::beside(&place, nobody()).expect("empty");
    std::fs::write(dir.join("result/file"), b"").expect("scratch");
    assert_eq!(staging.commit(&root, &place, false).expect_err("filled").kind(), ErrorKind::Root);
    assert_eq!(names(&dir), 1);
    std::fs::remove_dir_all(dir).expect("scratch");
}

#[test]
fn places_that_are_taken() {
    let dir = scratch("taken");
    std::fs::create_dir_all(dir.join("full/x")).expect("scratch");
    std::fs::create_dir_all(dir.join("empty")).expect("scratch");
    std::fs::write(dir.join("file"), b"").expect("scratch");
    symlink("empty", dir.join("link")).expect("scratch");
    symlink("nowhere", dir.join("dangling")).expect("scratch");
    for (name, errno) in [
        ("full", Errno::ENOTEMPTY),
        ("file", Errno::EEXIST),
        ("link", Errno::EEXIST),
        ("dangling", Errno::EEXIST),
        ("missing/place", Errno::ENOENT),
        ("file/place", Errno::ENOTDIR),
        ("..", Errno::EINVAL),
    ] {
        let error = Place::open(&dir.join(name)).err().expect(name);
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Root, Some(errno as i32)), "{name}");
    }
    for path in [Path::new("/"), Path::new("."), Path::new(""), Path::new("/proc")] {
        assert_eq!(Place::open(path).err().expect("no place").kind(), ErrorKind::Root);
    }
    for name in ["empty", "new", "new/"] {
        Place::open(&dir.join(name)).expect(name);
    }
    std::fs::remove_dir_all(dir).expect("scratch");
}

#[test]
fn what_dead_processes_left_goes_and_what_live_ones_hold_stays() {
    let dir = scratch("sweep");
    std::fs::create_dir_all(dead(&dir, "dead").join("deep/er")).expect("scratch");
    let alive = inside(&dir);
    assert_eq!(names(&dir), 1);
    let other = inside(&dir);
    assert!(alive.path().exists() && other.path().exists());
    drop((alive, other));
    assert_eq!(names(&dir), 0);
    std::fs::remove_dir_all(dir).expect("scratch");
}

#[test]
fn a_name_alone_is_no_reason_to_remove() {
    let dir = scratch("names");
    let open = private(&dir, "open");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("scratch");
    std::fs::create_dir(dir.join("treasure")).expect("scratch");
    symlink("treasure", dir.join(format!("{PREFIX}link"))).expect("scratch");
    std::fs::write(dir.join(format!("{PREFIX}file")), b"").expect("scratch");
    drop(inside(&dir));
    assert_eq!(names(&dir), 4);
    std::fs::remove_dir_all(dir).expect("scratch");
}

/// What is of root's own, and renamed by who owns the directory that it is in.
#[test]
fn what_we_have_not_marked_is_not_ours_to_remove() {
    let dir = scratch("unmarked");
    let precious = private(&dir, "0123456789abcdef").join("precious");
    std::fs::write(&precious, b"").expect("scratch");
    // A mark that belongs to another name, to another inode; a file of its name.
    let moved = dead(&dir, "before");
    std::fs::write(moved.join("kept"), b"").expect("scratch");
    let moved_to = dir.join(format!("{PREFIX}after"));
    std::fs::rename(&moved, &moved_to).expect("scratch");
    let copied = private(&dir, "copied");
    let mark = |dir: &Path, of: &Path| {
        let stat = nix::sys::stat::stat(of).expect("scratch");
        dir.join(mark::name(dir.file_name().expect("a name"), &stat))
    };
    std::fs::write(mark(&copied, &copied), b"").expect("scratch");
    let other = private(&dir, "other");
    let other_mark = mark(&other, &copied);
    nix::sys::stat::mknod(&other_mark, nix::sys::stat::SFlag::S_IFSOCK, Bits::S_IRUSR, 0).expect("scratch");
    // Empty, killed before it was marked.
    let empty = private(&dir, "empty");
    drop(inside(&dir));
    assert!(precious.exists() && moved_to.join("kept").exists() && mark(&copied, &copied).exists());
    assert!(other_mark.exists() && !empty.exists());
    std::fs::remove_dir_all(dir).expect("scratch");
}

#[test]
fn what_was_there_before_is_not_taken_for_what_was_made() {
    let dir = scratch("before");
    let parent = Opened::named(&dir).expect("scratch");
    let claim = |path: &Path| {
        let name = path.file_name().expect("a name");
        take(parent.as_fd(), name).map_err(exchanged).and_then(|taken| taken.claim(name, Instant::now()))
    };
    let open = private(&dir, "open");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("scratch");
    let full = private(&dir, "full");
    std::fs::write(full.join("file"), b"").expect("scratch");
    let old = private(&dir, "old");
    let time = std::time::SystemTime::now() - Duration::from_secs(60);
    File::open(&old).and_then(|dir| dir.set_modified(time)).expect("scratch");
    let link = dir.join(format!("{PREFIX}link"));
    symlink(&full, &link).expect("scratch");
    let file = dir.join(format!("{PREFIX}file"));
    std::fs::write(&file, b"").expect("scratch");
    for path in [&open, &full, &old, &link, &file] {
        assert_eq!(claim(path), Err(Errno::ESTALE), "{}", path.display());
    }
    assert_eq!(names(&old), 0);
    assert!(claim(&private(&dir, "new")).expect("new").is_some());
    std::fs::remove_dir_all(dir).expect("scratch");
}

#[test]
fn removal_needs_no_more_the_deeper_it_is_and_follows_no_link() {
    let dir = scratch("deep");
    std::fs::write(dir.join("treasure"), b"").expect("scratch");
    let left = dead(&dir, "deep");
    // Of an earlier removal that was interrupted.
    std::fs::create_dir_all(left.join("away-0/x")).expect("scratch");
    std::fs::write(left.join("away-1"), b"").expect("scratch");
    let mut at = openat(AT_FDCWD, &left, DIRECTORY, Bits::empty()).expect("scratch");
    for _ in 0..5000 {
        nix::unistd::symlinkat(&*dir, &at, "link").expect("scratch");
        mkdirat(&at, "d", Bits::S_IRWXU).expect("scratch");
        at = openat(&at, "d", DIRECTORY, Bits::empty()).expect("scratch");
    }
    drop(inside(&dir));
    assert_eq!(names(&dir), 1);
    std::fs::remove_dir_all(dir).expect("scratch");
}
