//! Rules 9 and 10: which names are one file.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, mknodat};
use untar_in_root::{Limit, PackOptions};

use super::{entries, names_of, pack, plain, try_pack};
use crate::support::expected::Expected;
use crate::support::privilege::need_mount;
use crate::support::scratch::Scratch;

#[test]
fn pack_rule_09_further_names_of_files_links_and_fifos_are_links() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/a", "content");
    symlink("target", root.join("b")).expect("link");
    mknodat(CWD, root.join("c"), FileType::Fifo, 0o640.into(), 0).expect("fifo");
    _ = rustix::fs::setxattr(root.join("a"), "user.x", b"y", rustix::fs::XattrFlags::CREATE);
    for name in ["a", "b", "c"] {
        fs::hard_link(root.join(name), root.join(format!("{name}2"))).expect("link");
    }
    let all = entries(&pack(&root, plain).0);
    let links: Vec<_> = all.iter().filter(|seen| seen.kind == b'1').collect();
    let shown: Vec<_> = links.iter().map(|seen| (&seen.name[..], &seen.link[..], seen.size, seen.body.len())).collect();
    assert_eq!(shown, [(&b"a2"[..], &b"a"[..], 0, 0), (b"b2", b"b", 0, 0), (b"c2", b"c", 0, 0)]);
    assert!(links.iter().all(|seen| seen.record("SCHILY.xattr.user.x").is_none()));
    assert_eq!(links[0].mode, all.iter().find(|seen| seen.name == b"a").expect("a").mode);
}

#[test]
fn pack_rule_09_if_the_first_name_is_left_out_the_next_is_the_file() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    scratch.file("root/a", "content");
    for name in ["b", "c"] {
        fs::hard_link(root.join("a"), root.join(name)).expect("link");
    }
    let all = entries(&pack(&root, |o: &mut PackOptions| o.exclude = vec!["a".into()]).0);
    assert_eq!((all[1].kind, &all[1].body[..]), (b'0', &b"content"[..]));
    assert_eq!((all[2].kind, &all[2].link[..]), (b'1', &b"b"[..]));
}

#[test]
fn pack_rule_10_equal_numbers_on_two_file_systems_are_two_files() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    // Two file systems of the same kind give the same numbers.
    for name in ["m", "n"] {
        let below = scratch.tmpfs(&format!("root/{name}"), 1 << 20).expect("tmpfs");
        fs::write(below.join("a"), name).expect("file");
        fs::hard_link(below.join("a"), below.join("b")).expect("link");
    }
    let (archive, _) = pack(&root, |o| o.jail.mounts = untar_in_root::Mounts::Cross);
    assert_eq!(names_of(&archive), "./ m/ m/a m/b n/ n/a n/b");
    let shown: Vec<_> =
        entries(&archive).into_iter().filter(|seen| seen.kind < b'2').map(|s| (s.kind, s.link, s.body)).collect();
    let (file, link) = (|body: &str| (b'0', vec![], body.as_bytes().to_vec()), |to: &str| (b'1', to.into(), vec![]));
    assert_eq!(shown, [file("m"), link("m/a"), file("n"), link("n/a")]);
}

#[test]
fn pack_rule_10_the_table_has_a_limit() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    for number in 0..4 {
        scratch.file(format!("root/{number}"), "x");
        fs::hard_link(root.join(number.to_string()), root.join(format!("{number}-again"))).expect("link");
    }
    pack(&root, |o| o.limits.hardlinks = 4);
    let (error, _) = try_pack(&root, |o| o.limits.hardlinks = 3).expect_err("a limit");
    Expected::Limit(Limit::Hardlinks).assert_of(&error);
}
