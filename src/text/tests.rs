//! The texts, by a table: what a person reads at three in the morning.

use super::Escaped;
use crate::*;
use nix::errno::Errno;
use std::fmt::Display;

fn entry(kind: EntryKind) -> Option<EntryRef> {
    Some(EntryRef::new(12, 6144, b"etc/a\x1b[2J", kind))
}

fn os(stage: Stage, call: Call, on: Operand, rest: &str, errno: Errno) -> Failure {
    let operation = Some(Operation::new(call, on, rest));
    Failure { stage, entry: entry(EntryKind::File), after: None, operation, cause: Cause::Os(errno as i32) }
}

fn cause(cause: Cause) -> Failure {
    Failure { stage: Stage::Apply, entry: entry(EntryKind::File), after: None, operation: None, cause }
}

/// One line, nothing that a terminal obeys, and these words in it.
#[track_caller]
fn says(shown: &dyn Display, words: &[&str]) {
    let text = shown.to_string();
    assert!(!text.is_empty() && !text.contains(|c: char| c.is_control()), "{text:?}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn a_failure_is_one_line_of_stage_entry_operation_errno_and_advice() {
    let name = Operand::Name { dir: Descriptor::Directory, name: b"a\n".into() };
    let failure = os(Stage::Apply, Call::Openat, name, "O_WRONLY", Errno::ENOSPC);
    assert_eq!(
        failure.to_string(),
        "applying: file \"etc/a\\033[2J\" (entry 12, at byte 6144): openat(<directory>, \"a\\n\", O_WRONLY) = -1 ENOSPC \
         (No space left on device): the file system of the root is full; look at its space (df) and its inodes (df -i)"
    );
}

#[test]
fn operations_are_as_strace_prints_them() {
    let name = |dir, name: &[u8]| Operand::Name { dir, name: name.into() };
    for (call, on, rest, want) in [
        (Call::Unshare, Operand::Namespace(Namespace::User), "", "unshare(CLONE_NEWUSER)"),
        (Call::PivotRoot, Operand::Nothing, "\".\", \".\"", "pivot_root(\".\", \".\")"),
        (Call::Syncfs, Operand::Descriptor(Descriptor::Root), "", "syncfs(<root>)"),
        (Call::Fchmod, Operand::Descriptor(Descriptor::Path(b"a>\n".into())), "0755", "fchmod(</a\\76\\n>, 0755)"),
        (
            Call::Mkdirat,
            name(Descriptor::Cwd, b"\x1b0\xc3\xa9\"\\\x01"),
            "0755",
            "mkdirat(AT_FDCWD, \"\\0330\\303\\251\\\"\\\\\\1\", 0755)",
        ),
        (Call::Symlinkat, name(Descriptor::Directory, b"l"), "\"to\"", "symlinkat(\"to\", <directory>, \"l\")"),
    ] {
        assert_eq!(Operation::new(call, on, rest).to_string(), want);
    }
}

#[test]
fn calls_that_fail_say_what_to_do() {
    use Errno::*;
    use Stage::*;
    for (stage, call, errno, words) in [
        (Apply, Call::Openat, EROFS, "EROFS (Read-only file system): the file system of the root is mounted read-only"),
        (Apply, Call::Write, EDQUOT, "quota"),
        (Apply, Call::Write, EIO, "dmesg"),
        (Apply, Call::Mknodat, EPERM, "--devices skip"),
        (Apply, Call::Fchown, EINVAL, "/etc/subuid and /etc/subgid"),
        (Apply, Call::Fchownat, EPERM, "--no-same-owner"),
        (Apply, Call::Fsetxattr, EOPNOTSUPP, "--xattrs best-effort"),
        (Apply, Call::Openat, ENAMETOOLONG, "longer than this file system allows"),
        (Apply, Call::Openat, ENOTDIR, "not a directory"),
        (Apply, Call::Unlinkat, EPERM, "immutable"),
        (Finish, Call::Syncfs, EIO, "finishing: "),
        (Enter, Call::Unshare, EPERM, "--userns auto"),
        (Enter, Call::Unshare, ENOSPC, "user.max_user_namespaces"),
        (Enter, Call::PivotRoot, EINVAL, "entering the root: "),
        (Enter, Call::PivotRoot, EINVAL, "--isolation auto"),
        (Enter, Call::Write, EPERM, "/etc/subuid"),
        (Enter, Call::Write, EPERM, "package uidmap"),
        (Read, Call::Read, EISDIR, "the archive is a directory"),
        (Read, Call::Read, EIO, "the disk that the archive is on"),
    ] {
        says(&os(stage, call, Operand::Nothing, "", errno), &[words, &format!("{errno:?}"), call.name()]);
    }
    let user = Operand::Namespace(Namespace::User);
    says(&os(Enter, Call::Unshare, user, "", EPERM), &["user namespaces are forbidden"]);
}

#[test]
fn causes_name_the_option_that_helps() {
    for (value, words) in [
        (Cause::PathEscapes, "--escaping-names clamp"),
        (Cause::LinkEscapes, "--escaping-names clamp"),
        (Cause::CrossesMount, "--cross-mounts"),
        (Cause::LinkTargetMissing { target: b"bin/\nsh".into() }, "its target \"bin/\\nsh\" is not there"),
        (Cause::Refused(Refusal::Uid), "--uid-map"),
        (Cause::Refused(Refusal::Gid), "--gid-map"),
        (Cause::Refused(Refusal::UnknownType(b'\x07')), "type flag '\\x07'"),
        (Cause::Refused(Refusal::DirectoryConflict), "--no-overwrite-dir-nondir"),
        (Cause::Refused(Refusal::HeaderOnlySize), "--strict-sizes"),
        (
            Cause::LowersNotHeld(1),
            "EPERM (Operation not permitted): a lower directory is held only in a mount namespace",
        ),
        (Cause::LowersNotHeld(1), "flattens"),
        (Cause::Cancelled, "cancelled"),
        (Cause::Panic { message: "panicked at src/x.rs:1:2:\nindex".into() }, "panicked at src/x.rs:1:2:\\nindex"),
        (Cause::Panic { message: String::new() }, "please report it"),
        (
            Cause::Malformed { what: Malformed::Checksum, offset: 512 },
            "at byte 512 of the uncompressed stream: the check",
        ),
        (Cause::Malformed { what: Malformed::Truncated, offset: 512 }, "get the archive again"),
        (Cause::Os(0), "error 0"),
        (Cause::Os(4095), "error 4095"),
    ] {
        says(&cause(value), &[words, "etc/a", "entry 12", "at byte 6144"]);
    }
    let (format, what, offset) = (Compression::Gzip, Damage::Truncated, 99);
    let failure = Failure {
        stage: Stage::Decode,
        entry: None,
        after: None,
        operation: None,
        cause: Cause::Compressed { format, what, offset },
    };
    says(
        &failure,
        &["decompressing: damaged gzip at byte 99 of the archive: it ends too soon", "get the archive again"],
    );
    let after = Failure { after: entry(EntryKind::File), ..failure };
    says(
        &after,
        &["decompressing: where a header was due, after file \"etc/a", "(entry 12, at byte 6144): damaged gzip"],
    );
}

#[test]
fn an_entry_of_which_little_is_known_is_no_other() {
    let known = |index, kind| EntryRef::new(index, index, b"a", kind);
    assert_eq!(known(3, EntryKind::Other(0)).to_string(), "entry \"a\" (entry 3, at byte 3)");
    assert_eq!(known(3, EntryKind::Other(b'Z')).to_string(), "type 'Z' \"a\" (entry 3, at byte 3)");
    assert_eq!(EntryRef::left(b"a").to_string(), "directory \"a\"");
}

#[test]
fn a_missing_hardlink_target_names_both_paths() {
    let failure = Failure {
        entry: entry(EntryKind::Hardlink),
        ..cause(Cause::LinkTargetMissing { target: b"usr/bin/perl".into() })
    };
    says(&failure, &["hardlink \"etc/a", "\"usr/bin/perl\""]);
}

#[test]
fn limits_name_their_option_and_value() {
    for (limit, option) in [
        (Limit::TotalBytes, "--max-total-bytes (Limits::total_bytes)"),
        (Limit::FileBytes, "--max-file-bytes (Limits::file_bytes)"),
        (Limit::Entries, "--max-entries (Limits::entries)"),
        (Limit::Ratio, "--max-ratio (Limits::ratio)"),
        (Limit::Depth, "--max-depth (Limits::depth)"),
        (Limit::NameBytes, "--max-name-bytes (Limits::name_bytes)"),
        (Limit::ExtendedHeaderBytes, "--max-extended-header-bytes (Limits::extended_header_bytes)"),
        (Limit::Xattrs, "--max-xattrs (Limits::xattrs)"),
        (Limit::XattrBytes, "--max-xattr-bytes (Limits::xattr_bytes)"),
        (Limit::SparseRegions, "--max-sparse-regions (Limits::sparse_regions)"),
        (Limit::Timeout, "--timeout (ProcessLimits::timeout)"),
        (Limit::Memory, "--max-memory (ProcessLimits::memory_bytes)"),
    ] {
        says(&cause(Cause::Limit { limit, value: 4711 }), &[option, "the limit of 4711 "]);
    }
}

#[test]
fn events_say_what_was_lost() {
    let eperm = Errno::EPERM as i32;
    let name = || b"user.a\n".to_vec();
    for (what, words) in [
        (EventKind::SkippedType(b'V'), "type 'V'"),
        (EventKind::SkippedAufs, "aufs"),
        (EventKind::HeaderOnlySize(7), "7 bytes"),
        (EventKind::NoEndMarker, "end-of-archive marker"),
        (EventKind::TrailingData { bytes: 9 }, "9 bytes"),
        (EventKind::XattrUnsupported { name: name(), errno: eperm }, "\"user.a\\n\" not set: EPERM"),
        (EventKind::XattrDropped { name: name() }, "\"user.a\\n\" dropped"),
        (EventKind::XattrDropped { name: b"trusted.a".into() }, "--trusted-xattrs allow"),
        (EventKind::XattrEscaped { name: name() }, "renamed"),
        (EventKind::ModeIgnored { mode: 0o6660, errno: eperm }, "mode 06660 not set: EPERM"),
        (EventKind::OwnerIgnored { uid: 5, gid: 6, errno: eperm }, "owner 5:6 not set: EPERM"),
        (EventKind::DeviceSkipped { errno: eperm }, "left out: EPERM"),
        (EventKind::TimesIgnored { errno: eperm }, "times not set: EPERM"),
        (EventKind::DevicePlaceholder { errno: eperm }, "empty file"),
        (EventKind::Clamped, "climbs above"),
        (EventKind::DirectoryGone, "no longer"),
    ] {
        says(&Event { entry: entry(EntryKind::Other(b'V')), what }, &[words, "type 'V' \"etc/a"]);
    }
}

#[test]
fn the_rest_of_the_vocabulary() {
    use Malformed::*;
    for what in [
        Checksum,
        Truncated,
        StrayZeroBlock,
        Number,
        NegativeNumber,
        NumberRange,
        PaxRecord,
        PaxValue,
        DanglingExtendedHeader,
        MisplacedExtendedHeader,
        EmptyName,
        NulInName,
        EmptyLink,
        SparseMap,
        Size,
        Acl,
    ] {
        says(&what, &[" "]);
    }
    for what in [Damage::Truncated, Damage::Corrupt, Damage::Memory, Damage::TrailingGarbage, Damage::NotThisFormat] {
        says(&what, &["it"]);
    }
    for refusal in [
        Refusal::RootNotDirectory,
        Refusal::ClampedToRoot,
        Refusal::WhiteoutName,
        Refusal::WhiteoutInPath,
        Refusal::DeviceNumber,
        Refusal::ForgedWhiteout,
        Refusal::HardlinkToDirectory,
    ] {
        says(&refusal, &["refused: "]);
    }
    for (stage, text) in [(Stage::Request, "request"), (Stage::Confine, "rights"), (Stage::Parse, "headers")] {
        says(&stage, &[text]);
    }
    let kinds =
        [EntryKind::Directory, EntryKind::Symlink, EntryKind::CharDevice, EntryKind::BlockDevice, EntryKind::Fifo];
    assert_eq!(kinds.map(|k| k.to_string()), ["directory", "symlink", "character device", "block device", "FIFO"]);
}

#[test]
fn an_errno_of_0_is_a_wish_in_a_fallback() {
    let operation = Operation::new(Call::PivotRoot, Operand::Nothing, "\".\", \".\"");
    let wish = Fallback { operation: operation.clone(), errno: 0 };
    assert_eq!(wish.to_string(), "asked for");
    let forced = Fallback { operation, errno: Errno::EINVAL as i32 };
    assert_eq!(forced.to_string(), "pivot_root(\".\", \".\") = -1 EINVAL (Invalid argument)");
    let confinement = Confinement { root: RootSwitch::Chroot, fallback: Some(forced), ..Confinement::default() };
    says(&confinement, &["chroot (pivot_root(", "no seccomp", "no Landlock", "capabilities none"]);
    let id = IdRange { inside: 0, outside: 1000, count: 1 };
    let user_namespace = Some(UserNamespaceReport { uids: vec![id], gids: vec![id, id] });
    let strong = Confinement { root: RootSwitch::Pivot, user_namespace, landlock_abi: 6, ..Confinement::default() };
    assert!(!strong.to_string().contains("mounts"), "{strong}");
    for (mounts, want) in [(MountsBelow::InSight, "in sight"), (MountsBelow::Unknown, "not known")] {
        says(&Confinement { mounts, ..Confinement::default() }, &["mounts below ", want]);
    }
    let covered = Confinement { mounts_below: vec![b"proc".to_vec()], ..Confinement::default() };
    says(&covered, &["mounts below covered"]);
    says(&strong, &["pivot_root", "uids 0:1000:1, gids 0:1000:1,0:1000:1", "Landlock ABI 6"]);
}

#[test]
fn what_a_hostile_helper_says_is_tame() {
    let name = Operand::Name { dir: Descriptor::Directory, name: b"\x1b[2J".into() };
    let operation = Some(Operation::new(Call::Openat, name, "\u{202e}\n"));
    let failure = Failure { operation, ..cause(Cause::Os(2)) };
    says(&failure, &["openat(<directory>, \"\\33[2J\", \\342\\200\\256\\n)"]);
    let capabilities = vec!["CAP\u{9b}2J".to_owned()];
    says(&Confinement { capabilities, ..Confinement::default() }, &["CAP\\302\\2332J"]);
}

#[test]
fn escaping() {
    for (raw, want) in [
        (&b"plain \xc3\xa9"[..], "plain é"),
        (b"a\\b\tc\nd\re\0", "a\\\\b\\tc\\nd\\re\\000"),
        (b"\xff\xc3", "\\377\\303"),
        ("\u{202e}\u{9b}".as_bytes(), "\\342\\200\\256\\302\\233"),
    ] {
        assert_eq!(Escaped(raw).to_string(), want);
    }
    let long = EntryRef::new(0, 0, &[b'x'; 5000], EntryKind::File);
    says(&long, &["…"]);
}
