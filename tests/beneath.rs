//! A user without any right, where user namespaces are forbidden: a restricted pod, Ubuntu's AppArmor rule, docker's filter.
//! No root is entered, and what is left of the archive is right.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::libc;
use rustix::io::Errno;
use untar_in_root::{Advice, Call, Cause, ErrorKind, EventKind, MountsBelow, Namespace, Operand, Report, RootSwitch};

use crate::support::child::Said;
use crate::support::container::Contained;
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tools};
use crate::support::setting::Setting;
use crate::support::tarball::{Entry, Tarball};
use crate::support::tree::Tree;

const USER: u32 = 1000;
const LANDLOCK: [i64; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

fn can_be_tried() -> bool {
    need_root() && need_tools(&["setpriv"])
}

/// The destination is the user's.
fn setting(archive: &Tarball) -> Setting {
    let setting = Setting::new(archive);
    give(&setting.dest);
    setting
}

fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("chown");
}

impl Setting {
    fn run_beneath(&self, options: &str) -> Said {
        self.run_without(options, &[])
    }

    fn run_without(&self, options: &str, calls: &[i64]) -> Said {
        let who = Contained::pod_without(USER, calls);
        self.run(&who.prefix(), &format!("{options} {}", who.words()))
    }

    /// Exit status, standard output and standard error of the command line.
    fn says_beneath(&self, without: &[i64], arguments: &[&str]) -> (i32, String, String) {
        let output =
            Contained::pod_without(USER, without).command(&self.scratch, arguments).output().expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // libtest talks first.
        let out = text(output.stdout);
        let out = out.strip_prefix("\nrunning 1 test\n").unwrap_or(&out).to_owned();
        (output.status.code().expect("an exit status"), out, text(output.stderr))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.dest.join(path)).expect(path).permissions().mode() & 0o7777
    }
}

fn mode(mode: u32) -> impl FnOnce(&mut Entry) {
    move |e| _ = e.uid(i64::from(USER)).gid(i64::from(USER)).mode(mode)
}

/// The user's own: nothing is lost.
fn owned() -> Tarball {
    let own = || mode(0o644);
    let tar = Tarball::new().dir("d").with(mode(0o755)).file("d/f", "1").with(own());
    tar.file("d/x", "2").with(mode(0o755)).hardlink("h", "d/f").with(own()).file("e/g", "3").with(own())
}

const OWNED: &str = "d/ d/f=1 d/x=2 e/ e/g=3 h==d/f";

/// Directories that their owner may not read, write or enter.
fn closed() -> Tarball {
    let tar = Tarball::new().dir("z").with(mode(0)).file("z/a", "1").dir("q").with(mode(0o300));
    let tar = tar.dir("q/r").with(mode(0)).file("q/r/s", "2").dir("w").with(mode(0o500));
    tar.dir("w/x").with(mode(0o111)).dir("w/x/y").with(mode(0o555)).file("w/x/y/f", "3")
}

#[test]
fn what_fails_leaves_nothing_however_closed_its_directories_are() {
    if !can_be_tried() {
        return;
    }
    let s = setting(&closed().file("bad/../../x", "4"));
    let new = s.dest.join("new");
    let (new, archive) = (new.display().to_string(), s.archive.display().to_string());
    let (code, _, said) = s.says_beneath(&[], &["--atomic", &new, &archive]);
    assert_eq!(code, 1, "{said}");
    let left: Vec<_> = fs::read_dir(&s.dest).expect("listing").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_filter_is_not_declined_where_it_is_what_there_is() {
    if !can_be_tried() {
        return;
    }
    let s = setting(&owned());
    let (dest, archive) = (s.dest.display().to_string(), s.archive.display().to_string());
    let (code, _, said) = s.says_beneath(&[], &["--seccomp", "off", &dest, &archive]);
    assert_eq!(code, 3, "{said}");
    let (code, _, said) = s.says_beneath(&[], &["--isolation", "beneath", "--seccomp", "off", &dest, &archive]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("leave --seccomp off out"), "{said}");
}

fn kinds(report: &Report) -> Vec<EventKind> {
    report.events.iter().map(|event| event.what.clone()).collect()
}

#[test]
fn where_nothing_else_is_to_be_had_no_root_is_entered_and_that_is_told() {
    if !can_be_tried() {
        return;
    }
    let report = setting(&owned()).run_beneath("").leads_to(OWNED);
    assert_eq!(kinds(&report), []);
    let c = report.confinement;
    assert_eq!((c.root, c.user_namespace, c.mounts), (RootSwitch::Beneath, None, MountsBelow::InSight));
    assert!(c.landlock_paths && c.seccomp && c.no_new_privs && c.capabilities.is_empty());
    let fallback = c.fallback.expect("told");
    assert_eq!((fallback.operation.call, fallback.errno), (Call::Unshare, Some(libc::EPERM)));
    assert_eq!(fallback.operation.on, Operand::Namespace(Namespace::User));
    let report = setting(&owned()).run_beneath("beneath").leads_to(OWNED);
    assert_eq!(report.confinement.fallback.expect("asked for").errno, None);
}

/// Whose they are and what set-id bits say is one event, however many entries; so are the times of links.
#[test]
fn owners_and_rights_are_left_out_with_one_event() {
    if !can_be_tried() {
        return;
    }
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tarball::new()
        .dir("d")
        .with(|e| _ = e.uid(7).gid(8).mode(0o2755))
        .file("d/s", "1")
        .with(|e| _ = e.uid(0).gid(0).mode(0o6755).mtime(77))
        .symlink("l", "d")
        .with(|e| _ = e.mtime(5))
        .symlink("m", "d")
        .with(|e| _ = e.mtime(5))
        .fifo("p")
        .with(|e| _ = e.mode(0o1622).mtime(5))
        .file("c", "")
        .with(|e| _ = e.xattr("security.capability", capability).xattr("user.x", "1").mode(0o400))
        .char_dev("n", 1, 3);
    let setting = setting(&tar);
    let report = setting.run_beneath("skip-devices").leads_to("c= d/ d/s=1 l->d m->d p|");
    let told = [
        EventKind::CallersOwn,
        EventKind::LinksUntimed,
        EventKind::XattrDropped { name: b"security.capability".into() },
        EventKind::DeviceSkipped { errno: libc::EPERM },
    ];
    assert_eq!(kinds(&report), told);
    let tree = Tree::read(&setting.dest);
    for path in ["d", "d/s", "l", "p", "c"] {
        assert_eq!([tree.get(path, "uid"), tree.get(path, "gid")], ["1000", "1000"], "{path}");
    }
    assert_eq!(["d", "d/s", "p", "c"].map(|path| setting.mode(path)), [0o755, 0o755, 0o1622, 0o400]);
    assert_eq!((tree.get("d/s", "mtime"), tree.get("c", "xattr.user.x")), ("77.000000000", "1"));
    let refused = Setting::new(&tar);
    give(&refused.dest);
    refused.run_beneath("").fails(ErrorKind::Entry).because((Call::Mknodat, Errno::PERM));
}

/// Nothing overrides a mode: directories get theirs when all is done, whoever comes back to them.
#[test]
fn directories_that_keep_their_owner_out_are_filled_and_get_their_modes() {
    if !can_be_tried() {
        return;
    }
    // More directories than are held open, and back to each.
    let count = 300;
    let first = (0..count).fold(Tarball::new().dir("root").with(mode(0o550)), |tar, i| {
        tar.dir(format!("root/{i}")).with(mode([0o555, 0, 0o311][i % 3])).file(format!("root/{i}/a"), "a")
    });
    let tar = (0..count).fold(first, |tar, i| tar.file(format!("root/{i}/b"), "b")).dir("./").with(mode(0o555));
    let setting = setting(&tar);
    let report = setting.run_beneath("").succeeds();
    assert_eq!(report.entries.files, 2 * count as u64);
    assert_eq!((setting.mode(""), setting.mode("root")), (0o555, 0o550));
    for i in 0..count {
        assert_eq!(setting.mode(&format!("root/{i}")), [0o555, 0, 0o311][i % 3]);
        for name in ["a", "b"] {
            assert!(setting.dest.join(format!("root/{i}/{name}")).exists(), "{i}/{name}");
        }
    }
}

/// An ACL decides over a mode, and would keep him out before all is done.
#[test]
fn an_acl_that_keeps_its_owner_out_is_set_and_holds_in_the_end() {
    if !can_be_tried() {
        return;
    }
    let acl = "user::r-x,group::r-x,group:7:rwx,mask::rwx,other::---";
    let tar = Tarball::new()
        .dir("d")
        .with(|e| _ = e.mode(0o575).pax("SCHILY.acl.access", "user::r-x,group::r-x,other::--x"))
        .file("d/f", "1")
        .dir("named")
        .with(|e| _ = e.mode(0o575).pax("SCHILY.acl.access", acl))
        .file("named/f", "2");
    let setting = setting(&tar);
    let report = setting.run_beneath("").leads_to("d/ d/f=1 named/ named/f=2");
    // One that names others is the archive's owners' alone, as with every single owner; without it the group has what it had.
    let dropped = EventKind::XattrDropped { name: b"system.posix_acl_access".into() };
    assert_eq!(kinds(&report), [EventKind::CallersOwn, dropped]);
    assert_eq!((setting.mode("d"), setting.mode("named")), (0o551, 0o555));
}

/// What is there and his, without the right to write: written, removed, and as it was.
#[test]
fn read_only_directories_that_are_there_are_his_to_change() {
    if !can_be_tried() {
        return;
    }
    let tar = Tarball::new().file("home/new", "1").with(mode(0o644)).whiteout("gone").file("kept/deep/f", "2");
    let setting = setting(&tar);
    for dir in ["home", "gone/below", "kept/deep"] {
        fs::create_dir_all(setting.dest.join(dir)).expect("directory");
        fs::write(setting.dest.join(dir).join("old"), "o").expect("file");
    }
    for (path, mode) in [("gone/below", 0o555), ("gone", 0o500), ("kept/deep", 0o500), ("kept", 0o555), ("home", 0o550)]
    {
        give(&setting.dest.join(path));
        fs::set_permissions(setting.dest.join(path), fs::Permissions::from_mode(mode)).expect("mode");
    }
    fs::set_permissions(&setting.dest, fs::Permissions::from_mode(0o500)).expect("mode");
    let said = setting.run_beneath("layer");
    said.leads_to("home/ home/new=1 home/old=o kept/ kept/deep/ kept/deep/f=2 kept/deep/old=o");
    let modes = ["", "home", "kept", "kept/deep"].map(|path| setting.mode(path));
    assert_eq!(modes, [0o500, 0o550, 0o555, 0o500]);
}

/// What another has there is his, and closed.
#[test]
fn what_is_anothers_stays_as_it_is() {
    if !can_be_tried() {
        return;
    }
    let setting = setting(&Tarball::new().file("theirs/f", "1").with(mode(0o644)));
    fs::create_dir(setting.dest.join("theirs")).expect("directory");
    let failed = setting.run_beneath("").fails(ErrorKind::Entry);
    assert_eq!(failed.because((Call::Openat2, Errno::ACCESS)).advice(), Some(Advice::Permission));
    assert_eq!(
        (setting.mode("theirs"), fs::read_dir(setting.dest.join("theirs")).expect("theirs").count()),
        (0o755, 0)
    );
}

/// overlayfs reads these with `userxattr`, and whiteouts of this form since Linux 6.7.
#[test]
fn an_upper_directory_has_the_marks_that_a_user_can_set() {
    if !can_be_tried() {
        return;
    }
    let layer = Tarball::new().dir("d").opaque("d").whiteout("gone").file("d/f", "1");
    let setting = setting(&layer);
    let report = setting.run_beneath("overlay").succeeds();
    assert!(report.user_marks);
    let tree = Tree::read(&setting.dest);
    assert_eq!(tree.get("d", "xattr.user.overlay.opaque"), "y");
    assert_eq!(tree.get(".", "xattr.user.overlay.opaque"), "x");
    assert_eq!(
        ["type", "size", "xattr.user.overlay.whiteout"].map(|field| tree.get("gone", field)),
        ["file", "0", "y"]
    );
    // Trusted ones are root's, and no device is tried in their place.
    let (dest, archive) = (setting.scratch.dir("other"), setting.archive.display().to_string());
    give(&dest);
    let (code, _, err) = setting.says_beneath(&[], &["--overlay=trusted", &dest.display().to_string(), &archive]);
    assert!(code == 1 && err.contains("--overlay=user"), "{code}: {err}");
}

#[test]
fn mounts_below_are_told_and_not_entered() {
    if !can_be_tried() {
        return;
    }
    for (options, tree) in [("", None), ("skip", Some("f=2 m/"))] {
        let setting = setting(&Tarball::new().file("m/f", "1").file("f", "2"));
        let mounted = setting.scratch.tmpfs("dest/m", 1 << 16).expect("tmpfs");
        give(&mounted);
        let said = setting.run_beneath(options);
        let confinement = match tree {
            Some(tree) => {
                let report = said.leads_to(tree);
                assert!(kinds(&report).contains(&EventKind::MountSkipped));
                Some(report.confinement)
            }
            None => {
                let failed = said.fails(ErrorKind::Refused);
                assert_eq!(failed.failure.expect("told").cause, Cause::CrossesMount);
                None
            }
        };
        let told = confinement.map(|c| (c.mounts, c.mounts_below));
        assert!(told.is_none_or(|told| told == (MountsBelow::InSight, vec![b"m".to_vec()])));
        assert_eq!(fs::read_dir(&mounted).expect("m").count(), 0);
    }
}

#[test]
fn a_file_is_not_put_onto_a_mount_point() {
    if !can_be_tried() {
        return;
    }
    for (options, skips) in [("skip", true), ("", false)] {
        let setting = setting(&Tarball::new().file("m", "1").file("f", "2"));
        let mounted = setting.scratch.tmpfs("dest/m", 1 << 16).expect("tmpfs");
        give(&mounted);
        let said = setting.run_beneath(options);
        if skips {
            assert!(kinds(&said.leads_to("f=2 m/")).contains(&EventKind::MountSkipped));
        } else {
            let cause = said.fails(ErrorKind::Refused).failure.expect("told").cause;
            assert_eq!(cause, Cause::MountPoint { directory: true });
        }
    }
}

/// Nothing that is asked for is left out without a word.
#[test]
fn what_takes_rights_is_refused_by_name() {
    if !can_be_tried() {
        return;
    }
    let failed = setting(&owned()).run_beneath("forced").fails(ErrorKind::Root);
    assert_eq!(failed.because((Call::Unshare, Errno::PERM)).advice(), Some(Advice::AskNoOwners));
    for options in ["pivot", "chroot", "single"] {
        let failed = setting(&owned()).run_beneath(options).fails(ErrorKind::Root);
        let failure = failed.because((Call::Unshare, Errno::PERM));
        assert_eq!(failure.advice(), Some(Advice::AllowUserNamespaces), "{options}");
    }
    // Who wants no user namespace is not given less than he could have.
    setting(&owned()).run_beneath("never").fails(ErrorKind::Root).because((Call::Chroot, Errno::PERM));
    for options in ["beneath forced", "beneath single"] {
        let failed = setting(&owned()).run_beneath(options).fails(ErrorKind::Options);
        assert_eq!(failed.failure, None, "{options}");
    }
    let setting = setting(&owned());
    let lower = setting.scratch.dir("lower");
    let (lower, dest, archive) = (
        lower.to_str().expect("UTF-8"),
        setting.dest.to_str().expect("UTF-8"),
        setting.archive.to_str().expect("UTF-8"),
    );
    for isolation in ["auto", "beneath"] {
        let arguments = ["--isolation", isolation, "--overlay", "--lower", lower, dest, archive];
        let (code, _, err) = setting.says_beneath(&[], &arguments);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("a lower directory is held only in a mount namespace"), "{err}");
    }
    let (code, _, err) = setting.says_beneath(&[], &["--chown", "1:1", dest, archive]);
    assert!(code == 3 && err.contains("do without --chown, --uid-map and --gid-map"), "{code}: {err}");
    for (arguments, words) in [
        (["--chown", "1:1"], "--chown means nothing"),
        (["--uid-map", "0:1:1"], "--uid-map means nothing"),
        (["--userns", "single"], "leave --userns out"),
        (["--landlock", "off"], "leave --landlock off out"),
    ] {
        let arguments = [&["--isolation", "beneath"][..], &arguments, &[dest, archive]].concat();
        let (code, _, err) = setting.says_beneath(&[], &arguments);
        assert!(code == 2 && err.contains(words), "{code}: {err}");
    }
    assert_eq!(fs::read_dir(&setting.dest).expect("destination").count(), 0);
}

/// What would help is not what is in force, nor what takes the same rights.
#[test]
fn where_no_root_can_be_entered_no_hint_asks_for_one() {
    if !can_be_tried() {
        return;
    }
    let setting = setting(&owned());
    let path = |name: &str| setting.scratch.join(name).to_str().expect("UTF-8").to_owned();
    let (dest, archive) = (setting.dest.to_str().expect("UTF-8"), setting.archive.to_str().expect("UTF-8"));
    for wall in ["--landlock", "--seccomp"] {
        let (code, out, err) = setting.says_beneath(&[], &[wall, "off", dest, archive]);
        assert!(code == 3 && err.contains("do without --landlock off and --seccomp off"), "{wall} {code}: {err}");
        assert!(!format!("{out}{err}").contains("--isolation"), "{err}");
    }
    Layout::new().layer(&owned(), Packing::Plain).write(&setting.scratch.join("image"));
    let (store, image) = (path("store"), path("image"));
    let (code, _, err) = setting.says_beneath(&[], &["image", "--store", &store, &image]);
    assert!(code == 2 && err.contains("user namespaces are forbidden, one of all layers"), "{code}: {err}");
    assert!(err.contains("--layers or do without --store"), "{err}");
}

/// Landlock is what there is, and the filter what it does not bind.
#[test]
fn without_landlock_it_is_refused_with_what_to_do() {
    if !can_be_tried() {
        return;
    }
    for options in ["", "beneath"] {
        let setting = setting(&owned());
        let failed = setting.run_without(options, &LANDLOCK).fails(ErrorKind::Confinement);
        let failure = failed.because((Call::LandlockCreateRuleset, Errno::PERM));
        assert_eq!(failure.advice(), Some(Advice::Landlock));
        let failed = setting.run_without(options, &[libc::SYS_openat2]).fails(ErrorKind::Root);
        assert_eq!(failed.because((Call::Openat2, Errno::PERM)).advice(), Some(Advice::Landlock));
        assert_eq!(fs::read_dir(&setting.dest).expect("destination").count(), 0);
    }
    let setting = setting(&owned());
    let arguments = [setting.dest.to_str().expect("UTF-8"), setting.archive.to_str().expect("UTF-8")];
    let (code, out, err) = setting.says_beneath(&LANDLOCK, &arguments);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("Linux 5.19 or later with landlock") && err.contains("allow user namespaces"), "{err}");
    assert!(!format!("{out}{err}").contains("as root"), "{err}");
}

/// Who is root takes a weaker way only by name.
#[test]
fn root_stays_beneath_only_where_that_is_asked_for() {
    if !can_be_tried() {
        return;
    }
    let who = Contained::root_but(&["sys_chroot", "setfcap"]);
    let run = |options: &str| Setting::new(&owned()).run(&who.prefix(), &format!("{options} {}", who.words()));
    let failed = run("").fails(ErrorKind::Root);
    assert_eq!(failed.because((Call::Unshare, Errno::PERM)).advice(), Some(Advice::AllowUserNamespaces));
    assert_eq!(run("beneath").leads_to(OWNED).confinement.root, RootSwitch::Beneath);
    // The hint names the way, and it helps.
    let setting = Setting::new(&owned());
    let (dest, archive) = (setting.dest.display().to_string(), setting.archive.display().to_string());
    let says = |options: &[&str]| {
        let arguments = [options, &[&dest, &archive]].concat();
        let output = who.command(&setting.scratch, &arguments).output().expect("the program");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = says(&[]);
    assert!(code == Some(3) && err.contains(": --isolation beneath") && !err.contains("--userns"), "{err}");
    assert_eq!(says(&["--isolation", "beneath"]).0, Some(0));
}

#[test]
fn the_command_line_says_what_it_is_worth() {
    if !can_be_tried() {
        return;
    }
    let setting = setting(&owned());
    let (dest, archive) = (setting.dest.to_str().expect("UTF-8"), setting.archive.to_str().expect("UTF-8"));
    let (code, out, err) = setting.says_beneath(&[], &[dest, archive]);
    assert_eq!((code, &*out, err.lines().count()), (0, "", 1), "{err}");
    for words in ["no root was entered, because unshare(CLONE_NEWUSER) = -1 EPERM", "which names exist elsewhere"] {
        assert!(err.contains(words), "{err}");
    }
    let (code, out, err) = setting.says_beneath(&[], &["--json", "--layer", dest, archive]);
    assert!(code == 0 && out.contains("\"root\":\"beneath\""), "{out}{err}");
    let (code, out, err) = setting.says_beneath(&[], &["-t", archive]);
    assert!(code == 0 && out.lines().count() == 5, "{out}{err}");
    let (code, out, err) = setting.says_beneath(&[], &["check", dest]);
    assert!(code == 0 && out.contains("root switch: no new root, but steps beneath"), "{out}{err}");
    let (code, out, err) = setting.says_beneath(&[], &["--atomic", &format!("{dest}/made"), archive]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(fs::metadata(setting.dest.join("made/d/f")).expect("made").uid(), USER);
}

#[test]
fn an_image_is_unpacked_layer_by_layer() {
    if !can_be_tried() {
        return;
    }
    let one =
        Tarball::new().dir("home").with(mode(0o555)).file("home/old", "1").file("gone/f", "2").symlink("l", "home");
    let two = Tarball::new().file("l/new", "3").whiteout("gone");
    let setting = setting(&owned());
    let layout = setting.scratch.join("oci");
    Layout::new().layer(&one, Packing::Gzip).layer(&two, Packing::Zstd).write(&layout);
    let (source, dest) = (format!("oci:{}", layout.display()), setting.dest.join("root"));
    let dest = dest.to_str().expect("UTF-8");
    let (code, out, err) = setting.says_beneath(&[], &["image", &source, dest]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("no root was entered"), "{err}");
    assert_eq!(fs::read_to_string(setting.dest.join("root/home/new")).expect("new"), "3");
    assert_eq!(setting.mode("root/home"), 0o555);
    assert!(!setting.dest.join("root/gone").exists());
    let layers = setting.dest.join("layers");
    let (code, _, err) = setting.says_beneath(&[], &["image", &source, "--layers", layers.to_str().expect("UTF-8")]);
    assert!(code == 3 && err.contains("a lower directory is held only in a mount namespace"), "{code}: {err}");
}
