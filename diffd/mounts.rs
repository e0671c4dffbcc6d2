//! Which directory the mounts of a snapshot mean, and what lies below it. Pure.
//!
//! containerd sends what it would mount: a bind mount of the directory itself for the bottom layer, and an overlay whose
//! upper directory takes the layer above. Nothing is mounted here; the layer is written where the mount would show it.

use crate::interface::types::Mount;
use crate::status::start;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a layer goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into a directory that has the layers below, or none: whiteouts remove.
    Directory(PathBuf),
    /// Into an overlay's upper directory: whiteouts are written.
    Upper {
        upper: PathBuf,
        /// The topmost first. None of them are told where layers are unpacked side by side.
        lowers: Vec<PathBuf>,
        /// The overlay is mounted with `userxattr`.
        user_marks: bool,
    },
}

/// Why mounts are of no use; without the host's names, since whoever pulls is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Another snapshotter's, which this differ does not serve: containerd asks the next one.
    NotOurs(String),
    /// No snapshotter would send that.
    Bad(String),
}

impl Target {
    /// `exists`: whether something is at a path; only for telling names with escapes from names without.
    pub(crate) fn of(mounts: &[Mount], exists: impl Fn(&Path) -> bool) -> Result<Target, Unusable> {
        let mount = only(mounts)?.ok_or_else(|| Unusable::Bad("there are no mounts".into()))?;
        match mount.r#type.as_str() {
            "bind" if mount.options.iter().any(|option| option == "ro") => {
                Err(Unusable::Bad("a bind mount that is read-only".into()))
            }
            "bind" => bound(mount).map(Target::Directory),
            "overlay" => overlay(&mount.options, exists).and_then(target),
            _ => Err(of_another_type(mount)),
        }
    }
}

/// The one that there is, if there is one.
pub(crate) fn only(mounts: &[Mount]) -> Result<Option<&Mount>, Unusable> {
    match mounts {
        [] => Ok(None),
        [mount] => Ok(Some(mount)),
        [..] => Err(Unusable::NotOurs(format!("{} mounts, not one", mounts.len()))),
    }
}

/// What a bind mount shows.
pub(crate) fn bound(mount: &Mount) -> Result<PathBuf, Unusable> {
    absolute("source", Path::new(&mount.source))
}

pub(crate) fn of_another_type(mount: &Mount) -> Unusable {
    Unusable::NotOurs(format!("a mount of type {:?}", start(&mount.r#type)))
}

/// What the options of an overlay name.
#[derive(Debug)]
pub(crate) struct Named {
    /// A view has none.
    pub(crate) upper: Option<PathBuf>,
    /// The topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) user_marks: bool,
}

/// # Errors
///
/// What an overlay cannot be mounted with, and what is spelled as no snapshotter of ours does.
pub(crate) fn overlay(options: &[String], exists: impl Fn(&Path) -> bool) -> Result<Named, Unusable> {
    let one_by_one = |option: &&String| option.starts_with("lowerdir+=") || option.starts_with("datadir+=");
    if let Some(option) = options.iter().find(one_by_one) {
        let key = option.split('=').next().unwrap_or_default();
        return Err(Unusable::NotOurs(format!("an overlay with {key}")));
    }
    let value = |key: &str| options.iter().find_map(|option| option.strip_prefix(key)?.strip_prefix('='));
    let upper = value("upperdir").map(|upper| absolute("upperdir", &as_it_stands(upper, &exists))).transpose()?;
    let lowers = value("lowerdir").map_or(Vec::new(), split);
    let lowers = lowers.into_iter().map(|lower| absolute("lowerdir", &as_it_stands(lower, &exists)));
    let lowers = lowers.collect::<Result<_, _>>()?;
    Ok(Named { upper, lowers, user_marks: options.iter().any(|option| option == "userxattr") })
}

fn target(named: Named) -> Result<Target, Unusable> {
    let Named { upper, lowers, user_marks } = named;
    let upper = upper.ok_or_else(|| Unusable::Bad("an overlay without upperdir".into()))?;
    Ok(Target::Upper { upper, lowers, user_marks })
}

/// At each colon that no backslash stands before.
fn split(lowers: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in lowers.bytes().enumerate() {
        if byte == b':' && !escaped {
            parts.push(&lowers[start..at]);
            start = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    parts.push(&lowers[start..]);
    parts
}

/// containerd up to 2.3 writes paths as they are, later ones escape them as overlayfs reads them: the name as it stands
/// if that is there, else without its backslashes.
fn as_it_stands(text: &str, exists: impl Fn(&Path) -> bool) -> PathBuf {
    if !text.contains('\\') || exists(Path::new(text)) {
        return PathBuf::from(text);
    }
    let (mut bytes, mut escaped) = (Vec::with_capacity(text.len()), false);
    for byte in text.bytes() {
        escaped = byte == b'\\' && !escaped;
        if !escaped {
            bytes.push(byte);
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

fn absolute(what: &str, path: &Path) -> Result<PathBuf, Unusable> {
    if path.is_absolute() && !path.as_os_str().as_bytes().contains(&0) {
        Ok(path.to_path_buf())
    } else {
        Err(Unusable::Bad(format!("{what} is not an absolute path")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        Mount {
            r#type: kind.into(),
            source: source.into(),
            target: String::new(),
            options: options.iter().map(|option| (*option).into()).collect(),
        }
    }

    fn of(mount: Mount) -> Result<Target, Unusable> {
        Target::of(&[mount], |_| false)
    }

    fn upper(upper: &str, lowers: &[&str], user_marks: bool) -> Result<Target, Unusable> {
        Ok(Target::Upper { upper: upper.into(), lowers: lowers.iter().map(Into::into).collect(), user_marks })
    }

    #[test]
    fn a_bind_mount_is_its_source() {
        let bind = mount("bind", "/s/1/fs", &["rw", "rbind"]);
        assert_eq!(of(bind), Ok(Target::Directory("/s/1/fs".into())));
    }

    #[test]
    fn an_overlay_is_its_upper_directory_and_its_lowers_in_their_order() {
        let options = ["index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"];
        assert_eq!(of(mount("overlay", "overlay", &options)), upper("/s/3/fs", &["/s/2/fs", "/s/1/fs"], false));
    }

    #[test]
    fn an_overlay_without_lowers_is_one_that_is_unpacked_beside_the_others() {
        assert_eq!(of(mount("overlay", "overlay", &["rw", "upperdir=/u", "userxattr"])), upper("/u", &[], true));
    }

    #[test]
    fn what_else_the_options_say_means_nothing_for_writing() {
        let options = ["volatile", "metacopy=on", "uidmap=0:1000:10", "redirect_dir=off", "upperdir=/u", "lowerdir=/l"];
        assert_eq!(of(mount("overlay", "", &options)), upper("/u", &["/l"], false));
    }

    #[test]
    fn escapes_are_undone_where_the_name_as_it_stands_is_not_there() {
        let options = [r"upperdir=/a\:b\\c", r"lowerdir=/x\:1:/y\,2:/z\\:/w"];
        let mounts = [mount("overlay", "", &options)];
        let undone = Target::of(&mounts, |_| false);
        assert_eq!(undone, upper(r"/a:b\c", &["/x:1", "/y,2", r"/z\", "/w"], false));
        let raw = Target::of(&mounts, |path| path == Path::new(r"/a\:b\\c") || path == Path::new(r"/y\,2"));
        assert_eq!(raw, upper(r"/a\:b\\c", &["/x:1", r"/y\,2", r"/z\", "/w"], false));
    }

    #[test]
    fn mounts_of_other_snapshotters_are_left_to_the_next_differ() {
        for kind in ["erofs", "ext4", "mkfs/ext4", "format/overlay", "aufs", "zfs", ""] {
            assert!(matches!(of(mount(kind, "/s", &[])), Err(Unusable::NotOurs(_))), "{kind}");
        }
        let two = [mount("bind", "/a", &[]), mount("bind", "/b", &[])];
        assert!(matches!(Target::of(&two, |_| false), Err(Unusable::NotOurs(_))));
    }

    #[test]
    fn lower_directories_in_another_spelling_are_not_taken_for_none() {
        let plus = mount("overlay", "", &["upperdir=/u", "lowerdir+=/l"]);
        assert!(matches!(of(plus), Err(Unusable::NotOurs(_))));
    }

    #[test]
    fn a_view_is_not_written_into() {
        assert!(matches!(of(mount("bind", "/s/1/fs", &["ro", "rbind"])), Err(Unusable::Bad(_))));
    }

    #[test]
    fn what_no_snapshotter_sends_is_refused() {
        let bad = |mounts: &[Mount]| matches!(Target::of(mounts, |_| false), Err(Unusable::Bad(_)));
        assert!(bad(&[]));
        assert!(bad(&[mount("bind", "relative", &[])]));
        assert!(bad(&[mount("bind", "", &[])]));
        assert!(bad(&[mount("bind", "/a\0b", &[])]));
        assert!(bad(&[mount("overlay", "overlay", &["lowerdir=/l"])]));
        assert!(bad(&[mount("overlay", "overlay", &["upperdir="])]));
        assert!(bad(&[mount("overlay", "overlay", &["upperdir=/u", "lowerdir="])]));
        assert!(bad(&[mount("overlay", "overlay", &["upperdir=/u", "lowerdir=/l::/m"])]));
        assert!(bad(&[mount("overlay", "overlay", &["upperdir=/u", "lowerdir=l"])]));
    }
}
