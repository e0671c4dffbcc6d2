//! Scratch directories go away; canaries sing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::privilege::need_mount;
use crate::support::scratch::{Scratch, mounts_below};

#[test]
fn a_hostile_tree_is_removed() {
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    fs::write(scratch.dir("closed/below").join("file"), "").expect("file");
    for name in ["closed/below", "closed"] {
        fs::set_permissions(scratch.join(name), fs::Permissions::from_mode(0o000)).expect("mode");
    }
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn a_small_tmpfs_fills_up_and_is_unmounted() {
    if !need_mount() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    let small = scratch.tmpfs("small", 1 << 16).expect("tmpfs");
    assert_eq!(mounts_below(&path), [small.as_path()]);
    let error = fs::write(small.join("file"), vec![0; 1 << 17]).expect_err("too much");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(scratch);
    assert!(!path.exists() && mounts_below(&path).is_empty());
}

/// Something that must not go unseen.
type Escape = (&'static str, fn(&Scratch));

#[test]
fn canaries_see_each_escape() {
    let escapes: [Escape; 6] = [
        ("a new file", |s| _ = s.file("guarded/new", "")),
        ("other content", |s| _ = s.file("guarded/etc/passwd", "x")),
        ("another mode and back", |s| {
            for mode in [0o600, 0o640] {
                fs::set_permissions(s.join("guarded/victim"), fs::Permissions::from_mode(mode)).expect("mode");
            }
        }),
        ("a link from inside", |s| {
            fs::hard_link(s.join("guarded/victim"), s.join("guarded/dest/stolen")).expect("link");
        }),
        ("above", |s| fs::remove_file(s.join("victim")).expect("remove")),
        ("a name that begins alike", |s| _ = s.file("guarded/dest-and-more/x", "")),
    ];
    for (what, escape) in escapes {
        let scratch = Scratch::new();
        let guarded = scratch.guarded();
        fs::write(guarded.dest().join("inside"), "").expect("file");
        guarded.assert_untouched();
        escape(&scratch);
        assert!(!guarded.damage().is_empty(), "{what}");
    }
}
