//! The archive that `check` applies: an owner, a device, attributes of each kind.

use std::io;
use tar::{Builder, EntryType, Header};

/// A file with a foreign owner and attributes, and a device.
pub(super) fn of_each_kind() -> Vec<u8> {
    build().expect("memory takes what is written to it, and both numbers fit their fields")
}

fn build() -> io::Result<Vec<u8>> {
    let attributes: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.user.check", b"1"),
        ("SCHILY.xattr.trusted.check", b"1"),
        // Version 2, cap_net_raw, effective.
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("SCHILY.acl.access", b"user::rw-,user:0:r--,group::r--,mask::r--,other::---"),
    ];
    let mut archive = Builder::new(Vec::new());
    archive.append_pax_extensions(attributes)?;
    archive.append_data(&mut header(EntryType::Regular, 1), "file", io::empty())?;
    let mut null = header(EntryType::Char, 0);
    null.set_device_major(1)?;
    null.set_device_minor(3)?;
    archive.append_data(&mut null, "null", io::empty())?;
    archive.into_inner()
}

fn header(kind: EntryType, id: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_uid(id);
    header.set_gid(id);
    header.set_mtime(0);
    header.set_size(0);
    header
}
