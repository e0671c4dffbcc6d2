//! What is given to a file is given to what is held, never to a name: `strace` of a whole run.

use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};

use super::Trace;
use crate::support::privilege::{need_root, need_tool};
use crate::support::tarball::Tarball;

/// Calls that change what a name leads to.
const BY_NAME: &[&str] = &[
    "chown",
    "lchown",
    "fchownat",
    "chmod",
    "fchmodat",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "removexattr",
    "lremovexattr",
];
/// Those that this strace may know by number only, and which of their arguments has the flags.
const BY_NUMBER: &[(u32, usize)] = &[(452, 3), (463, 2), (466, 2)];
const AT_EMPTY_PATH: u32 = 0x1000;

/// Whether this line of strace is such a call on a name.
fn is_by_name(line: &str) -> bool {
    let Some((call, arguments)) = line.split_once('(') else { return false };
    if let Some(number) = call.strip_prefix("syscall_0x").and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        let Some((_, flags)) = BY_NUMBER.iter().find(|(known, _)| *known == number) else { return false };
        let flags = arguments.split(", ").nth(*flags).and_then(|flags| flags.strip_prefix("0x"));
        return flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).unwrap_or(0) & AT_EMPTY_PATH == 0;
    }
    let known = BY_NAME.contains(&call) || ["fchmodat2", "setxattrat", "removexattrat"].contains(&call);
    known && arguments.split_once('"').is_some_and(|(_, name)| !name.starts_with('"'))
}

#[test]
fn strace_nothing_is_given_to_a_name() {
    if !need_root() || !need_tool("strace") {
        return;
    }
    // user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::r-x.
    let acl = [
        &2_u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255],
    ]
    .concat();
    let with_acl =
        |dest: &Path| setxattr(dest, "system.posix_acl_default", &acl, XattrFlags::empty()).expect("default ACL");
    let with = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o4755).uid(1234).mtime(9).xattr("user.x", "1");
    let archive = Tarball::new().symlink("l", "t").with(with).fifo("p").with(with).char_dev("c", 1, 3).with(with);
    let archive = archive.dir("d").with(with).file("d/f", "1").with(with).hardlink("h", "d/f").build();
    let plain = |_: &Path| {};
    for (options, before) in [("pivot", &plain as &dyn Fn(&Path)), ("pivot", &with_acl), ("chroot", &with_acl)] {
        let (trace, said) = Trace::on(options, &archive, before);
        said.succeeds();
        let threads = trace.helper();
        let lines = || threads.iter().flatten();
        let wrong: Vec<_> = lines().filter(|line| is_by_name(line)).collect();
        assert!(wrong.is_empty(), "{options}: {wrong:#?}");
        for call in ["fchownat(", "utimensat("] {
            let held = lines().filter(|l| l.starts_with(call) && l.contains("AT_EMPTY_PATH")).count();
            assert_eq!(held, 3, "{options}: {call} of the link, the FIFO and the device");
        }
    }
}

#[test]
fn lines_of_strace_that_give_something_to_a_name_are_known() {
    for line in [
        r#"fchownat(6, "l", 1234, 0, AT_SYMLINK_NOFOLLOW) = 0"#,
        r#"syscall_0x1c4(0x6, 0x7f5d, 0x9ed, 0x100, 0, 0) = 0"#,
        r#"syscall_0x1cf(0x6, 0x7f5d, 0x100, 0x55, 0, 0) = 0"#,
    ] {
        assert!(is_by_name(line), "{line}");
    }
    for line in [
        r#"fchownat(6, "", 1234, 0, AT_EMPTY_PATH) = 0"#,
        r#"utimensat(6, NULL, [{tv_sec=9, tv_nsec=0}], 0) = 0"#,
        r#"syscall_0x1c4(0x6, 0x7f5d, 0x9ed, 0x1000, 0, 0) = 0"#,
    ] {
        assert!(!is_by_name(line), "{line}");
    }
}
