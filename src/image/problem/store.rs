//! What can be wrong with a store of layers.

use std::fmt;

/// What is wrong with a store, or with something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreProblem {
    /// This is no store: it has no readable file `version`.
    NotAStore,
    /// The store is of another version.
    Version,
    /// A directory of the store is not there.
    Incomplete,
    /// The file system shows nobody the attributes by which a layer hides what is below it (fuse-overlayfs).
    Marks,
    /// An image's name in a store has 1 to 512 bytes, and this one has not.
    Name,
    /// Something is no directory, or a symlink to one.
    NotADirectory,
    /// Something is no regular file, or a symlink to one.
    NotAFile,
    /// A file has other names (hardlinks).
    Hardlinked,
    /// Something belongs to another user.
    Owner {
        /// Whose it is.
        uid: u32,
        /// Who uses the store.
        user: u32,
    },
    /// Others may write to something.
    Writable {
        /// Its mode.
        mode: u32,
    },
}

impl fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = match self {
            StoreProblem::NotAStore => return f.write_str("this is no store: it has no readable file `version`"),
            StoreProblem::Version => return f.write_str("this store is of another version"),
            StoreProblem::Incomplete => return f.write_str("this directory of the store is not there"),
            StoreProblem::Marks => {
                return f.write_str(
                    "this file system shows nobody overlayfs's attributes (fuse-overlayfs keeps them for itself), so layers \
                     mounted here would show what they hide: keep the store on another",
                );
            }
            StoreProblem::Name => return f.write_str("a name in a store has 1 to 512 bytes"),
            StoreProblem::NotADirectory => "this is no directory, or a symlink to one".to_owned(),
            StoreProblem::NotAFile => "this is no regular file, or a symlink to one".to_owned(),
            StoreProblem::Hardlinked => "this file has other names (hardlinks)".to_owned(),
            StoreProblem::Owner { uid, user } => format!("this belongs to user {uid}, not {user}"),
            StoreProblem::Writable { mode } => format!("others may write to this (mode {mode:04o})"),
        };
        write!(
            f,
            "refused: {refused}; a store and what is in it must belong to who uses it, with no right to write for \
             others and no links: name a directory that is missing, or look at what is in this one and put it right"
        )
    }
}
