//! Making a layer of what two sets of mounts differ in: not here, so that containerd asks the next differ.

use tonic::Status;

/// The diff service falls through to the next differ on this code and on no other.
pub(crate) fn not_here() -> Status {
    Status::unimplemented(
        "untar-in-root-diffd applies layers and makes none: name walking after it in the list of differs",
    )
}
