//! Nothing of the tree is loaded, and the helper's program cannot be changed.
//!
//! The program under test is the dynamic one: it has a loader, a C library and all that these would look for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Stopped, Trace};
use crate::support::privilege::{need_root, need_tool};
use crate::support::run::{copy_program, layer, literal, program_path};
use crate::support::scratch::Scratch;
use crate::support::tarball::{Tarball, bz2, gz, xz, zst};
use untar_in_root::{Isolation, Options, Program, Untar};

/// What a loader and a C library look for, each with something in it that they would take.
const PLANTED: &[(&str, &str)] = &[
    ("etc/ld.so.preload", "/lib/evil.so\n"),
    ("etc/ld.so.cache", "\0"),
    ("etc/ld.so.conf", "/lib\n"),
    ("etc/nsswitch.conf", "passwd: evil\ngroup: evil\nhosts: evil\n"),
    ("etc/passwd", "root:x:4711:4711::/:/bin/sh\n"),
    ("etc/group", "root:x:4711:\n"),
    ("etc/localtime", "TZif2"),
    ("etc/locale.alias", "C evil\n"),
    ("etc/gai.conf", "label ::1/128 0\n"),
    ("etc/resolv.conf", "nameserver 127.0.0.1\n"),
    ("etc/malloc.conf", "abort:true\n"),
    ("usr/lib/gconv/gconv-modules", "module INTERNAL UTF-8// evil 1\n"),
    ("usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache", "\0"),
    ("usr/lib/locale/locale-archive", "\0"),
    ("usr/lib/locale/C.utf8/LC_CTYPE", "\0"),
    ("usr/share/zoneinfo/UTC", "TZif2"),
];

/// Real libraries under these names: whoever opened one would load it.
const LIBRARIES: &[&str] = &[
    "lib/evil.so",
    "lib/libnss_evil.so.2",
    "lib/libnss_files.so.2",
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/x86_64-linux-gnu/libgcc_s.so.1",
    "lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/gconv/evil.so",
    "lib64/ld-linux-x86-64.so.2",
];

fn plant(dest: &Path) {
    let put = |name: &str, content: &[u8]| {
        let path = dest.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, content).expect("planted");
    };
    PLANTED.iter().for_each(|(name, content)| put(name, content.as_bytes()));
    let library = fs::read(mapped(&PathBuf::from("/proc/self")).last().expect("a library").0.clone()).expect("library");
    LIBRARIES.iter().for_each(|name| put(name, &library));
}

/// The libraries that a process has mapped: name and inode, the program itself left out.
fn mapped(proc: &Path) -> Vec<(String, u64)> {
    let maps = fs::read_to_string(proc.join("maps")).expect("maps");
    let mut files: Vec<(String, u64)> = maps
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode = fields.get(4)?.parse().ok().filter(|inode| *inode != 0)?;
            Some(((*fields.get(5)?).to_owned(), inode))
        })
        .filter(|(name, _)| name.contains(".so"))
        .collect();
    files.sort();
    files.dedup();
    files
}

/// With what could make a C library look something up: names of users, other alphabets, errors to be told.
fn archive() -> Vec<u8> {
    Tarball::new()
        .dir("étc")
        .file("étc/ß", "1")
        .with(|e| _ = e.pax("uname", "root").pax("gname", "evil").pax("hdrcharset", "ISO-IR 10646 2000 UTF-8"))
        .file("lib/x86_64-linux-gnu/libnss_files.so.2", "another")
        .symlink("usr/share/zoneinfo/UTC", "/etc/passwd")
        .build()
}

#[test]
fn strace_nothing_that_is_planted_is_opened_for_reading() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    for (options, switch) in [("pivot", "pivot_root("), ("chroot", "chroot(")] {
        let (trace, said) = Trace::on(options, &archive(), plant);
        said.succeeds();
        let threads = trace.helper();
        assert!(threads[0].iter().any(|line| line.contains("libc.so.6")), "the helper is a dynamic program");
        let at = threads[0].iter().position(|l| l.starts_with(switch)).expect("the switch");
        let after = threads[0][at..].iter().chain(threads[1..].iter().flatten());
        for line in after.filter(|line| line.starts_with("open")) {
            // Directories are opened, and files that are made; what is held by a path descriptor is not opened.
            let opened = ["O_DIRECTORY", "O_EXCL", "O_PATH"];
            assert!(opened.iter().any(|flag| line.contains(flag)), "{options}: {line}");
        }
        for line in threads[0][at..].iter().filter(|line| line.starts_with("mmap(")) {
            assert!(line.contains("MAP_ANON") || line.contains("PROT_NONE"), "{options}: {line}");
        }
    }
}

/// CVE-2014-9357, CVE-2026-41567: the decompressor was looked for in the root, which was another's by then.
#[test]
fn strace_no_decompressor_of_the_tree_is_run() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    const TOOLS: &[&str] =
        &["xz", "unxz", "gzip", "gunzip", "pigz", "unpigz", "igzip", "zstd", "unzstd", "bzip2", "tar"];
    let planted = |dest: &Path| {
        for dir in ["bin", "usr/bin", "usr/local/bin", "sbin"] {
            fs::create_dir_all(dest.join(dir)).expect("directory");
            for tool in TOOLS.iter().chain(&["sh", "untar-in-root"]) {
                fs::copy("/bin/true", dest.join(dir).join(tool)).expect("a program");
            }
        }
    };
    type Packer = fn(&[u8]) -> Vec<u8>;
    let packers: [Packer; 4] = [gz, xz, zst, bz2];
    for (pack, options) in packers.iter().flat_map(|pack| [(pack, "pivot"), (pack, "chroot")]) {
        let (trace, said) = Trace::on(options, &pack(&Tarball::new().file("f", "1").build()), planted);
        said.succeeds();
        for line in trace.helper().iter().flatten() {
            assert!(!line.starts_with("exec") && !line.starts_with("fork") && !line.starts_with("vfork"), "{line}");
            assert!(!line.starts_with("clone") || line.contains("CLONE_THREAD"), "{line}");
        }
    }
}

#[test]
fn no_library_is_mapped_that_was_not_before_the_switch() {
    if !need_root() {
        return;
    }
    for change in [literal as fn(&mut Options), |o| o.jail.isolation = Isolation::Chroot] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        plant(&dest);
        let stopped = Stopped::new(&dest, change);
        let files = mapped(&stopped.proc);
        assert!(files.iter().any(|(name, _)| name.contains("libc.so")), "the helper is a dynamic program: {files:?}");
        for name in LIBRARIES {
            let planted = fs::metadata(dest.join(name)).expect("planted").ino();
            assert!(files.iter().all(|(_, inode)| *inode != planted), "{name} is mapped: {files:?}");
        }
    }
}

#[test]
fn the_helpers_program_cannot_be_changed_through_the_archive() {
    if !need_root() {
        return;
    }
    // The worst place for it: in the root itself.
    for isolation in [Isolation::Pivot, Isolation::Chroot] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        let program = dest.join("helper");
        copy_program(&program_path(), &program);
        let kept = scratch.join("kept");
        fs::hard_link(&program, &kept).expect("hard link");
        let look = || {
            let stat = fs::metadata(&kept).expect("kept");
            let content = fs::read(&kept).expect("kept");
            (stat.ino(), stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.size(), content)
        };
        let before = look();
        let attack = Tarball::new()
            .hardlink("link", "helper")
            .with(|e| _ = e.mode(0o4777).uid(7))
            .file("link", "evil")
            .hardlink("again", "helper")
            .file("helper", "evil")
            .with(|e| _ = e.mode(0o4777).uid(7))
            .symlink("s", "helper")
            .file("s/x", "evil");
        let mut untar = Untar::open(&dest).expect("destination").program(Program::at(&program));
        layer(untar.options_mut());
        untar.options_mut().jail.isolation = isolation;
        let result = untar.apply(&attack.build()[..]);
        // The last entry goes through a file: everything before it was applied.
        assert!(result.is_err(), "{result:?}");
        assert_eq!(fs::read(&program).expect("the name").len(), 4);
        assert!(look() == before, "{isolation:?}: the program itself was changed");
    }
}

#[test]
fn no_descriptor_of_the_helper_leads_to_its_program() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let stopped = Stopped::new(&scratch.dir("dest"), literal);
    let exe = fs::metadata(stopped.proc.join("exe")).expect("program");
    let mut count = 0;
    for fd in fs::read_dir(stopped.proc.join("fd")).expect("descriptors").flatten() {
        let stat = fs::metadata(fd.path()).expect("descriptor");
        assert!((stat.dev(), stat.ino()) != (exe.dev(), exe.ino()), "{:?}", fd.path());
        count += 1;
    }
    assert!(count > 3, "{count}");
    // And there is no name for it either.
    assert!(!stopped.proc.join("root/proc").exists());
}
