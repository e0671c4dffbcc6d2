//! Rule 9: something is already there.

use std::os::unix::net::UnixListener;

use rustix::io::Errno;
use untar_in_root::{ErrorKind, Refusal};

use crate::support::privilege::{need_root, need_tools};
use crate::support::run::{Run, apply, both, layer, layers, line, literal};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn tar() -> Tarball {
    Tarball::new()
}

#[test]
fn rule_09_a_directory_over_a_directory_merges() {
    let below = || tar().dir("d").with(|e| _ = e.mode(0o700).mtime(5)).file("d/old", "1");
    both(&[below(), tar().dir("d").with(|e| _ = e.mode(0o2751).mtime_ns(9, 1)).file("d/new", "2")], |run| {
        run.leads_to("d/ d/new=2 d/old=1").has("d", "mode", "2751").has("d", "mtime", "9.000000001");
    });
}

#[test]
fn rule_09_merging_clears_attributes_that_the_header_does_not_have() {
    let below = || tar().dir("d").with(|e| _ = e.xattr("user.old", "1").xattr("user.both", "1"));
    let above = || tar().dir("d").with(|e| _ = e.xattr("user.new", "2").xattr("user.both", "2"));
    both(&[below(), above()], |run| {
        let run = run.has("d", "xattr.user.new", "2").has("d", "xattr.user.both", "2");
        run.has("d", "xattr.user.old", "");
    });
    // Listed twice in one archive: the second is what counts.
    both(&[below().dir("d")], |run| {
        run.has("d", "xattr.user.old", "");
    });
    // An implied directory is not listed: nothing is cleared.
    both(&[below(), tar().file("d/f", "")], |run| {
        run.has("d", "xattr.user.old", "1");
    });
}

#[test]
fn rule_09_merging_clears_acls() {
    let acl = "user::rwx,user:0:r-x,group::r-x,mask::r-x,other::r-x";
    let below = || tar().dir("d").with(|e| _ = e.pax("SCHILY.acl.access", acl).pax("SCHILY.acl.default", acl));
    both(&[below(), tar().dir("d").file("d/f", "")], |run| {
        run.report();
        let tree = run.tree();
        for path in ["d", "d/f"] {
            assert!(!tree.text(&[]).contains("acl"), "{path}: {tree}");
        }
        run.has("d", "mode", "0755").has("d/f", "mode", "0644");
    });
}

#[test]
fn rule_09_merging_masks_overlays_own_and_selinux() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let dir = scratch.dir("dest/d");
    for name in
        ["trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.overlay.x", "user.old", "trusted.old"]
    {
        rustix::fs::setxattr(&dir, name, b"y", rustix::fs::XattrFlags::CREATE).expect(name);
    }
    apply(&dest, &tar().dir("d").build(), |o| o.trusted_xattrs = true).expect("applied");
    let tree = Tree::read(&dest);
    for (name, want) in [
        ("trusted.overlay.opaque", "y"),
        ("user.overlay.opaque", "y"),
        ("trusted.overlay.overlay.x", ""),
        ("user.old", ""),
        ("trusted.old", ""),
    ] {
        assert_eq!(tree.get("d", &format!("xattr.{name}")), want, "{name}");
    }
}

#[test]
fn rule_09_merging_keeps_settings_of_the_file_system() {
    if !need_root() || !need_tools(&["mkfs.btrfs", "btrfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let dest = scratch.with_quota("dest", 64 << 20);
    let dir = scratch.dir(dest.join("d"));
    let settings = [("btrfs.compression", "zstd"), ("trusted.lov", "y"), ("trusted.glusterfs.dht", "y")];
    let set = |name, value: &str| {
        for dir in [&dir, &dest] {
            rustix::fs::setxattr(dir, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).expect(name);
        }
    };
    settings.into_iter().for_each(|(name, value)| set(name, value));
    let archive = tar().dir(".").dir("d").build();
    // Nothing is to be cleared, so no consent is needed.
    apply(&dest, &archive, layer).expect("applied");
    set("trusted.old", "y");
    apply(&dest, &archive, |o| o.trusted_xattrs = true).expect("applied");
    let tree = Tree::read(&dest);
    for path in [".", "d"] {
        for (name, value) in settings {
            assert_eq!(tree.get(path, &format!("xattr.{name}")), value, "{name} of {path}");
        }
        assert_eq!(tree.get(path, "xattr.trusted.old"), "", "{path}");
    }
}

#[test]
fn rule_09_a_directory_replaces_a_symlink() {
    both(&[tar().dir("t").symlink("d", "t"), tar().dir("d").file("d/f", "1")], |run| {
        run.leads_to("d/ d/f=1 t/");
    });
}

#[test]
fn rule_09_symlinks_to_directories_can_be_kept() {
    let run = |above: Tarball, target: &str| {
        let below = tar().dir("t").symlink("d", target);
        Run::of(&[below, above], |o| o.keep_directory_symlink = true)
    };
    for target in ["t", "/t", "../../t"] {
        run(tar().dir("d").with(|e| _ = e.mode(0o711)).file("d/f", "1"), target)
            .leads_to(&format!("d->{target} t/ t/f=1"))
            .has("t", "mode", "0711");
    }
    run(tar().dir("d").file("d/f", "1"), "nowhere").leads_to("d/ d/f=1 t/");
    run(tar().dir("d").file("d/f", "1"), "d").leads_to("d/ d/f=1 t/");
    run(tar().file("d", "1"), "t").leads_to("d=1 t/");
}

#[test]
fn rule_09_anything_else_is_removed_and_made_anew() {
    type Kind = (&'static str, fn(Tarball) -> Tarball);
    let kinds: [Kind; 5] = [
        ("x=new", |t| t.file("x", "new")),
        ("x->/etc/passwd", |t| t.symlink("x", "/etc/passwd")),
        ("x|", |t| t.fifo("x")),
        ("x/", |t| t.dir("x")),
        ("x==t", |t| t.hardlink("x", "t")),
    ];
    let below: [fn(Tarball) -> Tarball; 6] = [
        |t| t.file("x", "old"),
        |t| t.symlink("x", "t"),
        |t| t.symlink("x", "/etc"),
        |t| t.fifo("x"),
        |t| t.file("x/full/f", "old"),
        |t| t.hardlink("x", "t"),
    ];
    for (want, new) in kinds {
        for old in below {
            let want = match want {
                "x/" if old(tar().file("t", "")).build() == tar().file("t", "").file("x/full/f", "old").build() => {
                    "t=target x/ x/full/ x/full/f=old".to_owned()
                }
                "x==t" => "t=target x==t".to_owned(),
                want => format!("t=target {want}"),
            };
            both(&[old(tar().file("t", "target")), new(tar())], |run| {
                run.leads_to(&want).has("t", "content", "target");
            });
            // The same within one archive.
            both(&[new(old(tar().file("t", "target")))], |run| {
                run.leads_to(&want);
            });
        }
    }
}

#[test]
fn rule_09_content_does_not_reach_through_links() {
    let below = || tar().file("t", "target").hardlink("x", "t").symlink("y", "t");
    both(&[below(), tar().file("x", "new").file("y", "new")], |run| {
        run.leads_to("t=target x=new y=new");
    });
}

#[test]
fn rule_09_a_directory_and_a_file_may_be_kept_apart() {
    let strict = |o: &mut untar_in_root::Options| o.no_overwrite_dir_nondir = true;
    let conflicts = [
        (tar().dir("x"), tar().file("x", "1"), "x/"),
        (tar().file("x/y", "1"), tar().symlink("x", "t"), "x/ x/y=1"),
        (tar().file("x", "1"), tar().dir("x"), "x=1"),
        (tar().symlink("x", "t"), tar().dir("x"), "x->t"),
        (tar().dir("x"), tar().fifo("x"), "x/"),
        (tar().dir("x").file("f", ""), tar().hardlink("x", "f"), "f= x/"),
    ];
    for (below, above, want) in conflicts {
        Run::of(&[below, above], strict).fails(ErrorKind::Refused, Refusal::DirectoryConflict).leaves(want);
    }
    Run::of(&[tar().dir("x").file("x", "1")], strict)
        .fails(ErrorKind::Refused, Refusal::DirectoryConflict)
        .leaves("x/");
    Run::of(&[tar().dir("x").file("f", "1"), tar().dir("x").file("f", "2")], strict).leads_to("f=2 x/");
    Run::of(&[tar().file("f", "1"), tar().symlink("f", "x")], strict).leads_to("f->x");
}

#[test]
fn rule_09_a_hardlink_to_itself_is_a_no_op() {
    both(&[tar().file("f", "1").hardlink("f", "f").hardlink("./f", "/f")], |run| {
        run.leads_to("f=1");
    });
    both(&[tar().file("f", "1").hardlink("g", "f").hardlink("f", "g").hardlink("g", "f")], |run| {
        run.leads_to("f=1 g==f");
    });
    both(&[tar().file("f", "1").hardlink("g", "f"), tar().hardlink("f", "g").hardlink("g", "f")], |run| {
        run.leads_to("f=1 g==f");
    });
}

#[test]
fn rule_09_a_fifo_or_socket_in_the_way_is_never_opened() {
    // Opening a FIFO would wait for the other end for ever.
    both(&[tar().fifo("p").fifo("q").fifo("r"), tar().file("p", "1").dir("q").hardlink("h", "r")], |run| {
        run.leads_to("h| p=1 q/ r==h");
    });
    Run::of(&[tar().fifo("p"), tar().file("p/x", "1")], literal).fails(ErrorKind::Entry, Errno::NOTDIR).leaves("p|");
    layers(&[tar().fifo("p"), tar().file("p/x", "1")]).leads_to("p/ p/x=1");
    let scratch = Scratch::new();
    let dest = scratch.dir("dest");
    let _listener = UnixListener::bind(dest.join("s")).expect("socket");
    apply(&dest, &tar().hardlink("h", "s").file("s", "1").build(), layer).expect("applied");
    assert_eq!(line(&Tree::read(&dest)).matches("s=1").count(), 1);
}

#[test]
fn rule_09_a_directory_later_replaced_does_not_disturb_the_end() {
    layers(&[tar(), tar().dir("d").file("d/f", "1").symlink("d", "x")]).leads_to("d->x");
    layers(&[tar(), tar().dir("d/e/f").with(|e| _ = e.mode(0o500)).file("d", "1")]).leads_to("d=1");
    let run = layers(&[tar(), tar().dir("d").with(|e| _ = e.mtime(7).mode(0o711)).file("d", "1").dir("d")]);
    run.leads_to("d/").has("d", "mtime", "3600.000000000").has("d", "mode", "0755");
}
