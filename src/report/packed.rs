//! What came of packing.

use super::{Confinement, Digest, EntryCounts, Event, Report, Times};
use crate::options::Encoding;
use serde::{Deserialize, Serialize};

/// What one copy did ([`Copy`](crate::Copy)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Copied {
    /// On the side that it comes from: events of what is there, and how its helper was confined.
    pub packed: Packed,
    /// On the other side.
    pub report: Report,
}

/// What one packing did: an archive that is whole.
///
/// The archive's bytes are the helper's; sizes and digests are what it says of them, and of a [`Packing`](crate::Packing)
/// the size is compared with the bytes that came. Whoever must not believe it computes the digest of what he has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Packed {
    /// Entries by what they are; `skipped` are those that were left out, by patterns too.
    pub entries: EntryCounts,
    /// How it is compressed.
    pub encoding: Encoding,
    /// Bytes of the uncompressed archive.
    pub size: u64,
    /// SHA-256 of the uncompressed archive: a layer's diff ID.
    pub diff_id: Option<Digest>,
    /// Bytes as they were written, compressed.
    pub blob_size: u64,
    /// SHA-256 of these.
    pub digest: Option<Digest>,
    /// What changed meanwhile or was left out, the first [`Limits::events`](crate::Limits::events) of it, as far as 8 MiB
    /// of memory go.
    pub events: Vec<Event>,
    /// All of it, what is not in `events` too.
    pub event_count: u64,
    /// What confined the helper, as the kernel confirmed it.
    pub confinement: Confinement,
    /// Where the time went; `apply` is the packing.
    pub times: Times,
}

impl Packed {
    /// The media type of such a layer: OCI image-spec, `layer.md`.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.encoding {
            Encoding::None => "application/vnd.oci.image.layer.v1.tar",
            Encoding::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
            Encoding::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// The report that both directions send, read as one of packing.
    pub(crate) fn from_report(report: Report, encoding: Encoding) -> Packed {
        Packed {
            entries: report.entries,
            encoding,
            size: report.bytes_tar,
            diff_id: report.diff_id,
            blob_size: report.bytes_in,
            digest: report.digest,
            events: report.events,
            event_count: report.event_count,
            confinement: report.confinement,
            times: report.times,
        }
    }
}
