//! A directory of another user, who exchanges names in it at the worst moment: just before the helper begins.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use untar_in_root::image::{Image, Opener, Source};
use untar_in_root::{ErrorKind, Mode};

use crate::support::layout::{Layout, Packing};
use crate::support::privilege::{need_root, need_tool};
use crate::support::run::{line, over, program, program_after, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;
use crate::support::tree::Tree;

fn can_run() -> bool {
    need_root() && need_tool("bash")
}

/// What nothing may be written to, and nothing be read from.
fn victim(scratch: &Scratch) -> String {
    let victim = scratch.dir("victim");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).expect("mode");
    fs::write(victim.join("secret"), "roots").expect("file");
    victim.display().to_string()
}

fn two_layers() -> Layout {
    let one = Tarball::new().dir("d").file("d/secret", "layers");
    Layout::new().layer(&one, Packing::Gzip).layer(&Tarball::new().hardlink("again", "d/secret"), Packing::Gzip)
}

fn image(oci: &Path) -> Image {
    two_layers().write(oci);
    Opener::new(Source::parse(oci)).open().expect("opened")
}

/// Every staging directory in this one becomes a link.
fn exchange_staging(his: &Path, target: &str) -> String {
    format!(
        "for s in {his}/.untar-in-root-staging-*; do\n[ -d $s -a ! -L $s ] && /bin/mv -T $s {his}/aside && \
         /bin/ln -s {target} $s\ndone",
        his = his.display()
    )
}

#[test]
fn exchanged_lower_directory_is_refused() {
    if !can_run() {
        return;
    }
    let scratch = Scratch::new();
    let victim = victim(&scratch);
    let (lower, upper) = (scratch.dir("his/lower"), scratch.dir("upper"));
    fs::write(lower.join("secret"), "layers").expect("file");
    let link = Tarball::new().hardlink("again", "secret").build();
    let run = |script: &str| {
        untar(&upper, |o| o.mode = Mode::Overlay(over([&lower])))
            .program(program_after(&scratch, script))
            .apply(&link[..])
    };
    let lower = lower.display();
    for script in [
        format!("/bin/mv -T {lower} {lower}-aside; /bin/ln -s {victim} {lower}"),
        format!("/bin/rm {lower}; /bin/mkdir {lower}; /bin/cp {victim}/secret {lower}/secret"),
    ] {
        let error = run(&script).expect_err("another directory");
        assert_eq!(error.raw_os_error(), Some(nix::libc::ESTALE), "{error}");
        assert!(error.to_string().contains("another file has come to"), "{error}");
        assert_eq!(line(&Tree::read(&upper)), "");
    }
    // Under another name it is the same.
    run(&format!("/bin/rm -r {lower}; /bin/mv -T {lower}-aside {lower}-there; /bin/ln -s {lower}-there {lower}"))
        .expect_err("opened after the exchange");
    run("").expect("a link of the caller's own");
    assert_eq!(line(&Tree::read(&upper)), "again=layers secret==again");
}

#[test]
fn exchanged_staging_directory_of_an_archive_is_not_read_from() {
    if !can_run() {
        return;
    }
    let scratch = Scratch::new();
    let his = scratch.dir("his");
    let wanted = scratch.file("app.tar", two_layers().docker_archive("app:1").build());
    // His own image, and links in it to what only root can read.
    let evil = scratch.dir("evil");
    let manifest = r#"[{"Config":"config.json","RepoTags":["evil:1"],"Layers":["layer.tar"]}]"#;
    fs::write(evil.join("manifest.json"), manifest).expect("file");
    let empty = crate::support::layout::digest(&Tarball::new().build());
    let config =
        format!(r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{empty}"]}}}}"#);
    fs::write(evil.join("config.json"), config).expect("file");
    fs::write(evil.join("layer.tar"), Tarball::new().build()).expect("file");
    let script = exchange_staging(&his, &evil.display().to_string());
    let opener = Opener::new(Source::parse(wanted)).staging_in(&his).program(program_after(&scratch, &script));
    let image = opener.open().expect("the archive's");
    assert_eq!((image.names(), image.layers().len()), (&["app:1".to_owned()][..], 2));
}

#[test]
fn exchanged_staging_directory_is_no_lower_directory() {
    if !can_run() {
        return;
    }
    let scratch = Scratch::new();
    let his = scratch.dir("his");
    victim(&scratch);
    // As the staging directory is, but with what is root's below.
    scratch.dir("evil/nothing");
    scratch.dir("evil/layers");
    symlink(scratch.dir("evil-layer"), scratch.join("evil/layers/1")).expect("link");
    symlink(scratch.join("victim"), scratch.join("evil-layer/d")).expect("link");
    let before = Tree::read(&scratch.join("evil"));
    let script = exchange_staging(&his, &scratch.join("evil").display().to_string());
    let oci = image(&scratch.join("oci"));
    let layers = his.join("layers");
    let error = oci.unpack().program(program_after(&scratch, &script)).jobs(1).layers(&layers).expect_err("exchanged");
    assert_eq!(error.raw_os_error(), Some(nix::libc::ESTALE), "{error}");
    assert!(!layers.exists());
    assert_eq!(line(&Tree::read(&scratch.join("evil"))), line(&before));
}

#[test]
fn exchanged_parent_does_not_get_the_result() {
    if !can_run() {
        return;
    }
    for layers in [false, true] {
        let scratch = Scratch::new();
        let (his, victim) = (scratch.dir("his"), victim(&scratch));
        let oci = image(&scratch.join("oci"));
        // While the last layer is applied; before, the helper could not find its lower directories.
        let script = format!(
            "[ -e {at}/once ] && /bin/mv -T {his} {his}-aside && /bin/ln -s {victim} {his}; : > {at}/once",
            at = scratch.path().display(),
            his = his.display()
        );
        let unpack = oci.unpack().program(program_after(&scratch, &script)).jobs(1);
        if layers {
            // Their names lead elsewhere by then.
            unpack.layers(his.join("new")).expect_err("exchanged");
        } else {
            unpack.flatten(his.join("new")).expect("flattened");
            let seen = line(&Tree::read(&scratch.join("his-aside/new")));
            assert_eq!(seen, "again=layers d/ d/secret==again");
        }
        assert_eq!(line(&Tree::read(Path::new(&victim))), "secret=roots", "layers: {layers}");
    }
}

/// A directory of root's with a staging directory's name, in a directory of somebody who gave it that name.
#[test]
fn renamed_directory_is_not_swept_away() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let his = scratch.dir("his");
    let private = scratch.dir("his/.untar-in-root-staging-0123456789abcdef");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("mode");
    scratch.dir("his/.untar-in-root-staging-0123456789abcdef/root");
    fs::write(private.join("root/precious"), "").expect("file");
    let oci = image(&scratch.join("oci"));
    let archive = scratch.file("app.tar", two_layers().docker_archive("app:1").build());
    oci.unpack().program(program()).flatten(his.join("flat")).expect("flattened");
    oci.unpack().program(program()).layers(his.join("layers")).expect("layers");
    Opener::new(Source::parse(&archive)).staging_in(&his).program(program()).open().expect("opened");
    let atomic = untar_in_root::Untar::atomic(his.join("atomic")).expect("a place").program(program());
    atomic.apply(&Tarball::new().build()[..]).expect("applied");
    assert!(private.join("root/precious").exists());
    // Nor is it written to, or emptied, in the place of the one that was made.
    let error = fs::read_dir(&his).expect("his").flatten().filter(|e| e.path() != private);
    assert_eq!(error.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count(), 0, "nothing left");
    assert_eq!(ErrorKind::Root, untar_in_root::Untar::atomic(&private).expect_err("not empty").kind());
}
