//! Rule 13: extended attributes, ACLs, capabilities.

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use untar_in_root::{ErrorKind, EventKind, IdRange, Limit, Malformed, Owner, Refusal, UserNamespace, Xattrs};

use crate::support::expected::Expected;
use crate::support::privilege::{need_mount, need_root, need_userns};
use crate::support::run::{Run, apply, both, literal, plain};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

const ACL: &str = "user::rwx,user:1000:r--,group::r-x,group:50:rw-,mask::rwx,other::---";
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn dropped(name: &str) -> EventKind {
    EventKind::XattrDropped { name: name.as_bytes().into() }
}

#[test]
fn rule_13_both_spellings_of_attributes() {
    let archive = tar().file("f", "").with(|e| {
        _ = e
            .pax("SCHILY.xattr.user.a", b"1\n\0\xff")
            .pax("LIBARCHIVE.xattr.user.b%3D", "Zm9v")
            .xattr("user.empty", "");
    });
    both(&[archive], |run| {
        run.has("f", "xattr.user.a", "1\\x0a\\x00\\xff").has("f", "xattr.user.b=", "foo").tells(&[]);
    });
    let archive = tar().file("f", "").with(|e| _ = e.xattr("user.empty", ""));
    let run = plain(archive);
    assert!(run.tree().text(&[]).contains("xattr.user.empty="), "{}", run.tree());
}

#[test]
fn rule_13_attributes_of_directories() {
    let archive = tar()
        .dir("d")
        .with(|e| _ = e.xattr("user.d", "1"))
        .file("d/f", "")
        .dir(".")
        .with(|e| _ = e.xattr("user.r", "1"));
    both(&[archive], |run| {
        run.has("d", "xattr.user.d", "1").has(".", "xattr.user.r", "1").has("d/f", "xattr.user.d", "");
    });
}

#[test]
fn rule_13_user_attributes_of_links_and_fifos_are_events() {
    let archive = || {
        tar()
            .file("t", "")
            .symlink("l", "t")
            .with(|e| _ = e.xattr("user.x", "1"))
            .fifo("p")
            .with(|e| _ = e.xattr("user.x", "1"))
    };
    let refused = || EventKind::XattrUnsupported { name: b"user.x".into(), errno: 1 };
    both(&[archive()], |run| {
        run.leads_to("l->t p| t=").tells(&[refused(), refused()]).has("t", "xattr.user.x", "");
    });
    Run::of(&[archive()], |o| o.xattrs = Xattrs::Strict).fails(ErrorKind::Entry, Expected::Attribute(Errno::PERM));
    Run::of(&[archive()], |o| o.xattrs = Xattrs::None).leads_to("l->t p| t=").tells(&[]);
}

/// No kernel sets one through a descriptor that is only a path, and by its name it might be another file's.
#[test]
fn rule_13_other_attributes_of_links_and_special_files_are_events() {
    if !need_root() {
        return;
    }
    let with = |e: &mut crate::support::tarball::Entry| _ = e.xattr("trusted.x", "1");
    let archive =
        || tar().file("t", "").symlink("l", "t").with(with).fifo("p").with(with).char_dev("c", 1, 3).with(with);
    let lost = || EventKind::XattrUnsupported { name: b"trusted.x".into(), errno: 95 };
    let run = Run::of(&[archive()], |o| o.trusted_xattrs = true).tells(&[lost(), lost(), lost()]);
    let tree = run.tree();
    assert_eq!(["t", "l", "p", "c"].map(|path| tree.get(path, "xattr.trusted.x")), [""; 4]);
    let strict = |o: &mut untar_in_root::Options| (o.trusted_xattrs, o.xattrs) = (true, Xattrs::Strict);
    Run::of(&[archive()], strict).fails(ErrorKind::Entry, Expected::Attribute(Errno::OPNOTSUPP));
}

/// The group's bits of a file with an ACL are the mask of all that it names: without the ACL they are not the group's.
#[test]
fn rule_13_acls_of_special_files_give_nobody_more() {
    let with = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o664).pax("SCHILY.acl.access", ACL);
    // What the group has beside the ACL is not more than it has in it; its mask is kept from everybody.
    let told = [
        EventKind::ModeIgnored { mode: 0o644, errno: 95 },
        EventKind::XattrUnsupported { name: b"system.posix_acl_access".into(), errno: 95 },
    ];
    plain(tar().fifo("p").with(with)).tells(&told).has("p", "mode", "0604");
}

#[test]
fn rule_13_attributes_that_the_file_system_does_not_have_are_events() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    // ramfs has none at all.
    rustix::mount::mount("ramfs", &dest, "ramfs", rustix::mount::MountFlags::empty(), None).expect("ramfs");
    let archive = tar().file("f", "1").with(|e| _ = e.xattr("user.x", "1").pax("SCHILY.acl.access", ACL)).build();
    let report = apply(&dest, &archive, literal).expect("softened");
    let told: Vec<_> = report.events.into_iter().map(|event| event.what).collect();
    let lost = |name: &str| EventKind::XattrUnsupported { name: name.as_bytes().into(), errno: 95 };
    assert_eq!(told, [lost("system.posix_acl_access"), lost("user.x")]);
    let error = apply(&dest, &archive, |o| o.xattrs = Xattrs::Strict).expect_err("strict");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Entry, Some(95)));
}

#[test]
fn rule_13_trusted_attributes_are_dropped_unless_allowed() {
    let archive = || tar().file("f", "").with(|e| _ = e.xattr("trusted.x", "1").xattr("user.x", "2"));
    both(&[archive()], |run| {
        let run = run.tells(&[dropped("trusted.x")]).has("f", "xattr.user.x", "2");
        run.has("f", "xattr.trusted.x", "");
    });
    if need_root() {
        Run::of(&[archive()], |o| o.trusted_xattrs = true).tells(&[]).has("f", "xattr.trusted.x", "1");
    }
}

#[test]
fn rule_13_overlay_attributes_are_dropped_outside_overlay_mode() {
    for name in ["trusted.overlay.opaque", "user.overlay.redirect", "trusted.overlay.overlay.opaque", "user.overlay.x"]
    {
        let archive = || tar().dir("d").with(|e| _ = e.xattr(name, "y"));
        both(&[archive()], |run| {
            run.tells(&[dropped(name)]).has("d", &format!("xattr.{name}"), "");
        });
        Run::of(&[archive()], |o| o.trusted_xattrs = !name.starts_with("trusted")).tells(&[dropped(name)]);
    }
    // Not overlay's own: only begins alike.
    plain(tar().file("f", "").with(|e| _ = e.xattr("user.overlayfs", "1"))).tells(&[]).has(
        "f",
        "xattr.user.overlayfs",
        "1",
    );
}

#[test]
fn rule_13_what_is_dropped_of_a_file_that_another_thread_writes_has_its_name() {
    let add = |tar: Tarball, i| tar.file(format!("f{i}"), "").with(|e| _ = e.xattr("trusted.x", "1"));
    let run = Run::of(&[(0..200).fold(tar(), add)], |o| o.writers = std::num::NonZeroU32::new(2));
    let named = run.report().events.iter().map(|event| event.entry.as_ref().map(|entry| entry.path.clone()));
    assert_eq!(named.collect::<Vec<_>>(), (0..200).map(|i| Some(format!("f{i}").into_bytes())).collect::<Vec<_>>());
}

#[test]
fn rule_13_security_attributes_other_than_capability_are_dropped_unless_allowed() {
    for name in ["security.selinux", "security.ima", "security.evm", "security.capability2"] {
        both(&[tar().file("f", "").with(|e| _ = e.xattr(name, "x"))], |run| {
            run.tells(&[dropped(name)]).has("f", &format!("xattr.{name}"), "");
        });
    }
    if need_root() {
        // A name that no security module takes for its own.
        let archive = tar().dir("d").with(|e| _ = e.xattr("security.x", "1")).file("f", "");
        let archive = archive.with(|e| _ = e.xattr("security.x", "2"));
        let run = Run::of(&[archive], |o| o.security_xattrs = true).tells(&[]);
        run.has("d", "xattr.security.x", "1").has("f", "xattr.security.x", "2");
    }
}

#[test]
fn rule_13_system_attributes_are_acls_only() {
    // A raw ACL would go round the checks of its ids.
    let with = |name| tar().file("f", "").with(|e| _ = e.xattr(name, b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff"));
    plain(with("system.posix_acl_access")).fails(ErrorKind::Archive, (Malformed::Acl, 1024)).leaves("");
    for name in ["system.nfs4_acl", "system.x"] {
        plain(with(name)).tells(&[dropped(name)]).has("f", "mode", "0644");
    }
}

#[test]
fn rule_13_acls_are_applied() {
    if !need_root() {
        return;
    }
    let archive = tar().file("f", "").with(|e| _ = e.mode(0o770).pax("SCHILY.acl.access", ACL)).dir("d");
    let archive = archive.with(|e| _ = e.pax("SCHILY.acl.default", ACL)).file("d/f", "").dir("d/e");
    both(&[archive], |run| {
        let run = run.tells(&[]).has("f", "mode", "0770").has("d/f", "mode", "0644").has("d/e", "mode", "0755");
        let tree = run.tree();
        // user::rwx, user:1000:r--, group::r-x, group:50:rw-, mask::rwx, other::---
        let access = tree.get("f", "xattr.system.posix_acl_access");
        assert!(
            access.contains("\\x02\\x00\\x04\\x00\\xe8\\x03") && access.contains("\\x08\\x00\\x06\\x002\\x00"),
            "{access}"
        );
        assert_eq!(tree.get("d", "xattr.system.posix_acl_default"), access);
        for path in ["d/f", "d/e"] {
            assert_eq!(tree.get(path, "xattr.system.posix_acl_access"), "", "{path}");
            assert_eq!(tree.get(path, "xattr.system.posix_acl_default"), "", "{path}");
        }
    });
}

/// What is out of the way for a moment must be what can be put back: an id that the helper's namespace does not have
/// cannot.
#[test]
fn rule_13_a_default_acl_that_was_there_stays_though_it_names_nobody_here() {
    if !need_root() || !need_userns() {
        return;
    }
    // user::rwx, user:1000:r--, group::r-x, mask::rwx, other::---
    let acl = [
        &2_u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    for namespace in [UserNamespace::Never, UserNamespace::Single] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        setxattr(&dest, "system.posix_acl_default", &acl, XattrFlags::empty()).expect("default ACL");
        let done = apply(&dest, &tar().fifo("p").build(), |o| o.jail.user_namespace = namespace.clone());
        let mut left = [0; 100];
        let length = getxattr(&dest, "system.posix_acl_default", &mut left[..]).expect("the ACL");
        assert_eq!(&left[..length], acl, "{namespace:?}");
        done.expect("applied");
    }
}

#[test]
fn rule_13_acls_in_their_other_spellings() {
    if !need_root() {
        return;
    }
    // With names and numbers, by lines, with comments of the effective rights, without a mask.
    for text in [
        "user::rwx\nuser:lisa:r--:1000\ngroup::r-x\nmask::rwx\nother::---",
        "user::rwx,user:1000:r--,group::r-x,other::---",
        "u::rwx,u:1000:r--,g::r-x,m::rwx,o::---",
    ] {
        let run = plain(tar().file("f", "").with(|e| _ = e.mode(0o750).pax("SCHILY.acl.access", text)));
        let access = run.tree().get("f", "xattr.system.posix_acl_access").to_owned();
        assert!(access.contains("\\x02\\x00\\x04\\x00\\xe8\\x03"), "{text:?}: {:?}, {access}", run.result);
    }
    // By name only: names are never looked up.
    plain(
        tar()
            .file("f", "")
            .with(|e| _ = e.pax("SCHILY.acl.access", "user::rw-,user:daemon:r--,group::r--,mask::r--,other::---")),
    )
    .tells(&[dropped("system.posix_acl_access")])
    .has("f", "mode", "0644");
    plain(tar().file("f", "").with(|e| _ = e.pax("SCHILY.acl.access", "nonsense")))
        .fails(ErrorKind::Archive, Malformed::Acl);
}

#[test]
fn rule_13_acls_are_mapped() {
    if !need_root() {
        return;
    }
    let range = |outside, count| vec![IdRange { inside: 0, outside, count }];
    let run = |count| {
        Run::of(&[tar().file("f", "").with(|e| _ = e.mode(0o770).pax("SCHILY.acl.access", ACL))], |o| {
            o.owner = Owner::Mapped { uids: range(100_000, count), gids: range(200_000, count) };
        })
    };
    let mapped = run(2000);
    let access = mapped.tree().get("f", "xattr.system.posix_acl_access").to_owned();
    assert!(access.contains("\\x02\\x00\\x04\\x00\\x88\\x8a\\x01\\x00"), "101000 in {access}");
    run(100).fails(ErrorKind::Refused, Refusal::Uid);
}

#[test]
fn rule_13_an_acl_names_nobody_twice_when_a_map_makes_two_one() {
    if !need_root() {
        return;
    }
    let acl = "user::rw-,user:1:r--,user:2:-w-,group::---,group:1:--x,mask::rwx,other::---";
    let both = |outside| (0..3).map(|inside| IdRange { inside, outside, count: 1 }).collect::<Vec<_>>();
    let archive = tar().file("f", "").with(|e| _ = e.uid(2).gid(1).pax("SCHILY.acl.access", acl));
    let run = Run::of(&[archive], |o| o.owner = Owner::Mapped { uids: both(7), gids: both(9) }).tells(&[]);
    let run = run.has("f", "uid", "7").has("f", "gid", "9");
    let entries = [(1, 6, u32::MAX), (2, 6, 7), (4, 0, u32::MAX), (8, 1, 9), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let bytes = entries.iter().flat_map(|(tag, bits, id): &(u16, u16, u32)| {
        tag.to_le_bytes().into_iter().chain(bits.to_le_bytes()).chain(id.to_le_bytes())
    });
    let mut value = [0; 256];
    let path = run.dest.join("f");
    let n = rustix::fs::lgetxattr(&path, "system.posix_acl_access", &mut value[..]).expect("an ACL");
    assert_eq!(value[..n], [2, 0, 0, 0].into_iter().chain(bytes).collect::<Vec<_>>());
}

#[test]
fn rule_13_capabilities_become_version_3_under_an_id_map() {
    if !need_root() {
        return;
    }
    let range = |outside| vec![IdRange { inside: 0, outside, count: 65536 }];
    let archive = tar().file("f", "").with(|e| _ = e.xattr("security.capability", CAPABILITY));
    let run = Run::of(&[archive], |o| o.owner = Owner::Mapped { uids: range(100_000), gids: range(100_000) });
    let value = run.tree().get("f", "xattr.security.capability").to_owned();
    assert!(value.starts_with("\\x01\\x00\\x00\\x03") && value.ends_with("\\xa0\\x86\\x01\\x00"), "{value}");
}

#[test]
fn rule_13_capabilities_are_set_inside_a_user_namespace_too() {
    if !need_userns() {
        return;
    }
    let archive = tar().file("f", "").with(|e| _ = e.xattr("security.capability", CAPABILITY));
    let run = Run::of(&[archive], |o| o.jail.user_namespace = untar_in_root::UserNamespace::Single).tells(&[]);
    assert!(!run.tree().get("f", "xattr.security.capability").is_empty());
}

#[test]
fn rule_13_an_invalid_capability_is_an_event() {
    let archive = tar().file("f", "1").with(|e| _ = e.xattr("security.capability", "x"));
    let run = plain(archive).tells(&[dropped("security.capability")]);
    assert_eq!(run.tree().get("f", "content"), "1");
}

#[test]
fn rule_13_limits_on_attributes() {
    let many = (0..300).fold(tar().file("f", ""), |tar, i| tar.with(|e| _ = e.xattr(&format!("user.{i}"), "")));
    plain(many).fails(ErrorKind::Limit, Limit::Xattrs);
    let long = tar().file("f", "").with(|e| _ = e.xattr("user.x", vec![b'x'; 65_537]));
    plain(long).fails(ErrorKind::Limit, Limit::XattrBytes).leaves("");
}

#[test]
fn rule_13_the_file_is_there_with_its_attributes_only() {
    let scratch = Scratch::new();
    let archive = tar().file("f", "1").with(|e| _ = e.xattr("user.x", vec![b'x'; 3000])).build();
    apply(scratch.path(), &archive, literal).expect("applied");
    assert_eq!(Tree::read(scratch.path()).get("f", "xattr.user.x").len(), 3000);
}
