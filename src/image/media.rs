//! Media types.

use super::problem::Problem;
use crate::options::Compression;

const OCI: &str = "application/vnd.oci.image.";
const DOCKER: &str = "application/vnd.docker.";

/// What a descriptor in an index points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Index,
    Manifest,
    Other,
}

/// What a descriptor in an index points to, by its media type.
pub(super) fn kind(media_type: &str) -> Kind {
    match media_type {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
            Kind::Index
        }
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
            Kind::Manifest
        }
        _ => Kind::Other,
    }
}

/// Whether this is the configuration of a container image.
pub(super) fn is_config(media_type: &str) -> bool {
    matches!(media_type, "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
}

/// How a layer of this media type is compressed.
pub(super) fn compression(media_type: &str) -> Result<Compression, Problem> {
    let own = || media_type.to_owned();
    if media_type.ends_with("+encrypted") {
        return Err(Problem::Encrypted(own()));
    }
    let foreign = media_type.contains(".layer.nondistributable.v1.") || media_type.contains(".rootfs.foreign.");
    if foreign && (media_type.starts_with(OCI) || media_type.starts_with(DOCKER)) {
        return Err(Problem::Foreign(own()));
    }
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Ok(Compression::None)
        }
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Compression::Gzip)
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Ok(Compression::Zstd)
        }
        _ => Err(Problem::MediaType(own())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_what_the_specification_lists() {
        for (media_type, want) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ] {
            assert_eq!(compression(media_type), Ok(want), "{media_type}");
        }
        for media_type in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert_eq!(compression(media_type), Err(Problem::Foreign(media_type.into())));
        }
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        ] {
            assert_eq!(compression(media_type), Err(Problem::Encrypted(media_type.into())));
        }
        for media_type in ["", "application/octet-stream", "application/vnd.oci.image.layer.v1.tar+xz", "text/plain"] {
            assert_eq!(compression(media_type), Err(Problem::MediaType(media_type.into())));
        }
    }
}
