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
        (Apply, Call::Mknodat, EPERM, "no symlinks and no FIFOs"),
        (Apply, Call::Linkat, EXDEV, "to another mount"),
        (Apply, Call::Openat, ENFILE, "fs.file-max"),
        (Enter, Call::OpenTree, ENFILE, "fs.file-max"),
        (Enter, Call::OpenTree, EMFILE, "RLIMIT_NOFILE"),
        (Confine, Call::LandlockCreateRuleset, EMFILE, "RLIMIT_NOFILE"),
        (Confine, Call::Capset, EPERM, "a filter on system calls"),
        (Read, Call::Read, ENOMEM, "out of memory"),
        (Apply, Call::Mkdirat, EINVAL, "does not take such a name"),
        (Apply, Call::Openat, EOVERFLOW, "does not take such a name"),
        (Apply, Call::Fchown, EINVAL, "/etc/subuid and /etc/subgid"),
        (Apply, Call::Fchownat, EPERM, "keep the caller's own"),
        (Apply, Call::Fsetxattr, EOPNOTSUPP, "that can be a warning"),
        (Apply, Call::Openat, ENAMETOOLONG, "longer than this file system allows"),
        (Apply, Call::Openat, ENOTDIR, "not a directory"),
        (Apply, Call::Unlinkat, EPERM, "it may belong to another"),
        (Finish, Call::Syncfs, EIO, "finishing: "),
        (Enter, Call::Unshare, EPERM, "CAP_SYS_ADMIN, the caller's or a user namespace's"),
        (Enter, Call::Unshare, ENOSPC, "user.max_user_namespaces"),
        (Enter, Call::PivotRoot, EINVAL, "entering the root: "),
        (Enter, Call::PivotRoot, EINVAL, "a chroot may be allowed"),
        (Enter, Call::Mount, EINVAL, "a chroot may be allowed"),
        (Enter, Call::Write, EPERM, "/etc/subuid"),
        (Enter, Call::Write, EPERM, "package uidmap"),
        (Read, Call::Read, EISDIR, "the archive is a directory"),
        (Read, Call::Read, EIO, "the disk that the archive is on"),
    ] {
        says(&os(stage, call, Operand::Nothing, "", errno), &[words, &format!("{errno:?}"), call.name()]);
    }
    let user = Operand::Namespace(Namespace::User);
    says(&os(Enter, Call::Unshare, user, "", EPERM), &["user namespaces are forbidden"]);
    let mut map = os(Enter, Call::Write, Operand::Nothing, r#""0 0 1\n", 6"#, EPERM);
    map.operation.as_mut().expect("a call").purpose = Purpose::MapOfRoot;
    says(&map, &["grant the other, or do without a new root"]);
}

#[test]
fn causes_say_what_helps() {
    for (value, words) in [
        (Cause::PathEscapes, "can be kept inside"),
        (Cause::LinkEscapes, "can be kept inside"),
        (Cause::CrossesMount, "allow mounts to be crossed"),
        (Cause::MountPoint { directory: false }, "something is mounted on that file: unmount it"),
        (Cause::MountPoint { directory: true }, "something is mounted on that directory: unmount it"),
        (Cause::Limit { limit: Limit::XattrBytes, value: 65_536 }, "Linux has no larger attributes"),
        (Cause::LinkTargetMissing { target: b"bin/\nsh".into() }, "its target \"bin/\\nsh\" is not there"),
        (Cause::Refused(Refusal::Uid), "the map of users"),
        (Cause::Refused(Refusal::Gid), "the map of groups"),
        (Cause::Refused(Refusal::UnknownType(b'\x07')), "type flag '\\x07'"),
        (Cause::Refused(Refusal::DirectoryConflict), "remove what is there first"),
        (Cause::Refused(Refusal::HeaderOnlySize), "strict sizes were asked for"),
        (
            Cause::LowersNotHeld(1),
            "EPERM (Operation not permitted): a lower directory is held only in a mount namespace",
        ),
        (Cause::Landlock { abi: 1, least: 2 }, "Landlock has ABI 1 here, and 2 is needed: without a new root"),
        (Cause::LowersNotHeld(1), "lower directories take CAP_SYS_ADMIN"),
        (Cause::ReservedName, "begin with .wh."),
        (
            Cause::OverlayMark { name: b"trusted.overlay.redirect".into(), what: MarkProblem::NeedsLowers },
            "\"trusted.overlay.redirect\" says that what is there is in a lower directory, and none was named: it is in",
        ),
        (Cause::OverlayMark { name: b"x".into(), what: MarkProblem::NotThere }, "it is in none"),
        (Cause::OverlayMark { name: b"x".into(), what: MarkProblem::Malformed }, "neither a name nor a path"),
        (Cause::OverlayMark { name: b"x".into(), what: MarkProblem::NoMetacopy }, "shows EIO"),
        (Cause::OverlayMark { name: b"x".into(), what: MarkProblem::NotFollowed }, "anybody can set it"),
        (Cause::OverlayMark { name: b"x".into(), what: MarkProblem::OutOfReach }, "CAP_SYS_ADMIN"),
        (Cause::Cancelled, "cancelled"),
        (Cause::Panic { message: "panicked at src/x.rs:1:2:\nindex".into() }, "panicked at src/x.rs:1:2:\\nindex"),
        (Cause::Panic { message: String::new() }, "please report it"),
        (
            Cause::Malformed { what: Malformed::Checksum, offset: 512 },
            "at byte 512 of the uncompressed stream: the check",
        ),
        (Cause::Malformed { what: Malformed::Truncated, offset: 512 }, "get the archive again"),
        (Cause::NotTar { looks_like: LooksLike::Lz4, begins: Vec::new() }, "lz4 data, and no tar archive: pipe it"),
        (
            Cause::NotTar { looks_like: LooksLike::Html, begins: b"<p>\x1b[2J".into() },
            "this is an HTML page, and no tar archive; it begins \"<p>\\033[2J\": look at what was downloaded",
        ),
        (Cause::Empty, "there is not one byte in it"),
        (Cause::Empty, "an empty archive can be allowed"),
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
    assert_eq!(known(3, EntryKind::Unknown).to_string(), "entry \"a\" (entry 3, at byte 3)");
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
fn limits_name_their_field_and_value() {
    for (limit, advice) in [
        (Limit::TotalBytes, "raise Limits::total_bytes"),
        (Limit::FileBytes, "raise Limits::file_bytes"),
        (Limit::Entries, "raise Limits::entries"),
        (Limit::Ratio, "raise Limits::ratio"),
        (Limit::Depth, "raise Limits::depth"),
        (Limit::NameBytes, "raise Limits::name_bytes"),
        (Limit::ExtendedHeaderBytes, "raise Limits::extended_header_bytes"),
        (Limit::Xattrs, "raise Limits::xattrs"),
        (Limit::XattrBytes, "raise Limits::xattr_bytes"),
        (Limit::XattrName, "no attribute with a longer name"),
        (Limit::SparseRegions, "raise Limits::sparse_regions"),
        (Limit::Hardlinks, "raise Limits::hardlinks"),
        (Limit::Timeout, "raise ProcessLimits::timeout"),
        (Limit::Memory, "raise ProcessLimits::memory_bytes"),
    ] {
        says(&cause(Cause::Limit { limit, value: 4711 }), &[advice, "the limit of 4711 "]);
    }
}

/// What is no comment of the code that is not for tests, line by line.
fn code(source: &str) -> impl Iterator<Item = &str> {
    source.split("#[cfg(test)]").next().unwrap_or_default().lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The words with dashes of a line: options of a command line.
fn options(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_lowercase() && c != '-')
        .filter(|word| word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase())))
}

fn sources(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            "tests" | "tests.rs" => {}
            _ if path.is_dir() => sources(&path, found),
            _ => found.push(path),
        }
    }
}

#[test]
fn the_library_names_no_option_of_a_command_line() {
    assert_eq!(options("\"see --include: `--max-depth 3`\"").collect::<Vec<_>>(), ["--include", "--max-depth"]);
    let mut files = Vec::new();
    sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("text/advice.rs")));
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        // Another program's.
        for line in code(&source).filter(|line| !line.contains("`unshare --map-root-user --map-auto`")) {
            assert_eq!(options(line).next(), None, "{}: {line}", file.display());
        }
    }
}

/// What `source()` leads to, one after the other.
fn chain(error: &dyn std::error::Error) -> Vec<&(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| error.source()).collect()
}

#[test]
fn an_error_leads_to_its_failure_and_that_to_the_number() {
    let failure = os(Stage::Apply, Call::Openat, Operand::Nothing, "", Errno::ENOSPC);
    let error = Error::new(ErrorKind::Storage, crate::error::Detail::Failure(failure.clone()));
    let sources = chain(&error);
    assert_eq!(sources.len(), 2);
    assert_eq!(sources[0].downcast_ref(), Some(&failure));
    let number = sources[1].downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    assert_eq!(number, Some(Errno::ENOSPC as i32));
    for without in [Cause::PathEscapes, Cause::Os(0), Cause::Os(-1), Cause::Os(4095)] {
        assert_eq!(chain(&cause(without)).len(), 0);
    }
}

/// Root that may change owners and still may not: the file system has none. Without that right it is the right.
#[test]
fn what_helps_depends_on_how_the_helper_was_confined() {
    let failure = os(Stage::Apply, Call::Fchown, Operand::Nothing, "", Errno::EPERM);
    let advice = |confinement| {
        let report = Report { confinement, ..Report::default() };
        let error = Error::new(ErrorKind::Entry, crate::error::Detail::Failure(failure.clone()));
        error.with(Some(Box::new(report)), Vec::new()).advice()
    };
    let root = Confinement { capabilities: vec!["CAP_CHOWN".into()], ..Confinement::default() };
    let user_namespace = Some(UserNamespaceReport { uids: Vec::new(), gids: Vec::new() });
    assert_eq!(failure.advice(), Some(Advice::KeepOwner));
    assert_eq!(advice(Confinement::default()), Some(Advice::KeepOwner));
    assert_eq!(advice(root.clone()), Some(Advice::NoOwners));
    assert_eq!(advice(Confinement { user_namespace, ..root }), Some(Advice::KeepOwner));
}

#[test]
fn what_helps_depends_on_what_a_call_was_for() {
    let advice = |stage, call, purpose, errno| {
        let mut failure = os(stage, call, Operand::Nothing, "", errno);
        failure.operation.as_mut().expect("an operation").purpose = purpose;
        failure.advice()
    };
    for (stage, call, purpose, errno, want) in [
        (Stage::Apply, Call::Fchmod, Purpose::Usual, Errno::EPERM, Advice::Forbidden),
        (Stage::Apply, Call::Fchmod, Purpose::Unchangeable, Errno::EPERM, Advice::Immutable),
        (Stage::Apply, Call::Mknodat, Purpose::Device, Errno::EPERM, Advice::LeaveDevices),
        (Stage::Apply, Call::Fchmod, Purpose::SetId, Errno::EPERM, Advice::SetIdForbidden),
        (Stage::Apply, Call::Fsetxattr, Purpose::Usual, Errno::EPERM, Advice::LeaveAttributes),
        (Stage::Apply, Call::Fsetxattr, Purpose::Mark { trusted: true }, Errno::EPERM, Advice::UserMarks),
        (Stage::Apply, Call::Fsetxattr, Purpose::Mark { trusted: false }, Errno::EPERM, Advice::MarksUnsupported),
        (Stage::Apply, Call::Fsetxattr, Purpose::Mark { trusted: true }, Errno::EOPNOTSUPP, Advice::MarksUnsupported),
        (Stage::Enter, Call::Unshare, Purpose::Usual, Errno::EPERM, Advice::MountRights),
        (Stage::Enter, Call::Unshare, Purpose::InNewNamespace, Errno::EPERM, Advice::PowerlessNamespace),
        (Stage::Enter, Call::Chroot, Purpose::Usual, Errno::EPERM, Advice::ChrootRight),
        (Stage::Enter, Call::Unshare, Purpose::Owners, Errno::EPERM, Advice::AskNoOwners),
        (Stage::Enter, Call::Unshare, Purpose::Walls, Errno::EPERM, Advice::KeepWalls),
        (Stage::Enter, Call::Openat2, Purpose::Beneath, Errno::EPERM, Advice::Landlock),
        (Stage::Confine, Call::LandlockCreateRuleset, Purpose::Beneath, Errno::EOPNOTSUPP, Advice::Landlock),
        (Stage::Apply, Call::Openat, Purpose::Usual, Errno::ESTALE, Advice::DisturbedOrUnstable),
        (Stage::Apply, Call::Mkdirat, Purpose::Usual, Errno::EEXIST, Advice::Disturbed),
    ] {
        assert_eq!(advice(stage, call, purpose, errno), Some(want), "{stage:?} {call:?} {purpose:?} {errno:?}");
    }
    let exchanged = cause(Cause::Exchanged { name: b"a".into() });
    assert_eq!(exchanged.advice(), Some(Advice::DisturbedOrUnstable));
    says(&exchanged, &["no stable inode numbers"]);
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
        (
            EventKind::CompressionDiffers { declared: Compression::Gzip, found: Compression::None },
            "declared as gzip, but its bytes are uncompressed data",
        ),
        (EventKind::TrailingData { bytes: 9 }, "9 bytes"),
        (EventKind::AnotherArchive { bytes: 9 }, "its 9 bytes were ignored"),
        (EventKind::PatternUnmatched { pattern: "a\n*".into() }, "the pattern \"a\\n*\""),
        (EventKind::XattrUnsupported { name: name(), errno: eperm }, "\"user.a\\n\" not set: EPERM"),
        (EventKind::XattrDropped { name: name() }, "\"user.a\\n\" dropped"),
        (EventKind::XattrDropped { name: b"trusted.a".into() }, "\"trusted.a\" dropped"),
        (EventKind::XattrEscaped { name: name() }, "renamed"),
        (EventKind::ModeIgnored { mode: 0o6660, errno: eperm }, "mode 06660 not set: EPERM"),
        (EventKind::ModeWidened { mode: 0o555 }, "mode 0555 widened"),
        (EventKind::OwnerIgnored { uid: 5, gid: 6, errno: eperm }, "owner 5:6 not set: EPERM"),
        (EventKind::DeviceSkipped { errno: eperm }, "left out: EPERM"),
        (EventKind::TimesIgnored { errno: eperm }, "times not set: EPERM"),
        (EventKind::DevicePlaceholder { errno: eperm }, "empty file"),
        (EventKind::NoThread { errno: Errno::EAGAIN as i32 }, "`ulimit -u`, pids.max"),
        (EventKind::NoThread { errno: eperm }, "forbids clone3"),
        (EventKind::Clamped, "climbs above"),
        (EventKind::DirectoryGone, "no longer"),
        (EventKind::UserMarks, "mount it with userxattr"),
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
        Refusal::Nameless,
        Refusal::ClampedToRoot,
        Refusal::WhiteoutName,
        Refusal::WhiteoutInPath,
        Refusal::DeviceNumber,
        Refusal::ForgedWhiteout,
        Refusal::HardlinkToDirectory,
    ] {
        says(&refusal, &["refused: "]);
    }
    for (what, text) in [
        (EventKind::SocketSkipped, "a socket"),
        (EventKind::Unreadable { errno: 13 }, "EACCES"),
        (EventKind::MountCrossed, "was packed too"),
        (EventKind::XattrUnreadable { name: b"user.x".into(), errno: 5 }, "\"user.x\""),
        (EventKind::ForeignCapability { root: 7 }, "root is 7"),
        (EventKind::OwnerUnmapped { uid: 7, gid: 8 }, "7:8"),
        (EventKind::HolesFilled, "zeros"),
        (EventKind::MarksOutOfReach, "its marks are missed"),
        (EventKind::AclUnmapped { group: true, id: 7 }, "group id 7 in its ACL"),
        (EventKind::ArchiveItself, "the archive itself"),
        (EventKind::AccessTimes { errno: 1 }, "EPERM"),
        (EventKind::AttributesUnread, "takes a new root"),
        (EventKind::Source(SourceChange::Shrank { at: 7 }), "byte 7"),
        (EventKind::Source(SourceChange::Grew { size: 7 }), "7 bytes"),
        (EventKind::Source(SourceChange::Changed), "changed"),
        (EventKind::Source(SourceChange::Vanished), "gone"),
        (EventKind::Source(SourceChange::Appeared), "after the copy began"),
        (EventKind::Source(SourceChange::Busy), "lease"),
    ] {
        says(&what, &[text]);
    }
    says(&cause(Cause::SameName { name: b"a".into() }), &["\"a\""]);
    says(&cause(Cause::UnmappedId { group: true, id: 7 }), &["group id 7 is outside the map"]);
    says(&cause(Cause::Source(SourceChange::Changed)), &["changed"]);
    for (stage, text) in [
        (Stage::Walk, "tree"),
        (Stage::Write, "writing"),
        (Stage::Request, "request"),
        (Stage::Confine, "rights"),
        (Stage::Parse, "headers"),
    ] {
        says(&stage, &[text]);
    }
    let kinds =
        [EntryKind::Directory, EntryKind::Symlink, EntryKind::CharDevice, EntryKind::BlockDevice, EntryKind::Fifo];
    assert_eq!(kinds.map(|k| k.to_string()), ["directory", "symlink", "character device", "block device", "FIFO"]);
}

#[test]
fn a_fallback_without_an_error_number_is_a_wish() {
    let operation = Operation::new(Call::PivotRoot, Operand::Nothing, "\".\", \".\"");
    let wish = Fallback { operation: operation.clone(), errno: None };
    assert_eq!(wish.to_string(), "asked for");
    let forced = Fallback { operation, errno: Some(Errno::EINVAL as i32) };
    assert_eq!(forced.to_string(), "pivot_root(\".\", \".\") = -1 EINVAL (Invalid argument)");
    let confinement = Confinement { root: RootSwitch::Chroot, fallback: Some(forced), ..Confinement::default() };
    says(&confinement, &["chroot (pivot_root(", "no seccomp", "no Landlock", "capabilities none"]);
    let id = IdRange { inside: 0, outside: 1000, count: 1 };
    let user_namespace = Some(UserNamespaceReport { uids: vec![id], gids: vec![id, id] });
    let strong =
        Confinement { root: RootSwitch::Pivot, user_namespace, landlock_abi: Some(6), ..Confinement::default() };
    assert!(!strong.to_string().contains("mounts"), "{strong}");
    let over = Confinement { root: RootSwitch::Pivot, over_first_mount: true, ..Confinement::default() };
    says(&over, &["pivot_root over the first mount, an initramfs, which stays below"]);
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
