//! Every option does what `--help` says, where that can be shown.

use super::{Dest, can_run};
use crate::support::privilege::{need_root, need_tool, need_userns};
use crate::support::tarball::{Entry, Tarball};
use rustix::mount::{MountFlags, mount, mount_bind};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

#[test]
fn layer_applies_whiteouts_and_no_option_does_not() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().whiteout("gone").file("new", "x").build();
    for (options, gone) in [(&["--layer"][..], true), (&[], false)] {
        let dest = Dest::new();
        fs::write(dest.join("gone"), "").expect("file");
        dest.run(options, &archive).silent();
        assert_eq!((dest.join("gone").exists(), dest.join(".wh.gone").exists()), (!gone, !gone));
    }
}

#[test]
fn an_opaque_marker_makes_its_directory_where_the_option_says_so() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().opaque("new").build();
    for (options, made) in [(&["--layer", "--opaque-makes-directory"][..], true), (&["--layer"], false)] {
        let dest = Dest::new();
        dest.run(options, &archive).silent();
        assert_eq!(dest.join("new").is_dir(), made);
    }
}

#[test]
fn overlay_writes_whiteouts_and_lower_lends_metadata() {
    if !need_root() {
        return;
    }
    let dest = Dest::new();
    let lower = dest.scratch.dir("lower");
    fs::create_dir(lower.join("dir")).expect("dir");
    fs::set_permissions(lower.join("dir"), fs::Permissions::from_mode(0o711)).expect("mode");
    fs::write(lower.join("gone"), "").expect("file");
    let archive = Tarball::new().whiteout("gone").file("dir/new", "x").build();
    dest.run(&["--overlay=user", "--lower", lower.to_str().expect("UTF-8")], &archive).silent();
    let gone = fs::symlink_metadata(dest.join("gone")).expect("whiteout");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(dest.tree().get("dir", "mode"), "0711");
}

#[test]
fn overlay_marks_are_in_the_namespace_that_is_named() {
    if !need_root() {
        return;
    }
    let archive = Tarball::new().dir("d/").opaque("d").build();
    for (option, there, not_there) in [
        ("--overlay", "trusted", "user"),
        ("--overlay=auto", "trusted", "user"),
        ("--overlay=trusted", "trusted", "user"),
        ("--overlay=user", "user", "trusted"),
    ] {
        let dest = Dest::new();
        dest.run(&[option], &archive).silent();
        let mark = |space: &str| {
            let mut value = [0u8; 8];
            let name = format!("{space}.overlay.opaque");
            rustix::fs::lgetxattr(dest.join("d"), &*name, &mut value[..]).map(|n| value[..n].to_vec())
        };
        assert_eq!((mark(there).as_deref(), mark(not_there).is_ok()), (Ok(&b"y"[..]), false), "{option}");
    }
}

#[test]
fn digests_are_compared() {
    use sha2::Digest as _;
    if !can_run() {
        return;
    }
    let tar = Tarball::new().file("a", "x").build();
    let gz = crate::support::tarball::gz(&tar);
    let digest = |bytes: &[u8]| {
        let hex: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        format!("sha256:{hex}")
    };
    let dest = Dest::new();
    dest.run(&["--digest", &digest(&gz), "--diff-id", &digest(&tar)], &gz).silent();
    dest.run(&["--digest", &digest(&tar)], &gz).ended(4, &digest(&gz));
    dest.run(&["--diff-id", &digest(&gz)], &gz).ended(4, "diff ID mismatch");
    // A file is read beside the helper, not pumped.
    let file = dest.scratch.file("a.tar.gz", &gz);
    let words = |digest| ["--digest".to_owned(), digest, dest.path.display().to_string(), file.display().to_string()];
    super::run(words(digest(&gz)), b"").silent();
    super::run(words(digest(&tar)), b"").ended(4, "digest mismatch");
    let report = dest.run(&["--json", "--no-diff-id"], &gz).json();
    assert!(report["report"]["diff_id"].is_null());
}

#[test]
fn into_is_resolved_inside_the_root() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let outside = dest.scratch.dir("outside");
    symlink(&outside, dest.join("link")).expect("symlink");
    let archive = Tarball::new().file("f", "x").build();
    dest.run(&["--into", "a/b"], &archive).silent();
    dest.run(&["--into", "/c"], &archive).silent();
    assert!(dest.join("a/b/f").exists() && dest.join("c/f").exists());
    // What the link names is on the host; in the root already the first directory of it is missing.
    let first = outside.iter().nth(1).expect("an absolute path").display().to_string();
    dest.run(&["--into", "link/d"], &archive).ended(3, &format!("\"/{first}\""));
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn isolation_is_as_asked() {
    if !need_root() {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new().file("f", "x").build();
    for (how, want) in
        [("auto", "pivot"), ("pivot", "pivot"), ("chroot", "chroot_in_namespace"), ("beneath", "beneath")]
    {
        let ran = dest.run(&["--json", "--isolation", how], &archive).ended(0, "");
        assert_eq!((&ran.json()["report"]["confinement"]["root"], &*ran.err), (&want.into(), ""), "{how}");
    }
}

#[test]
fn walls_are_as_asked() {
    if !can_run() {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new().file("f", "x").build();
    let confinement = |options: &[&str]| {
        let ran = dest.run(&[options, &["--json"]].concat(), &archive).ended(0, "");
        ran.json()["report"]["confinement"].clone()
    };
    let best = confinement(&[]);
    let off = confinement(&["--seccomp", "off", "--landlock", "off"]);
    assert_eq!((&off["seccomp"], &off["landlock_abi"]), (&false.into(), &serde_json::Value::Null));
    if best["seccomp"] == true {
        assert_eq!(confinement(&["--seccomp", "required"])["seccomp"], true);
    }
    if !best["landlock_abi"].is_null() {
        let required = confinement(&["--landlock", "required", "--landlock-paths"]);
        assert_eq!((&required["landlock_abi"], &required["landlock_paths"]), (&best["landlock_abi"], &true.into()));
    }
}

#[test]
fn a_user_namespace_is_as_asked() {
    if !need_userns() || !need_root() {
        return;
    }
    let dest = Dest::new();
    let archive = Tarball::new().file("f", "x").build();
    let map = |how: &str| {
        let ran = dest.run(&["--json", "--userns", how], &archive).ended(0, "");
        ran.json()["report"]["confinement"]["user_namespace"].clone()
    };
    assert!(map("auto").is_null() && map("never").is_null());
    assert_eq!(map("single")["uids"], serde_json::json!([{ "inside": 0, "outside": 0, "count": 1 }]));
    let mapped = map("0:0:1,1:100000:9/0:0:1");
    assert_eq!(mapped["uids"][1], serde_json::json!({ "inside": 1, "outside": 100_000, "count": 9 }));
    assert_eq!(mapped["gids"].as_array().map(Vec::len), Some(1));
}

#[test]
fn owners_are_as_asked() {
    if !need_root() {
        return;
    }
    let archive = Tarball::new().file("f", "x").with(|e| _ = e.uid(5).gid(6)).build();
    for (options, want) in [
        (&[][..], (5, 6)),
        (&["--uid-map", "0:1000:1,1:100000:10", "--gid-map", "0:2000:10"], (100_004, 2006)),
        (&["--gid-map", "6:7"], (5, 7)),
        // Several ids of the archive may become one.
        (&["--uid-map", "0:1000:1,5:1000:1", "--gid-map", "0:2000:10,10:2000:10"], (1000, 2006)),
        (&["--chown", "7:8"], (7, 8)),
        (&["--no-same-owner"], (0, 0)),
    ] {
        let dest = Dest::new();
        dest.run(options, &archive).silent();
        let made = fs::metadata(dest.join("f")).expect("made");
        assert_eq!((made.uid(), made.gid()), want, "{options:?}");
    }
    Dest::new().run(&["--uid-map", "0:1000:1"], &archive).ended(1, "--uid-map");
}

#[test]
fn what_a_user_namespace_cannot_do_is_an_error_or_a_warning() {
    if !need_userns() {
        return;
    }
    let owned = Tarball::new().file("f", "x").with(|e| _ = e.uid(5).gid(6).mode(0o4755)).build();
    let device = Tarball::new().char_dev("null", 1, 3).file("f", "x").build();
    let dest = Dest::new();
    let single = |more: &[&str], archive: &[u8]| dest.run(&[&["--userns", "single"], more].concat(), archive);
    single(&[], &owned).ended(1, "--ignore-chown-errors");
    single(&["--ignore-chown-errors"], &owned).ended(0, "owner 5:6 not set: EINVAL");
    assert_eq!(dest.tree().get("f", "mode"), "0755");
    single(&[], &device).ended(1, "--devices skip");
    single(&["--devices", "skip"], &device).ended(0, "warning: character device \"null\"");
    assert!(!dest.join("null").exists() && dest.join("f").exists());
    single(&["--devices", "placeholder"], &device).ended(0, "warning: ");
    assert!(fs::metadata(dest.join("null")).expect("placeholder").is_file());
}

#[test]
fn attributes_are_as_asked() {
    if !need_root() {
        return;
    }
    let entry = |name: &str| Tarball::new().file("f", "x").with(|e| _ = e.xattr(name, "v")).build();
    let get = |dest: &Dest, name: &str| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(dest.join("f"), name, &mut value[..]).is_ok()
    };
    for (options, name, words, set) in [
        (&[][..], "user.a", "", true),
        (&["--xattrs", "strict"], "user.a", "", true),
        (&["--xattrs", "none"], "user.a", "", false),
        (&[], "trusted.a", "--trusted-xattrs allow", false),
        (&["--trusted-xattrs", "allow"], "trusted.a", "", true),
        (&[], "security.a", "--security-xattrs allow", false),
        (&["--security-xattrs", "allow"], "security.a", "", true),
    ] {
        let dest = Dest::new();
        let ran = dest.run(options, &entry(name)).ended(0, words);
        assert_eq!((get(&dest, name), ran.err.is_empty()), (set, words.is_empty()), "{options:?} {name}");
    }
    // user.* does not exist on links.
    let link = Tarball::new().symlink("l", "t").with(|e| _ = e.xattr("user.a", "v")).build();
    Dest::new().run(&[], &link).ended(0, "warning: symlink \"l\"");
    Dest::new().run(&["--xattrs", "strict"], &link).ended(1, "--xattrs best-effort");
}

#[test]
fn escaping_names_are_refused_or_kept_inside() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("../f", "x").build();
    let dest = Dest::new();
    dest.run(&[], &archive).ended(1, "--escaping-names clamp");
    dest.run(&["--escaping-names", "clamp"], &archive).ended(0, "kept inside");
    assert!(dest.join("f").exists() && !dest.scratch.join("f").exists());
}

#[test]
fn the_destination_itself_is_changed_or_not() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().dir("./").with(|e| _ = e.mode(0o711).mtime(77)).build();
    for (options, want) in [(&[][..], "0711"), (&["--root-metadata", "ignore"], "0755")] {
        let dest = Dest::new();
        dest.run(&[options, &["--no-same-owner"]].concat(), &archive).silent();
        assert_eq!(dest.tree().get(".", "mode"), want);
    }
}

#[test]
fn what_is_there_gives_way_or_stays() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().dir("d/").file("d/f", "x").build();
    for (options, kept) in [(&[][..], false), (&["--keep-directory-symlink"], true)] {
        let dest = Dest::new();
        fs::create_dir(dest.join("real")).expect("dir");
        symlink("real", dest.join("d")).expect("symlink");
        dest.run(&[options, &["--no-same-owner"]].concat(), &archive).silent();
        assert_eq!((dest.join("d").is_symlink(), dest.join("real/f").exists()), (kept, kept));
    }
    let dest = Dest::new();
    fs::write(dest.join("d"), "").expect("file");
    dest.run(&["--no-overwrite-dir-nondir", "--no-same-owner"], &archive).ended(1, "--no-overwrite-dir-nondir");
    dest.run(&["--no-same-owner"], &archive).silent();
    assert!(dest.join("d/f").exists());
}

#[test]
fn mounts_are_crossed_only_when_asked() {
    if !need_root() {
        return;
    }
    let dest = Dest::new();
    dest.scratch.tmpfs("dest/m", 1 << 20).expect("tmpfs");
    let archive = Tarball::new().file("m/f", "x").build();
    dest.run(&[], &archive).ended(1, "--mounts cross");
    dest.run(&["--cross-mounts"], &archive).silent();
    dest.run(&["--mounts", "cross"], &archive).silent();
    dest.run(&["--mounts=refuse"], &archive).ended(1, "--mounts cross");
    assert!(dest.join("m/f").exists());
}

#[test]
fn odd_headers_are_as_asked() {
    if !can_run() {
        return;
    }
    let sized = Tarball::new().symlink("l", "t").with(|e| _ = e.size(512)).build();
    let dest = Dest::new();
    dest.run(&["--no-same-owner"], &sized).ended(0, "512 bytes");
    dest.run(&["--no-same-owner", "--strict-sizes"], &sized).ended(1, "--strict-sizes");
    let global = Tarball::new().pax_global(&[("mtime", "77")]).file("f", "x").with(|e| _ = e.mtime(5)).build();
    for (options, want) in [(&[][..], 5), (&["--pax-globals"], 77)] {
        dest.run(&[options, &["--no-same-owner"]].concat(), &global).silent();
        assert_eq!(fs::metadata(dest.join("f")).expect("made").mtime(), want);
    }
}

#[test]
fn names_are_selected_and_stripped() {
    if !can_run() {
        return;
    }
    let archive =
        Tarball::new().file("a/b/c.txt", "x").file("a/d.txt", "x").file("a/b/e.rs", "x").file("f", "x").build();
    for (options, want) in [
        (&["--include", "a/b"][..], &["a/b/c.txt", "a/b/e.rs"][..]),
        (&["--include", "*.txt", "--include", "f"], &["a/b/c.txt", "a/d.txt", "f"]),
        (&["--exclude", "*.txt"], &["a/b/e.rs", "f"]),
        (&["--include", "a", "--exclude", "a/b/*"], &["a/d.txt"]),
        (&["--strip-components", "1"], &["b/c.txt", "b/e.rs", "d.txt"]),
        (&["--strip-components", "1", "--include", "b"], &["b/c.txt", "b/e.rs"]),
    ] {
        let dest = Dest::new();
        dest.run(options, &archive).silent();
        let tree = dest.tree();
        let files: Vec<_> = tree.paths().into_iter().filter(|path| tree.get(path, "type") == "file").collect();
        assert_eq!(files, want, "{options:?}");
    }
    Dest::new().run(&["--include", "[a"], &archive).ended(2, "a pattern does not parse: \"[a\": [ without ]");
}

#[test]
fn directories_become_usable_for_their_owner_and_that_is_told() {
    if !can_run() {
        return;
    }
    // The second by its ACL, which decides over its mode.
    let mode = |mode| move |e: &mut Entry| _ = e.mode(mode);
    let archive = Tarball::new()
        .dir("closed")
        .with(mode(0))
        .dir("acl")
        .with(|e| _ = e.mode(0o755).pax("SCHILY.acl.access", "user::r-x,group::r-x,other::r-x"))
        .dir("sticky")
        .with(mode(0o1555))
        .dir("usual")
        .with(mode(0o750))
        .file("closed/f", "x")
        .with(mode(0o400))
        .build();
    let dest = Dest::new();
    let modes = || {
        ["closed", "acl", "sticky", "usual", "closed/f"]
            .map(|name| fs::symlink_metadata(dest.join(name)).map_or(0, |made| made.mode() & 0o7777))
    };
    for layer in [&["--usable-modes"][..], &["--layer", "--usable-modes"]] {
        let ran = dest.run(layer, &archive).ended(0, "directory \"closed\" (entry 0, at byte 0): mode 00 widened");
        assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
        assert_eq!(modes(), [0o700, 0o755, 0o1755, 0o750, 0o400]);
    }
    dest.run(&[], &Tarball::new().dir("sticky").with(mode(0o1555)).build()).silent();
    assert_eq!(modes()[2], 0o1555);
}

#[test]
fn times_are_clamped() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().file("old", "x").with(|e| _ = e.mtime(5)).file("new", "x").with(|e| _ = e.mtime(500));
    let archive = archive.build();
    let dest = Dest::new();
    let times = || ["old", "new"].map(|name| fs::metadata(dest.join(name)).expect("made").mtime());
    dest.run(&["--clamp-mtime=100"], &archive).silent();
    assert_eq!(times(), [5, 100]);
    super::feed(super::program().env("SOURCE_DATE_EPOCH", "77").arg(&dest.path), &archive).silent();
    assert_eq!(times(), [5, 500], "the environment alone means nothing");
    super::feed(super::program().env("SOURCE_DATE_EPOCH", "77").arg("--clamp-mtime").arg(&dest.path), &archive)
        .silent();
    assert_eq!(times(), [5, 77]);
}

#[test]
fn compression_is_found_out_or_forced() {
    use crate::support::tarball::{bz2, gz, xz, zst};
    if !can_run() {
        return;
    }
    let tar = Tarball::new().file("f", "x").build();
    for (name, archive) in
        [("gzip", gz(&tar)), ("zstd", zst(&tar)), ("xz", xz(&tar)), ("bzip2", bz2(&tar)), ("none", tar.clone())]
    {
        let dest = Dest::new();
        assert_eq!(dest.run(&["--json"], &archive).ended(0, "").json()["report"]["compression"], name);
        dest.run(&["--compression", name], &archive).silent();
        let other = if name == "gzip" { "xz" } else { "gzip" };
        dest.run(&["--compression", other], &archive).ended(1, "--compression auto");
    }
}

#[test]
fn durability_synchronises_nothing_the_file_system_or_each_file() {
    if !can_run() || !need_tool("strace") {
        return;
    }
    let archive = Tarball::new().dir("d/").file("d/a", "x").file("d/b", "").symlink("d/l", "a").build();
    // Two files and the directory that lists them; the symlink is in the directory.
    for (policy, files, systems) in [("none", 0, 0), ("file-system", 0, 1), ("per-file", 3, 1)] {
        let dest = Dest::new();
        let trace = dest.scratch.join("trace");
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fsync,syncfs", "-o"]).arg(&trace).arg(super::PROGRAM);
        super::feed(command.args(["--no-same-owner", "--durability", policy]).arg(&dest.path), &archive).silent();
        let text = fs::read_to_string(&trace).expect("trace");
        let count = |call: &str| text.lines().filter(|line| line.contains(call) && line.ends_with("= 0")).count();
        assert_eq!((count(" fsync("), count(" syncfs(")), (files, systems), "{policy}: {text}");
    }
}

#[test]
fn options_that_only_cost_time_do_no_harm() {
    if !can_run() {
        return;
    }
    let archive = Tarball::new().dir("d/").file("d/f", "x").build();
    for options in [
        &["--durability", "file-system"][..],
        &["--durability", "per-file"],
        &["--writers", "2"],
        &["--seccomp", "off", "--landlock", "off"],
        &["--landlock-paths"],
        &["--max-memory", "4G"],
    ] {
        let dest = Dest::new();
        dest.run(&[options, &["--no-same-owner"]].concat(), &archive).silent();
        assert!(dest.join("d/f").exists(), "{options:?}");
    }
}

/// A live root: `/proc` and single files are mounted, and the rest is to be written.
#[test]
fn what_is_mounted_below_is_left_out_with_a_warning() {
    if !can_run() || !need_root() {
        return;
    }
    let archive = Tarball::new().dir("proc").file("proc/x", "1").file("resolv.conf", "new").file("f", "1").build();
    for options in [&["--mounts", "skip"][..], &["--one-file-system"]] {
        let dest = Dest::new();
        fs::create_dir(dest.path.join("proc")).expect("directory");
        mount("proc", dest.path.join("proc"), "proc", MountFlags::empty(), None).expect("proc");
        for name in ["resolv.conf", "outer"] {
            fs::write(dest.path.join(name), "outer").expect("file");
        }
        mount_bind(dest.path.join("outer"), dest.path.join("resolv.conf")).expect("bind");
        let text = dest.run(options, &archive).ended(0, "\"resolv.conf\"").err;
        assert_eq!(text.matches("left out: something is mounted there").count(), 3, "{text}");
        let read = |name: &str| fs::read_to_string(dest.path.join(name)).expect("file");
        assert_eq!((read("outer"), read("f")), ("outer".to_owned(), "1".to_owned()));
        dest.run(&[], &archive).ended(1, "--mounts skip or --mounts cross");
    }
}
