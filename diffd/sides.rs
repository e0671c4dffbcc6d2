//! What two sets of mounts differ in: the directories that are to be looked at, and how. Pure.
//!
//! containerd sends what it would mount: on the left what was there before, on the right what has become of it. Nothing is
//! mounted here: of an overlay that is the left side and one layer more, that layer is the difference.

use crate::interface::types::Mount;
use crate::mounts::{Named, Unusable, bound, of_another_type, only, overlay};
use std::path::{Path, PathBuf};

/// How the difference is found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    /// It is one layer: an upper directory, or a snapshot that has been committed.
    Layer {
        upper: PathBuf,
        /// The topmost first.
        lowers: Vec<PathBuf>,
        /// The overlay is mounted with `userxattr`.
        user_marks: bool,
    },
    /// Two directories are compared.
    Between { left: PathBuf, right: PathBuf },
}

/// One of them.
enum Side {
    Nothing,
    Directory(PathBuf),
    Stack {
        /// The topmost first, which may be written to.
        layers: Vec<PathBuf>,
        user_marks: bool,
    },
}

impl Sides {
    /// `exists`: whether something is at a path; only for telling names with escapes from names without.
    ///
    /// # Errors
    ///
    /// Mounts that another differ may know what to do with, and those that nobody does.
    pub(crate) fn of(left: &[Mount], right: &[Mount], exists: impl Fn(&Path) -> bool) -> Result<Sides, Unusable> {
        match (Side::of(left, &exists)?, Side::of(right, &exists)?) {
            (_, Side::Nothing) => Err(Unusable::Bad("there are no mounts to the right".into())),
            // All of it, as of the only layer.
            (Side::Nothing, Side::Directory(upper)) => {
                Ok(Sides::Layer { upper, lowers: Vec::new(), user_marks: false })
            }
            (Side::Directory(left), Side::Directory(right)) => Ok(Sides::Between { left, right }),
            (left, Side::Stack { layers, user_marks }) => match layers.split_first() {
                Some((upper, lowers)) if left.layers() == lowers => {
                    Ok(Sides::Layer { upper: upper.clone(), lowers: lowers.to_vec(), user_marks })
                }
                _ => Err(unrelated()),
            },
            (Side::Stack { .. }, Side::Directory(_)) => Err(unrelated()),
        }
    }
}

/// The refusal of two stacks that could be compared only where both are mounted.
fn unrelated() -> Unusable {
    Unusable::NotOurs("overlays of which the one is not the other and one layer more".into())
}

impl Side {
    fn of(mounts: &[Mount], exists: impl Fn(&Path) -> bool) -> Result<Side, Unusable> {
        let Some(mount) = only(mounts)? else { return Ok(Side::Nothing) };
        match mount.r#type.as_str() {
            "bind" => bound(mount).map(Side::Directory),
            "overlay" => overlay(&mount.options, exists).and_then(Side::stack),
            _ => Err(of_another_type(mount)),
        }
    }

    fn stack(named: Named) -> Result<Side, Unusable> {
        let Named { upper, lowers, user_marks } = named;
        let layers: Vec<PathBuf> = upper.into_iter().chain(lowers).collect();
        if layers.is_empty() {
            return Err(Unusable::Bad("an overlay of nothing".into()));
        }
        Ok(Side::Stack { layers, user_marks })
    }

    fn layers(&self) -> &[PathBuf] {
        match self {
            Side::Nothing => &[],
            Side::Directory(directory) => std::slice::from_ref(directory),
            Side::Stack { layers, .. } => layers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Vec<Mount> {
        let options = options.iter().map(|option| (*option).into()).collect();
        vec![Mount { r#type: kind.into(), source: source.into(), target: String::new(), options }]
    }

    fn of(left: &[Mount], right: &[Mount]) -> Result<Sides, Unusable> {
        Sides::of(left, right, |_| false)
    }

    fn layer(upper: &str, lowers: &[&str], user_marks: bool) -> Result<Sides, Unusable> {
        Ok(Sides::Layer { upper: upper.into(), lowers: lowers.iter().map(Into::into).collect(), user_marks })
    }

    /// As containerd calls for a container on an image of two layers, and on one of one.
    #[test]
    fn a_container_is_its_upper_directory_over_the_view_of_its_image() {
        let left = mount("overlay", "overlay", &["index=off", "lowerdir=/s/2/fs:/s/1/fs"]);
        let options = ["index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"];
        assert_eq!(of(&left, &mount("overlay", "overlay", &options)), layer("/s/3/fs", &["/s/2/fs", "/s/1/fs"], false));
        let left = mount("bind", "/s/1/fs", &["ro", "rbind"]);
        let right = mount("overlay", "overlay", &["upperdir=/s/3/fs", "lowerdir=/s/1/fs", "userxattr"]);
        assert_eq!(of(&left, &right), layer("/s/3/fs", &["/s/1/fs"], true));
    }

    #[test]
    fn a_committed_snapshot_is_the_topmost_lower_of_its_view() {
        let left = mount("overlay", "overlay", &["lowerdir=/s/2/fs:/s/1/fs"]);
        let right = mount("overlay", "overlay", &["lowerdir=/s/3/fs:/s/2/fs:/s/1/fs"]);
        assert_eq!(of(&left, &right), layer("/s/3/fs", &["/s/2/fs", "/s/1/fs"], false));
        let (left, right) = (mount("bind", "/s/1/fs", &["ro"]), mount("overlay", "", &["lowerdir=/s/2/fs:/s/1/fs"]));
        assert_eq!(of(&left, &right), layer("/s/2/fs", &["/s/1/fs"], false));
        assert_eq!(of(&[], &mount("overlay", "", &["rw", "upperdir=/u"])), layer("/u", &[], false));
    }

    #[test]
    fn two_directories_are_compared_and_over_nothing_one_is_a_layer() {
        let (left, right) = (mount("bind", "/s/1/fs", &["ro", "rbind"]), mount("bind", "/s/2/fs", &["rw", "rbind"]));
        let between = Sides::Between { left: "/s/1/fs".into(), right: "/s/2/fs".into() };
        assert_eq!(of(&left, &right), Ok(between));
        assert_eq!(of(&[], &right), layer("/s/2/fs", &[], false));
    }

    #[test]
    fn escapes_are_undone_on_both_sides() {
        let left = mount("bind", "/a:b/1", &["ro"]);
        let right = mount("overlay", "", &[r"upperdir=/a\:b/2", r"lowerdir=/a\:b/1"]);
        assert_eq!(of(&left, &right), layer("/a:b/2", &["/a:b/1"], false));
    }

    #[test]
    fn what_could_only_be_compared_mounted_is_left_to_the_next_differ() {
        let not_ours = |left: &[Mount], right: &[Mount]| matches!(of(left, right), Err(Unusable::NotOurs(_)));
        let (bind, stack) = (mount("bind", "/s/9", &["ro"]), mount("overlay", "", &["lowerdir=/s/3:/s/2:/s/1"]));
        assert!(not_ours(&bind, &stack), "another image");
        assert!(not_ours(&stack, &bind), "a stack before");
        assert!(not_ours(&stack, &stack), "the same");
        assert!(not_ours(&[], &stack), "several layers over nothing");
        assert!(not_ours(&mount("overlay", "", &["lowerdir=/s/1"]), &stack), "two layers more");
        assert!(not_ours(&mount("overlay", "", &["lowerdir=/s/1:/s/2"]), &stack), "another order");
        assert!(not_ours(&[], &mount("erofs", "/s/1", &[])));
        assert!(not_ours(&[bind[0].clone(), bind[0].clone()], &bind));
    }

    #[test]
    fn what_nobody_sends_is_refused() {
        let bad = |left: &[Mount], right: &[Mount]| matches!(of(left, right), Err(Unusable::Bad(_)));
        let bind = mount("bind", "/s/1", &["ro"]);
        assert!(bad(&bind, &[]));
        assert!(bad(&bind, &mount("bind", "relative", &[])));
        assert!(bad(&mount("overlay", "", &["index=off"]), &bind));
        assert!(bad(&bind, &mount("overlay", "", &["upperdir=/u", "lowerdir="])));
    }
}
