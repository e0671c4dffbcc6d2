//! Hints are true: each in the situation that it is for; then what it says is done, and that helps.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::libc;
use rustix::mount::{MountFlags, mount, mount_bind};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{Dest, Ran, can_run, feed, program};
use crate::support::privilege::{need_root, need_tools, skip};
use crate::support::run::{copy_program, program_path};
use crate::support::tarball::{Tarball, gz};

const SETTING_ATTRIBUTES: &[i64] = &[libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr];

/// Says all of these, and none of those.
#[track_caller]
fn says(ran: &Ran, words: &[&str], never: &[&str]) {
    assert!(!ran.status.success(), "it succeeded");
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is not in {:?}", ran.err);
    }
    for word in never {
        assert!(!ran.err.contains(word), "{word:?} is in {:?}", ran.err);
    }
}

/// One call, or only some of its uses: those in which this argument has one of these bits.
type Denied = (i64, Option<(u8, u64)>);

fn all(calls: &[i64]) -> Vec<Denied> {
    calls.iter().map(|call| (*call, None)).collect()
}

/// Runs where a filter answers these calls so, as a service manager's or a container's does.
fn under(denied: &[Denied], errno: i32, command: &mut Command, archive: &[u8]) -> Ran {
    let mut rules = std::collections::BTreeMap::<i64, Vec<SeccompRule>>::new();
    for (call, bits) in denied {
        let conditions = bits.iter().flat_map(|(argument, mask)| {
            (0..64).map(|bit| 1 << bit).filter(move |bit| mask & bit != 0).map(|bit| (*argument, bit))
        });
        let rule = |(argument, bit): (u8, u64)| {
            let has = SeccompCmpOp::MaskedEq(bit);
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, has, bit).expect("a condition");
            SeccompRule::new(vec![condition]).expect("a rule")
        };
        rules.entry(*call).or_default().extend(conditions.map(rule));
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known processor");
    let errno = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).expect("a filter");
    let filter = BpfProgram::try_from(filter).expect("a filter");
    // It binds the thread that installs it, and what that starts.
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            seccompiler::apply_filter(&filter).expect("a filter");
            feed(command, archive)
        });
        filtered.join().expect("a run")
    })
}

/// The options given, the archive, the hint, and the options that follow it.
type Row<'a> = (&'a [&'a str], &'a [u8], &'a str, &'a [&'a str]);

/// The options that are named are the ones that help, and what was given is not named again.
#[test]
fn options_that_are_named_help() {
    if !can_run() {
        return;
    }
    let large = Tarball::new().file("f", "x").with(|e| _ = e.xattr("user.a", vec![b'v'; 70_000])).build();
    let zeros = gz(&Tarball::new().file("zeros", vec![0; 80 << 20]).build());
    let map = ["--uid-map", "0:0:1", "--gid-map", "0:0:65536"];
    let owned = Tarball::new().file("f", "x").with(|e| _ = e.uid(7)).build();
    let sized = Tarball::new().symlink("l", "t").with(|e| _ = e.size(512)).build();
    let over = Tarball::new().dir("d").file("d", "x").build();
    let rows: &[Row<'_>] = &[
        (&[], &Tarball::new().file("../f", "x").build(), "--escaping-names clamp", &["--escaping-names", "clamp"]),
        (
            &[],
            &Tarball::new().file("f", "x").hardlink("l", "../f").build(),
            "--escaping-names clamp",
            &["--escaping-names", "clamp"],
        ),
        (&["--compression", "zstd"], &owned, "--compression auto", &["--compression", "auto", "--no-same-owner"]),
        (&map, &owned, "--uid-map, --chown or --no-same-owner", &["--no-same-owner"]),
        (&map, &owned, "--uid-map, --chown or --no-same-owner", &["--chown", "0:0"]),
        (&["--strict-sizes"], &sized, "do without --strict-sizes", &[]),
        (&["--no-overwrite-dir-nondir"], &over, "do without --no-overwrite-dir-nondir", &[]),
        (&["--exclude", "f"], &Tarball::new().file("f", "x").hardlink("l", "f").build(), "--exclude", &[]),
        (&["--max-ratio", "2"], &zeros, "--max-ratio", &["--max-ratio", "none"]),
        (&[], &large, "--max-xattr-bytes with --xattrs none", &["--max-xattr-bytes", "1M", "--xattrs", "none"]),
    ];
    for (given, archive, hint, followed) in rows {
        says(&Dest::new().run(given, archive), &[hint], &[]);
        Dest::new().run(followed, archive).ended(0, "");
    }
}

/// A tar in a frame whose window has 256 MiB: `zstd --long=28`.
fn wide(tar: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3];
    let header = (tar.len() as u32) << 3 | 1;
    frame.extend_from_slice(&header.to_le_bytes()[..3]);
    frame.extend_from_slice(tar);
    frame
}

#[test]
fn a_window_that_is_too_large_is_no_matter_of_options() {
    if !can_run() || !need_tools(&["zstd"]) {
        return;
    }
    let tar = Tarball::new().file("f", "x").build();
    let dest = Dest::new();
    says(&dest.run(&[], &wide(&tar)), &["zstd -d -M2048MB"], &["--max-memory"]);
    // What it says.
    let plain = feed(Command::new("zstd").args(["-d", "-M2048MB"]), &wide(&tar));
    dest.run(&["--no-same-owner"], &plain.out).ended(0, "");
}

#[test]
fn what_is_immutable_is_named_as_that() {
    if !need_root() || !need_tools(&["chattr"]) {
        return;
    }
    let chattr =
        |flag: &str, path: &Path| Command::new("chattr").arg(flag).arg(path).status().expect("chattr").success();
    let tar = Tarball::new;
    for (what, attribute, place, archive) in [
        ("a directory that is listed", "i", "d", tar().dir("d").with(|e| _ = e.mode(0o700)).file("d/f", "1")),
        ("one that is listed as it is", "i", "d", tar().dir("d").file("d/f", "1")),
        ("one with other attributes", "i", "d", tar().dir("d").with(|e| _ = e.xattr("user.a", "1"))),
        ("one that is not listed", "i", "d", tar().file("d/f", "1")),
        ("a directory in it", "i", "d", tar().dir("d/e")),
        ("an implied one", "i", "d", tar().file("d/e/f", "1")),
        ("a link in it", "i", "d", tar().symlink("d/l", "x")),
        ("a FIFO in it", "i", "d", tar().fifo("d/p")),
        ("a hardlink in it", "i", "d", tar().file("x", "1").hardlink("d/h", "x")),
        ("a file that is replaced", "i", "d/old", tar().file("d/old", "new")),
        ("a hardlink to one", "i", "d/old", tar().hardlink("h", "d/old")),
        ("a whiteout of one", "i", "d/old", tar().file("d/.wh.old", "")),
        ("one below a whiteout", "i", "d/old", tar().file(".wh.d", "")),
        ("an append-only directory", "a", "d", tar().file("d/.wh.old", "")),
        ("many files", "i", "d", (0..200).fold(tar(), |tar, i| tar.file(format!("d/{i}"), "1"))),
    ] {
        let dest = Dest::new();
        fs::create_dir(dest.join("d")).and_then(|()| fs::write(dest.join("d/old"), "old")).expect("destination");
        fs::set_permissions(dest.join("d"), fs::Permissions::from_mode(0o755)).expect("mode");
        let place = dest.join(place);
        if !chattr(&format!("+{attribute}"), &place) {
            skip("this file system knows no attributes of chattr(1)");
            return;
        }
        let ran = dest.run(&["--layer"], &archive.build());
        assert!(chattr(&format!("-{attribute}"), &place), "{what}");
        says(&ran, &["immutable or append-only", "chattr -i -a"], &["as root", "--", "may belong"]);
        let ran = dest.run(&["--layer"], &archive.build());
        assert!(ran.status.success(), "{what}: {}", ran.err);
    }
}

#[test]
fn what_is_not_immutable_is_not_called_that() {
    if !need_root() {
        return;
    }
    let tar = Tarball::new;
    let owned = || tar().file("f", "1").with(|e| _ = e.uid(7));
    // What vfat and exFAT answer, and NFS where root is nobody.
    for (what, call, archive, hint, followed) in [
        ("a symlink", libc::SYS_symlinkat, tar().symlink("l", "t"), "may have no symlinks", None),
        ("a FIFO", libc::SYS_mknodat, tar().fifo("p"), "may have no symlinks and no FIFOs", None),
        ("a device", libc::SYS_mknodat, tar().char_dev("n", 1, 3), "--devices skip", Some(["--devices", "skip"])),
        ("a hardlink", libc::SYS_linkat, tar().file("f", "1").hardlink("h", "f"), "may have no hardlinks", None),
        ("an owner", libc::SYS_fchown, owned(), "--no-same-owner", Some(["--no-same-owner", "--verbose"])),
        ("an owner", libc::SYS_fchown, owned(), "--ignore-chown-errors", Some(["--ignore-chown-errors", "--verbose"])),
        ("times", libc::SYS_utimensat, tar().file("f", "1"), "it may belong to another", None),
    ] {
        let run = |options: &[&str]| {
            let dest = Dest::new();
            under(&[(call, None)], libc::EPERM, program().args(options).arg(&dest.path), &archive.build())
        };
        says(&run(&[]), &[hint], &["immutable", "lsattr", "as root"]);
        if let Some(options) = followed {
            let ran = run(&options);
            assert!(ran.status.success(), "{what}: {}", ran.err);
        }
    }
}

#[test]
fn set_id_bits_that_a_filter_forbids_are_named_as_that() {
    if !need_root() {
        return;
    }
    // RestrictSUIDSGID= of systemd.
    let restricted: &[Denied] = &[(libc::SYS_fchmod, Some((1, 0o6000)))];
    for archive in [
        Tarball::new().file("f", "1").with(|e| _ = e.mode(0o4755)),
        Tarball::new().dir("d").with(|e| _ = e.mode(0o2755)),
    ] {
        let dest = Dest::new();
        let ran = under(restricted, libc::EPERM, program().arg(&dest.path), &archive.build());
        says(&ran, &["RestrictSUIDSGID="], &["immutable", "--"]);
        dest.run(&[], &archive.build()).ended(0, "");
    }
}

#[test]
fn marks_that_cannot_be_set_are_named_as_what_they_are() {
    if !need_root() {
        return;
    }
    let archive = Tarball::new().dir("d").opaque("d").file("d/f", "1").build();
    for errno in [libc::EOPNOTSUPP, libc::EPERM] {
        let dest = Dest::new();
        let mut command = program();
        let ran = under(&all(SETTING_ATTRIBUTES), errno, command.arg("--overlay").arg(&dest.path), &archive);
        says(&ran, &["cannot hold overlayfs's attributes"], &["--xattrs", "run it as root"]);
        dest.run(&["--overlay"], &archive).ended(0, "");
    }
    // Trusted ones are root's of the first user namespace: the hint names the others.
    let trusted = ["--userns", "single", "--overlay=trusted"];
    says(&Dest::new().run(&trusted, &archive), &["--overlay=user"], &["--xattrs"]);
    Dest::new().run(&["--userns", "single", "--overlay=user"], &archive).ended(0, "");
}

#[test]
fn a_user_namespace_without_rights_is_named_as_that() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let dest = Dest::new();
    chown(&dest.path, Some(1000), Some(1000)).expect("owner");
    let program = dest.scratch.join("untar-in-root");
    copy_program(&program_path(), &program);
    let archive = Tarball::new().file("f", "1").build();
    let mut as_user = Command::new("setpriv");
    as_user.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program).arg("--isolation=pivot");
    // What AppArmor's rule for unprivileged user namespaces comes to.
    let namespaces = u64::from(libc::CLONE_NEWNS.cast_unsigned());
    let powerless: Vec<Denied> = [(libc::SYS_unshare, Some((0, namespaces)))]
        .into_iter()
        .chain(all(&[libc::SYS_mount, libc::SYS_chroot, libc::SYS_pivot_root, libc::SYS_open_tree]))
        .collect();
    let ran = under(&powerless, libc::EPERM, as_user.arg(&dest.path), &archive);
    says(&ran, &["the user namespace that was made gives no rights"], &["--userns auto", "CAP_SYS_ADMIN"]);
    // Who asks for no pivot is given what there is.
    let mut auto = Command::new("setpriv");
    auto.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program).arg(&dest.path);
    under(&powerless, libc::EPERM, &mut auto, &archive)
        .ended(0, "no root was entered, because chroot(\".\") = -1 EPERM");
    // Two of the things that it says: root, or no such rule.
    dest.run(&[], &archive).ended(0, "");
    let mut allowed = Command::new("setpriv");
    allowed.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program).arg(&dest.path);
    feed(&mut allowed, &archive).ended(0, "");
}

#[test]
fn what_is_mounted_on_is_named_and_only_what_helps_is_advised() {
    if !need_root() {
        return;
    }
    let tar = Tarball::new;
    for (what, archive, word, crossing) in [
        ("a file on it", tar().file("etc/resolv.conf", "new"), "that file", false),
        ("a link on it", tar().symlink("etc/resolv.conf", "x"), "that file", false),
        ("a directory on it", tar().dir("etc/resolv.conf"), "that file", false),
        ("below it", tar().file("etc/resolv.conf/x", "1"), "that file", false),
        ("a link to it", tar().hardlink("h", "etc/resolv.conf"), "that file", false),
        ("a whiteout of it", tar().whiteout("etc/resolv.conf"), "that file", false),
        ("above it", tar().opaque("etc"), "that file", false),
        ("a file on a directory", tar().file("data", "1"), "that directory", false),
        ("a whiteout of a directory", tar().whiteout("data"), "that directory", false),
        ("in a directory", tar().file("data/f", "1"), "another file system is mounted there", true),
    ] {
        let mounted = |options: &[&str]| {
            let dest = Dest::new();
            fs::create_dir(dest.join("etc")).and_then(|()| fs::create_dir(dest.join("data"))).expect("destination");
            fs::write(dest.join("etc/resolv.conf"), "under it").expect("file");
            mount("tmpfs", dest.join("data"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
            let outer = dest.scratch.file("outer", "outer");
            mount_bind(&outer, dest.join("etc/resolv.conf")).expect("bind");
            let options: Vec<_> = ["--layer"].iter().chain(options).copied().collect();
            let ran = dest.run(&options, &archive.build());
            assert_eq!(fs::read_to_string(&outer).expect("outer"), "outer", "{what}");
            ran
        };
        let hint = if crossing { "--mounts skip or --mounts cross" } else { "--mounts skip" };
        let never: &[&str] = if crossing { &[] } else { &["cross"] };
        says(&mounted(&[]), &[word, hint], never);
        let ran = mounted(&["--mounts", "skip"]);
        assert!(ran.status.success() && ran.err.contains("mounted"), "{what}: {}", ran.err);
        let ran = mounted(&["--mounts", "cross"]);
        if crossing {
            assert!(ran.status.success(), "{what}: {}", ran.err);
        } else {
            says(&ran, &[word, "--mounts skip"], &["cross"]);
        }
    }
}

#[test]
fn a_hardlink_into_what_was_crossed_says_why_it_cannot_be() {
    if !need_root() {
        return;
    }
    let dest = Dest::new();
    fs::create_dir(dest.join("data")).expect("destination");
    mount("tmpfs", dest.join("data"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
    fs::write(dest.join("data/f"), "1").expect("file");
    let archive = Tarball::new().hardlink("h", "data/f").build();
    says(&dest.run(&["--mounts", "cross"], &archive), &["EXDEV", "cannot lead to another mount"], &["--"]);
}

#[test]
fn a_target_that_no_symlink_can_hold_is_not_called_a_name() {
    if !can_run() {
        return;
    }
    let target = "x/".repeat(2100);
    let archive = Tarball::new().symlink("l", &target).build();
    says(&Dest::new().run(&["--no-same-owner"], &archive), &["its target is longer"], &["component"]);
    let archive = Tarball::new().file("n".repeat(300), "1").build();
    says(&Dest::new().run(&["--no-same-owner"], &archive), &["a component of its name is longer"], &["target"]);
}

/// Another's file in a sticky directory, as root of a user namespace that lacks his id.
#[test]
fn a_file_of_anothers_in_a_sticky_directory_is_named_as_that() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let dest = Dest::new();
    let program = dest.scratch.join("untar-in-root");
    copy_program(&program_path(), &program);
    fs::set_permissions(&dest.path, fs::Permissions::from_mode(0o1777)).expect("mode");
    let theirs = dest.join("f");
    fs::write(&theirs, "theirs").and_then(|()| chown(&theirs, Some(7), Some(7))).expect("file");
    let archive = Tarball::new().file("f", "mine").build();
    let as_user = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]).arg(&program);
        feed(command.arg("--no-same-owner").arg(&dest.path), &archive)
    };
    says(&as_user("1000"), &["it may belong to another", "sticky"], &["lsattr"]);
    // He may.
    as_user("7").ended(0, "");
    assert_eq!(fs::metadata(&theirs).expect("file").uid(), 7);
}

#[test]
fn a_root_that_may_not_be_entered_is_named_and_not_the_helper() {
    if !need_root() || !need_tools(&["setpriv"]) {
        return;
    }
    let dest = Dest::new();
    chown(&dest.path, Some(1000), Some(1000)).expect("owner");
    let program = dest.scratch.join("untar-in-root");
    copy_program(&program_path(), &program);
    let archive = Tarball::new().file("f", "1").build();
    let run = |mode, isolation| {
        fs::set_permissions(&dest.path, fs::Permissions::from_mode(mode)).expect("mode");
        let mut as_user = Command::new("setpriv");
        as_user.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program).args(["--isolation", isolation]);
        feed(as_user.arg(&dest.path), &archive)
    };
    for (mode, isolation) in [(0, "auto"), (0, "beneath"), (0o311, "beneath")] {
        says(&run(mode, isolation), &["entering the root", "EACCES", "has no permission"], &["starting the helper"]);
    }
    run(0o700, "beneath").ended(0, "");
}

#[test]
fn a_filter_that_forbids_to_detach_the_old_root_leaves_a_chroot() {
    if !need_root() {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new().file("f", "1").build();
    let mut auto = program();
    let ran = under(&all(&[libc::SYS_umount2]), libc::EPERM, auto.arg(&dest.path), &archive);
    ran.ended(0, "confined by chroot in a mount namespace of its own only, because umount2(");
    let mut pivot = program();
    let ran =
        under(&all(&[libc::SYS_umount2]), libc::EPERM, pivot.args(["--isolation", "pivot"]).arg(&dest.path), &archive);
    says(&ran, &["umount2("], &["another file has come"]);
}
