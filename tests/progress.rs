//! One entry may take as long as thousands: it goes on, and whoever waits hears of it before it is finished.

use std::path::Path;
use std::sync::{Arc, Mutex};

use untar_in_root::{Mode, Progress};

use crate::support::privilege::need_root;
use crate::support::run::{apply, layer, over, untar};
use crate::support::scratch::Scratch;
use crate::support::tarball::Tarball;

/// More names than lie between two looks.
const MANY: usize = 3000;
/// More bytes.
const LARGE: usize = 12 << 20;

/// The first word that comes; there is one behind every entry, if it is time to.
fn first_word(dest: &Path, mode: Mode, archive: &Tarball) -> Progress {
    let first = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&first);
    let untar = untar(dest, |options| options.mode = mode).on_progress(move |progress| {
        heard.lock().expect("told").get_or_insert(progress);
    });
    untar.apply(&archive.build()[..]).expect("applied");
    let first = *first.lock().expect("told");
    first.expect("progress is told")
}

fn many(below: &str) -> Tarball {
    (0..MANY).fold(Tarball::new(), |tar, n| tar.file(format!("{below}{n}"), ""))
}

#[test]
fn progress_is_told_while_a_large_file_is_brought_up() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    apply(&lower, &Tarball::new().file("large", vec![7; LARGE]).build(), layer).expect("lower");
    let told = first_word(&upper, Mode::Overlay(over([lower])), &Tarball::new().hardlink("h", "large"));
    assert_eq!(told, Progress::default(), "nothing before the entry was finished");
}

#[test]
fn progress_is_told_while_a_tree_is_removed() {
    for archive in [Tarball::new().whiteout("d"), Tarball::new().opaque("d"), Tarball::new().symlink("d", "x")] {
        let scratch = Scratch::new();
        let dest = scratch.dir("dest");
        apply(&dest, &many("d/").build(), layer).expect("lower");
        let told = first_word(&dest, Mode::Layer, &archive);
        assert_eq!(told, Progress::default(), "nothing before the entry was finished");
    }
}

#[test]
fn progress_is_told_while_an_opaque_root_hides_many_names() {
    if !need_root() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    apply(&lower, &many("").build(), layer).expect("lower");
    let told = first_word(&upper, Mode::Overlay(over([lower])), &Tarball::new().opaque(""));
    assert_eq!(told, Progress::default(), "nothing before the entry was finished");
}
