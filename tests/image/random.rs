//! Random layers, several at a time and one after the other: the same upper directories.

use super::{open, program};
use crate::equivalence::{Case, cases, layer_tar};
use crate::support::layout::{Layout, Packing};
use crate::support::privilege::need_root;
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, compare_but};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rustix::mount::{UnmountFlags, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use untar_in_root::{Mode, Options, OverlayPrefix, Untar};

const DEFAULT_CASES: u32 = 50;

/// `UNTAR_IMAGE_CASES` sets how many images are tried.
#[test]
fn random_images_have_the_same_layers_in_parallel() {
    if !need_root() {
        return;
    }
    let wanted = std::env::var("UNTAR_IMAGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_CASES);
    let scratch = Scratch::new();
    let config = Config { cases: wanted, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let outcome = TestRunner::new(config).run(&cases(), |case| {
        let place = scratch.tmpfs("place", 128 << 20).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let result = check(&place, &case);
        unmount(&place, UnmountFlags::DETACH).map_err(|e| TestCaseError::fail(e.to_string()))?;
        result.map_err(|text| TestCaseError::fail(format!("{case:?}{text}")))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn check(place: &Path, case: &Case) -> Result<(), String> {
    let archives: Vec<Vec<u8>> =
        case.layers.iter().enumerate().map(|(number, layer)| layer_tar(layer, number, case.large)).collect();
    let mut layout = Layout::new();
    for archive in &archives {
        layout = layout.bytes(archive, Packing::Plain);
    }
    let oci = place.join("oci");
    layout.write(&oci);
    let image = open(&oci).map_err(|e| e.to_string())?;
    let mut unpack = image.unpack().program(program()).jobs(3).options(options(case));
    unpack.options_mut().mode = overlay(case, Vec::new());
    let together = unpack.layers(place.join("together"));
    match (one_by_one(place, case, &archives), together) {
        (Ok(uppers), Ok(layers)) => {
            let mut text = String::new();
            for (upper, layer) in uppers.iter().zip(&layers.dirs) {
                let (want, got) = (Tree::read(upper), Tree::read(&layer.path));
                for difference in compare_but(&got, &want, &[But::Of("dir", "mtime"), But::Of("char", "mtime")]) {
                    text.push_str(&format!("\n{}: {difference}", upper.display()));
                }
            }
            if text.is_empty() { Ok(()) } else { Err(text) }
        }
        (Err(_), Err(_)) if !place.join("together").exists() => Ok(()),
        (one, together) => Err(format!("\none by one: {:?}\ntogether: {:?}", one.err(), together.err())),
    }
}

fn options(case: &Case) -> Options {
    let mut options = Options::default();
    options.trusted_xattrs = true;
    options.writers = std::num::NonZeroU32::new(case.writers);
    options.keep_directory_symlink = case.switches.keep_links;
    options.no_overwrite_dir_nondir = case.switches.no_overwrite;
    options
}

fn overlay(case: &Case, lower: Vec<PathBuf>) -> Mode {
    let prefix = if case.userxattr { OverlayPrefix::User } else { OverlayPrefix::Auto };
    Mode::Overlay(crate::support::run::over(lower).prefix(prefix))
}

fn one_by_one(place: &Path, case: &Case, archives: &[Vec<u8>]) -> Result<Vec<PathBuf>, String> {
    let made = |name: String| fs::create_dir(place.join(&name)).map(|()| place.join(name)).map_err(|e| e.to_string());
    let mut lowers = vec![made("base".into())?];
    let mut uppers = Vec::new();
    for (number, archive) in archives.iter().enumerate() {
        let upper = made(format!("u{number}"))?;
        let mut options = options(case);
        options.mode = overlay(case, lowers.clone());
        let untar = Untar::open(&upper).map_err(|e| e.to_string())?.program(program()).options(options);
        untar.apply(&archive[..]).map_err(|e| format!("layer {number}: {e}"))?;
        lowers.insert(0, upper.clone());
        uppers.push(upper);
    }
    Ok(uppers)
}
