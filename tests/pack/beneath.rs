//! A user without any right packs what is his: no root is entered, and the bytes are the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use untar_in_root::{EventKind, Isolation, RootSwitch};

use super::{events, pack, pack_paths, plain, try_pack};
use crate::support::container::Contained;
use crate::support::privilege::{need_root, need_tools};
use crate::support::run::program_path;
use crate::support::scratch::Scratch;

const USER: u32 = 1000;

fn can_be_tried() -> bool {
    need_root() && need_tools(&["setpriv"])
}

/// Files, links, holes, attributes: the user's.
fn tree(scratch: &Scratch) -> PathBuf {
    let root = scratch.dir("root");
    scratch.dir("root/d/e");
    let file = scratch.file("root/d/f", "content");
    rustix::fs::setxattr(&file, "user.a", b"1", rustix::fs::XattrFlags::empty()).expect("an attribute");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).expect("mode");
    fs::hard_link(&file, root.join("d/g")).expect("link");
    symlink("../d/f", root.join("d/e/l")).expect("link");
    fs::File::create(root.join("holes")).and_then(|file| file.set_len(1 << 20)).expect("a file of holes");
    fs::write(root.join("large"), vec![7; 3 << 20]).expect("a large file");
    for path in ["", "d", "d/e", "d/e/l", "d/f", "holes", "large"] {
        lchown(root.join(path), Some(USER), Some(USER)).expect("owner");
    }
    root
}

/// Packs as the user in a restricted pod; exit status, archive, what was said.
fn packs(scratch: &Scratch, without: &[i64], words: &[&str]) -> (i32, Vec<u8>, String) {
    let out = scratch.dir("out");
    chown(&out, Some(USER), Some(USER)).expect("owner");
    let file = out.join("archive.tar");
    _ = fs::remove_file(&file);
    let words: Vec<&str> = ["pack", "-o", name(&file)].iter().chain(words).copied().collect();
    let output = Contained::pod_without(USER, without).command(scratch, &words).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("an exit status"), fs::read(&file).unwrap_or_default(), said)
}

fn name(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_restricted_pod_packs_the_same_bytes() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let (want, _) = pack(&root, plain);
    for isolation in ["auto", "beneath"] {
        let (code, archive, said) = packs(&scratch, &[], &["--isolation", isolation, name(&root)]);
        assert!(code == 0 && archive == want, "{isolation} {code}: {said}");
        assert_eq!(said.contains("note: no root was entered"), isolation == "auto", "{said}");
    }
    let (_, _, said) = packs(&scratch, &[], &["--json", "-q", name(&root)]);
    let report: Value = serde_json::from_str(&said).expect("JSON");
    let confinement = &report["report"]["confinement"];
    assert_eq!((&confinement["root"], &confinement["seccomp"]), (&"beneath".into(), &true.into()));
}

/// No `..` leads up there, so what was given up is looked for from the beginning: a hundred levels at a time, and not each by
/// itself, which were half a million steps.
#[test]
fn pack_rule_03_a_deep_tree_is_gone_back_through_many_levels_at_a_time() {
    if !can_be_tried() || !need_tools(&["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.chain("root/top", "d", 1_200);
    let root = scratch.join("root");
    fs::write(root.join("top/z"), "z").expect("file");
    let (want, _) = pack(&root, plain);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=openat2"]).arg(program_path()).args(["pack", "--isolation", "beneath"]);
    let output = strace.arg(&root).output().expect("strace");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == want, "{}", &said[..said.len().min(2_000)]);
    let steps = said.matches("openat2(").count();
    assert!((1_200..20_000).contains(&steps), "{steps}");
}

/// Nobody goes up from a directory there.
#[test]
fn paths_lead_where_they_lead_inside_a_root() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    symlink("/d/e/..", root.join("link")).expect("link");
    fs::set_permissions(root.join("d/e"), fs::Permissions::from_mode(0o311)).expect("mode");
    for path in ["d/e/../f", "link/f", "link/e/../../d/g", "../../d/f", "d/e/l"] {
        let want = pack_paths(&root, &[path], plain);
        let (code, archive, said) = packs(&scratch, &[], &[name(&root), path]);
        assert!(code == 0 && archive == want, "{path} {code}: {said}");
    }
    let (code, _, said) = packs(&scratch, &[], &[name(&root), "link/../../../etc/passwd"]);
    assert!(code == 1 && said.contains("ENOENT"), "{code}: {said}");
}

/// Root, who names it, has no right there that others have not.
#[test]
fn root_packs_what_is_roots_own_where_no_root_is_entered() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/f", "1");
    let beneath = |options: &mut untar_in_root::PackOptions| options.jail.isolation = Isolation::Beneath;
    let (archive, packed) = pack(&root, beneath);
    assert!(archive == pack(&root, plain).0);
    let confinement = packed.confinement;
    assert_eq!((confinement.root, confinement.capabilities.is_empty()), (RootSwitch::Beneath, true));
    assert!(confinement.seccomp && confinement.landlock_paths && confinement.no_new_privs);
    let theirs = scratch.file("root/theirs", "2");
    chown(&theirs, Some(USER), None)
        .and_then(|()| fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)))
        .expect("owner");
    let (error, _) = try_pack(&root, beneath).expect_err("another's");
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
}

/// What is had by name alone is not read, which Landlock does not bind.
#[test]
fn attributes_of_special_files_are_told_where_no_root_is_entered() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    mkfifo(&root.join("fifo"), Mode::from_bits_truncate(0o640)).expect("FIFO");
    symlink("fifo", root.join("link")).expect("link");
    let (archive, packed) = pack(&root, |options| options.jail.isolation = Isolation::Beneath);
    // Nor is there a mount that would keep the link's time of access.
    let times = EventKind::AccessTimes { errno: libc::EOPNOTSUPP };
    assert_eq!(events(&packed), [EventKind::AttributesUnread, times]);
    assert!(archive == pack(&root, plain).0);
}

#[test]
fn what_keeps_it_from_packing_is_told_with_what_helps() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch);
    let landlock = [libc::SYS_landlock_create_ruleset];
    for (without, words, code, tells) in [
        (&landlock[..], &[][..], 3, "landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) = -1 EPERM"),
        (&[], &["--landlock", "off"], 3, "do without --landlock off and --seccomp off"),
        (&[], &["--seccomp", "off"], 3, "do without --landlock off and --seccomp off"),
        (&[], &["--isolation", "beneath", "--landlock", "off"], 2, "leave --landlock off out"),
        (&[], &["--isolation", "beneath", "--userns", "single"], 2, "leave --userns out"),
        (&[], &["--isolation", "chroot"], 3, "user namespaces are forbidden here"),
    ] {
        let (status, archive, said) = packs(&scratch, without, &[words, &[name(&root)]].concat());
        assert!(status == code && said.contains(tells) && archive.is_empty(), "{words:?} {status}: {said}");
    }
}
