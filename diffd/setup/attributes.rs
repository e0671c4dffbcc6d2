//! What a file has besides its owner and mode: ACLs, the labels of security modules, what a user has put there.

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

/// The most that Linux has of a value, and of all names together.
const MOST: usize = 64 << 10;

/// They are of the content and of the inode, so the kernel makes them anew or nobody can.
const OF_THE_INODE: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// The same ones: none less, and none that a default ACL of the directory would give.
///
/// # Errors
///
/// One cannot be read or set; with its name.
pub(super) fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let (had, has) = (names(from)?, names(to)?);
    for name in has.iter().filter(|name| !had.contains(name)) {
        fremovexattr(to, name.as_c_str()).map_err(|e| named(name, e))?;
    }
    for name in &had {
        let value = value(from, name).map_err(|e| named(name, e))?;
        // What the kernel has given a new file may be right already, and for the kernel alone to give.
        if self::value(to, name).as_ref() != Ok(&value) {
            fsetxattr(to, name.as_c_str(), &value, XattrFlags::empty()).map_err(|e| named(name, e))?;
        }
    }
    Ok(())
}

fn names(file: &File) -> io::Result<Vec<CString>> {
    let mut list = vec![0u8; MOST];
    let size = match flistxattr(file, &mut list[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        size => size?,
    };
    let names = list[..size].split_inclusive(|byte| *byte == 0);
    let names = names.filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    Ok(names.filter(|name| !OF_THE_INODE.contains(name)).map(CStr::to_owned).collect())
}

fn value(file: &File, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; MOST];
    let size = fgetxattr(file, name, &mut value[..])?;
    value.truncate(size);
    Ok(value)
}

fn named(name: &CStr, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("its attribute {}: {error}", name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// `user::rw-,user:7:rw-,group::r--,mask::rw-,other::---`
    const ACL: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6,
        0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];

    #[test]
    fn a_copy_has_the_attributes_of_the_old_file_and_none_of_the_directory() {
        let dir = tempfile::tempdir().expect("directory");
        let at = |name| File::create(dir.path().join(name)).expect("file");
        let old = at("old");
        let set = |file: &File, name: &CStr| fsetxattr(file, name, &ACL, XattrFlags::empty());
        set(&old, c"system.posix_acl_access").expect("ACL");
        let above = File::open(dir.path()).expect("directory");
        set(&above, c"system.posix_acl_default").expect("default ACL");
        let (new, plain, bare) = (at("new"), at("plain"), at("bare"));
        fremovexattr(&plain, c"system.posix_acl_access").expect("no ACL");
        copy_attributes(&old, &new).expect("copied");
        assert_eq!(value(&new, c"system.posix_acl_access"), Ok(ACL.to_vec()));
        assert_eq!(new.metadata().expect("metadata").mode() & 0o777, old.metadata().expect("metadata").mode() & 0o777);
        assert!(value(&bare, c"system.posix_acl_access").is_ok(), "the directory gives one");
        copy_attributes(&plain, &bare).expect("copied");
        assert_eq!(value(&bare, c"system.posix_acl_access"), Err(Errno::NODATA));
    }
}
