//! The laws: 1, 2, 5, 6 and 8, over random trees.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use untar_in_root::{Encoding, PackOptions};

use super::generate::{Random, tree};
use super::{pack, plain, unpacked};
use crate::support::privilege::{need_root, need_tools};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same, compare_all};

pub fn setting(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn seeds() -> std::ops::Range<u64> {
    let first = setting("UNTAR_PACK_SEED", 1);
    first..first + setting("UNTAR_PACK_TREES", 24)
}

#[test]
fn law_1_and_2_what_is_unpacked_is_what_was_packed_and_packs_to_the_same_bytes() {
    if !need_root() {
        return;
    }
    for seed in seeds() {
        let scratch = Scratch::new();
        let root = tree(&scratch, "root", seed);
        let before = Tree::read(&root);
        let (archive, packed) = pack(&root, plain);
        assert_eq!(packed.event_count, 0, "seed {seed}: {:?}", packed.events);
        // Law 8: nothing in the source changes.
        let touched = compare_all(&Tree::read(&root), &before, &[]);
        assert!(touched.is_empty(), "seed {seed}: {touched:?}");
        let there = unpacked(&archive, &scratch, "there");
        assert_same(&format!("seed {seed}"), &Tree::read(&there), &before, &[]);
        assert!(pack(&there, plain).0 == archive, "seed {seed}: other bytes the second time");
    }
}

#[test]
fn law_5_the_same_bytes_whatever_the_order_of_creation_the_umask_the_locale_and_the_processors() {
    if !need_root() || !need_tools(&["cp", "taskset"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch, "root", 5);
    let (archive, _) = pack(&root, plain);
    // Another file of the same content: other inode numbers, other order in the directories.
    let copy = scratch.join("copy");
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).args([&root, &copy]).status().expect("cp");
    assert!(copied.success());
    reverse(&copy);
    let same = |o: &mut PackOptions| o.dense = true;
    assert!(pack(&copy, same).0 == pack(&root, same).0, "another order of creation");
    let program = env!("CARGO_BIN_EXE_untar-in-root");
    for encoding in ["--gzip=6", "--zstd=3", "--sparse=yes"] {
        let with = |words: &[&str], name: &str| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).args([program, "pack", encoding]).arg(&root);
            command.env("LC_ALL", name).env("TZ", "Asia/Tokyo");
            let output = command.output().expect("the program");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let one = with(&["taskset", "-c", "0"], "C");
        assert!(one == with(&["env"], "tr_TR.UTF-8"), "{encoding}: another number of processors, another locale");
        assert!(one == with(&["sh", "-c", "umask 777; exec \"$@\"", "sh"], "C"), "{encoding}: another umask");
        assert!(encoding != "--sparse=yes" || one == archive, "the library and the program");
    }
}

/// Makes the entries of each directory anew in the opposite order, with the times that they had.
fn reverse(dir: &Path) {
    let mut names: Vec<PathBuf> =
        fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry").path()).collect();
    names.sort();
    let time = fs::symlink_metadata(dir).and_then(|stat| stat.modified()).expect("time");
    let aside = dir.join("aside-of-the-test");
    for path in names.iter().rev() {
        let stat = fs::symlink_metadata(path).expect("stat");
        if stat.is_dir() {
            reverse(path);
        }
        fs::rename(path, &aside).and_then(|()| fs::rename(&aside, path)).expect("rename");
    }
    fs::File::open(dir).and_then(|dir| dir.set_times(fs::FileTimes::new().set_modified(time))).expect("time");
}

#[test]
fn law_5_the_same_bytes_on_two_file_systems() {
    if !need_root() || !need_tools(&["cp"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch, "root", 6);
    let disk = tempfile::Builder::new().prefix("untar-pack-").tempdir_in("/var/tmp").expect("a directory on disk");
    let copy = disk.path().join("copy");
    assert!(Command::new("cp").arg("-a").args([&root, &copy]).status().expect("cp").success());
    let dense = |o: &mut PackOptions| o.dense = true;
    assert!(pack(&root, dense).0 == pack(&copy, dense).0);
}

#[test]
fn pack_rule_20_law_6_compressed_it_is_the_same_and_the_sums_are_those_of_others() {
    if !need_root() || !need_tools(&["gzip", "zstd"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = tree(&scratch, "root", 8);
    let mut content = vec![0; 3_000_000];
    let mut random = Random::new(9);
    content.iter_mut().step_by(3).for_each(|byte| *byte = u8::try_from(random.below(256)).expect("a byte"));
    scratch.file("root/large", content);
    let (archive, plain) = pack(&root, plain);
    let sum = |bytes: &[u8]| untar_in_root::Digest(Sha256::digest(bytes).into());
    assert_eq!((plain.diff_id, plain.digest), (Some(sum(&archive)), Some(sum(&archive))));
    assert_eq!((plain.size, plain.blob_size), (archive.len() as u64, archive.len() as u64));
    for (encoding, tool) in [
        (Encoding::Gzip { level: 1 }, "gzip"),
        (Encoding::Gzip { level: 9 }, "gzip"),
        (Encoding::Zstd { level: 3 }, "zstd"),
    ] {
        let (blob, packed) = pack(&root, |o| o.encoding = encoding);
        let file = scratch.file("blob", &blob);
        let there = Command::new(tool).args(["-dc"]).arg(&file).output().expect(tool);
        assert!(there.status.success() && there.stdout == archive, "{encoding:?}");
        assert_eq!((packed.diff_id, packed.digest), (Some(sum(&archive)), Some(sum(&blob))), "{encoding:?}");
        assert_eq!((packed.size, packed.blob_size), (archive.len() as u64, blob.len() as u64), "{encoding:?}");
        assert!(packed.media_type().ends_with(tool), "{}", packed.media_type());
    }
}
