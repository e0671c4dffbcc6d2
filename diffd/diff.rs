//! Making a layer of what two sets of mounts differ in: not here, so that containerd asks the next differ.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tonic::Status;
use tonic::metadata::MetadataValue;

const WORDS: &str = "untar-in-root-diffd applies layers and makes none: name walking after it in the list of differs";

/// Where the service looks for blobs, for `check`: beside the status, which alone goes on to who pulls.
pub(crate) const CONTENT_ROOT: &str = "content-root-bin";

/// The diff service falls through to the next differ on this code and on no other.
pub(crate) fn not_here(content_root: &Path) -> Status {
    let mut status = Status::unimplemented(WORDS);
    status.metadata_mut().insert_bin(CONTENT_ROOT, MetadataValue::from_bytes(content_root.as_os_str().as_bytes()));
    status
}

/// Whether it is the answer of a service like this one, of this version or another.
pub(crate) fn is_ours(status: &Status) -> bool {
    status.code() == tonic::Code::Unimplemented && status.message().starts_with("untar-in-root-diffd ")
}
