//! What a containerd has made of an image: the directories of its snapshots, and what overlayfs shows of them.

use crate::machine::{Machine, words};
use crate::support::tree::Tree;
use std::fs;
use std::path::PathBuf;

/// An image that was unpacked, as it is mounted to be looked at. The mount goes with the machine.
pub struct View {
    /// One for each layer, the lowest first.
    pub layers: Vec<PathBuf>,
    pub place: PathBuf,
}

impl View {
    /// # Panics
    /// When containerd does not mount it.
    #[track_caller]
    pub fn of(machine: &Machine, containerd: &str, namespace: &str, image: &str) -> View {
        let inside = format!("/var/d/view-{containerd}-{namespace}");
        let place = machine.path(&inside);
        fs::create_dir_all(&place).expect("place");
        machine.run(&words(&machine.ctr(containerd, namespace, &["images", "mount", image, &inside])));
        let table = machine.mount_table();
        let line = table.lines().find(|line| line.split(' ').nth(4) == Some(&inside)).expect("the mount");
        let lowers =
            line.rsplit(' ').next().and_then(|options| options.split(',').find(|o| o.starts_with("lowerdir=")));
        let layers = match lowers {
            Some(list) => list["lowerdir=".len()..].split(':').rev().map(|dir| machine.path(dir)).collect(),
            None => vec![place.clone()],
        };
        View { layers, place }
    }

    pub fn trees(&self) -> Vec<Tree> {
        self.layers.iter().map(|dir| Tree::read(dir)).collect()
    }
}
