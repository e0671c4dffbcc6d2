//! Rule 12: owner, mode, times; on the right inode, in the right order.

use rustix::io::Errno;
use untar_in_root::{ErrorKind, EventKind, IdRange, Malformed, Owner, Refusal};

use crate::support::privilege::need_root;
use crate::support::run::{Run, both, layers, literal, plain};
use crate::support::tarball::Tarball;

fn tar() -> Tarball {
    Tarball::new()
}

/// `cap_net_raw=ep`, version 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn rule_12_modes_of_every_kind() {
    for mode in [0o644, 0o4755, 0o2755, 0o1777, 0o7777, 0o000, 0o002, 0o400] {
        let archive = tar().file("f", "1").with(|e| _ = e.mode(mode)).dir("d").with(|e| _ = e.mode(mode));
        let archive = archive.fifo("p").with(|e| _ = e.mode(mode));
        both(&[archive], |run| {
            let want = format!("{mode:04o}");
            run.has("f", "mode", &want).has("d", "mode", &want).has("p", "mode", &want);
        });
    }
    // What is above the permission bits is not a type.
    plain(tar().file("f", "1").with(|e| _ = e.mode(0o100644))).has("f", "mode", "0644").has("f", "type", "file");
}

#[test]
fn rule_12_set_id_bits_survive_the_change_of_owner() {
    if !need_root() {
        return;
    }
    let of = |e: &mut crate::support::tarball::Entry| _ = e.mode(0o6755).uid(1234).gid(4321);
    let archive = tar().file("f", "1").with(of).dir("d").with(of).fifo("p").with(of).symlink("l", "f").with(of);
    let archive = archive.char_dev("c", 1, 3).with(of).file("d/inside", "");
    both(&[archive], |run| {
        run.report();
        let tree = run.tree();
        for path in ["f", "d", "p", "l", "c"] {
            assert_eq!((tree.get(path, "uid"), tree.get(path, "gid")), ("1234", "4321"), "{path}");
            assert_eq!(tree.get(path, "mode"), if path == "l" { "0777" } else { "6755" }, "{path}");
        }
        assert_eq!(tree.get("d/inside", "gid"), "0", "the set-gid directory hands nothing down");
    });
}

#[test]
fn rule_12_a_set_gid_destination_hands_nothing_down() {
    if !need_root() {
        return;
    }
    let below = tar().dir(".").with(|e| _ = e.mode(0o2755).gid(77));
    layers(&[below, tar().file("f", "").dir("d").symlink("l", "x").fifo("p").file("e/f", "")])
        .has("f", "gid", "0")
        .has("d", "gid", "0")
        .has("l", "gid", "0")
        .has("p", "gid", "0")
        .has("e", "gid", "0")
        .has("e/f", "gid", "0")
        .has("e", "mode", "0755")
        .has("d", "mode", "0755");
}

#[test]
fn rule_12_capabilities_survive_the_change_of_owner_and_what_follows() {
    if !need_root() {
        return;
    }
    let archive = tar().file("f", "1").with(|e| {
        _ = e.uid(1234).mode(0o4755).xattr("security.capability", CAPABILITY).xattr("user.z", "1");
    });
    // A hardlink entry with other metadata, before and after.
    let archive = archive.hardlink("h", "f").with(|e| _ = e.uid(0).mode(0o600).xattr("user.h", "1"));
    both(&[archive], |run| {
        let run =
            run.leads_to("f=1 h==f").has("f", "uid", "1234").has("f", "mode", "4755").has("f", "xattr.user.h", "");
        let value = run.tree().get("f", "xattr.security.capability").to_owned();
        assert!(value.starts_with("\\x01\\x00\\x00\\x02\\x00\\x20"), "{value}");
    });
}

#[test]
fn rule_12_a_hardlink_entry_never_alters_the_inode() {
    let archive = tar().file("f", "1").with(|e| _ = e.mode(0o751).mtime_ns(5, 6).xattr("user.f", "1"));
    let archive = archive.hardlink("h", "f").with(|e| {
        _ = e.mode(0o4777).uid(99).gid(98).mtime(1).xattr("user.h", "1").body("data").size(4);
    });
    // With data, which is not read as content: where it stands the next header is due.
    let tree = plain(archive).fails(ErrorKind::Archive, Malformed::Checksum).leaves("f=1 h==f").tree();
    assert_eq!((tree.get("f", "mode"), tree.get("f", "mtime")), ("0751", "5.000000006"));
    let archive = tar().file("f", "1").with(|e| _ = e.mode(0o751).mtime_ns(5, 6)).hardlink("h", "f");
    both(&[archive.with(|e| _ = e.mode(0o4777).uid(99).gid(-5).mtime(1).xattr("user.h", "1"))], |run| {
        let run = run.leads_to("f=1 h==f").has("f", "mode", "0751").has("f", "mtime", "5.000000006");
        run.has("f", "xattr.user.h", "");
    });
}

#[test]
fn rule_12_times_are_exact() {
    let times = [
        (0, 0, "0.000000000"),
        (1_700_000_000, 123_456_789, "1700000000.123456789"),
        (-1, 500_000_000, "-1.500000000"),
        (-86_400 * 365 * 30, 1, "-946080000.000000001"),
        (-2_147_483_648, 0, "-2147483648.000000000"),
        (4_294_967_296, 999_999_999, "4294967296.999999999"),
    ];
    for (seconds, nanos, want) in times {
        let at = |e: &mut crate::support::tarball::Entry| _ = e.mtime_ns(seconds, nanos);
        let archive = tar().file("f", "").with(at).dir("d").with(at).symlink("l", "f").with(at).fifo("p").with(at);
        both(&[archive], |run| {
            run.has("f", "mtime", want).has("d", "mtime", want).has("l", "mtime", want).has("p", "mtime", want);
        });
    }
}

#[test]
fn rule_12_times_beyond_2262_where_the_file_system_can() {
    // tmpfs has 64 bits of seconds.
    let scratch = crate::support::scratch::Scratch::new();
    if !crate::support::privilege::need_mount() {
        return;
    }
    let dest = scratch.tmpfs("dest", 1 << 20).expect("tmpfs");
    let archive = tar().file("f", "").with(|e| _ = e.mtime_ns(9_999_999_999, 7)).build();
    crate::support::run::apply(&dest, &archive, literal).expect("applied");
    let tree = crate::support::tree::Tree::read(&dest);
    assert_eq!(tree.get("f", "mtime"), "9999999999.000000007");
}

#[test]
fn rule_12_times_can_be_clamped() {
    let archive = tar().file("old", "").with(|e| _ = e.mtime_ns(99, 999_999_999)).file("new", "");
    let archive = archive.with(|e| _ = e.mtime_ns(100, 1)).dir("d").with(|e| _ = e.mtime(5000)).symlink("l", "x");
    Run::of(&[archive], |o| o.clamp_mtime = Some(100))
        .has("old", "mtime", "99.999999999")
        .has("new", "mtime", "100.000000000")
        .has("d", "mtime", "100.000000000")
        .has("l", "mtime", "100.000000000");
}

#[test]
fn rule_12_ids_that_would_wrap_are_refused() {
    for id in [-1, -2, 4_294_967_295, 4_294_967_296, 1 << 40, i64::MAX] {
        for (archive, cause) in [
            (tar().file("f", "").with(|e| _ = e.uid(id)), Refusal::Uid),
            (tar().file("f", "").with(|e| _ = e.gid(id)), Refusal::Gid),
            (tar().dir("f").with(|e| _ = e.uid(id)), Refusal::Uid),
            (tar().symlink("f", "x").with(|e| _ = e.gid(id)), Refusal::Gid),
            (tar().dir(".").with(|e| _ = e.gid(id)), Refusal::Gid),
        ] {
            both(&[archive], |run| {
                run.fails(ErrorKind::Refused, cause).leaves("");
            });
        }
    }
    plain(tar().file("f", "").with(|e| _ = e.pax("uid", "4294967295"))).fails(ErrorKind::Refused, Refusal::Uid);
    plain(tar().file("f", "").with(|e| _ = e.pax("gid", "-1")))
        .fails(ErrorKind::Archive, Malformed::NegativeNumber)
        .leaves("");
}

#[test]
fn rule_12_large_ids_are_exact() {
    if !need_root() {
        return;
    }
    let archive = tar().file("f", "").with(|e| _ = e.uid(4_294_967_294).gid(2_147_483_648));
    both(&[archive], |run| {
        run.has("f", "uid", "4294967294").has("f", "gid", "2147483648");
    });
    let archive = tar().file("f", "").with(|e| _ = e.pax("uid", "3000000000").pax("gid", "70000"));
    plain(archive).has("f", "uid", "3000000000").has("f", "gid", "70000");
}

#[test]
fn rule_12_names_of_users_are_never_looked_up() {
    // `daemon` is uid 1 on any Debian.
    let archive = tar().file("f", "").with(|e| _ = e.patch(265, "daemon").patch(297, "daemon").pax("uname", "daemon"));
    plain(archive).has("f", "type", "file");
    if need_root() {
        plain(tar().file("f", "").with(|e| _ = e.patch(265, "daemon").patch(297, "daemon"))).has("f", "uid", "0");
    }
}

#[test]
fn owners_go_by_policy() {
    if !need_root() {
        return;
    }
    let archive = || tar().file("f", "").with(|e| _ = e.uid(5).gid(6).mode(0o4755)).file("i/f", "");
    let map = |inside, outside, count| vec![IdRange { inside, outside, count }];
    let with = |owner: Owner| Run::of(&[archive()], |o| o.owner = owner);
    with(Owner::Forced { uid: 70, gid: 71 })
        .has("f", "uid", "70")
        .has("f", "gid", "71")
        .has("i", "uid", "70")
        .has("f", "mode", "4755");
    with(Owner::Mapped { uids: map(0, 1000, 10), gids: map(0, 2000, 10) })
        .has("f", "uid", "1005")
        .has("f", "gid", "2006");
    with(Owner::Mapped { uids: map(0, 1000, 5), gids: map(0, 2000, 10) })
        .fails(ErrorKind::Refused, Refusal::Uid)
        .leaves("");
    with(Owner::Caller).has("f", "uid", "0").has("f", "gid", "0");
}

#[test]
fn an_owner_that_the_kernel_refuses_can_be_ignored() {
    if !crate::support::privilege::need_userns() {
        return;
    }
    let archive =
        || tar().file("f", "").with(|e| _ = e.uid(5).gid(6).mode(0o6755)).symlink("l", "f").with(|e| _ = e.uid(5));
    let single = |o: &mut untar_in_root::Options| o.jail.user_namespace = untar_in_root::UserNamespace::Single;
    Run::of(&[archive()], single).fails(ErrorKind::Entry, Errno::INVAL);
    let run = Run::of(&[archive()], |o| {
        single(o);
        o.ignore_chown_errors = true;
    });
    // Set-id bits are for the owner that was asked for, nobody else.
    run.leads_to("f= l->f").has("f", "mode", "0755").tells(&[
        EventKind::OwnerIgnored { uid: 5, gid: 6, errno: 22 },
        EventKind::OwnerIgnored { uid: 5, gid: 0, errno: 22 },
    ]);
}
