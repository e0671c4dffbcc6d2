//! Media types.

use super::problem::Problem;
use crate::options::Compression;

const OCI: &str = "application/vnd.oci.image.";
const DOCKER: &str = "application/vnd.docker.";
const ENCRYPTED: &str = "+encrypted";

/// What a descriptor in an index points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Index,
    DockerIndex,
    Manifest,
    DockerManifest,
    Other,
}

/// All that are known.
const KINDS: [(Kind, &str); 4] = [
    (Kind::Index, "application/vnd.oci.image.index.v1+json"),
    (Kind::DockerIndex, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (Kind::Manifest, "application/vnd.oci.image.manifest.v1+json"),
    (Kind::DockerManifest, "application/vnd.docker.distribution.manifest.v2+json"),
];

impl Kind {
    /// What a descriptor in an index points to, by its media type.
    pub(super) fn of(media_type: &str) -> Kind {
        KINDS.iter().find(|(_, name)| *name == media_type).map_or(Kind::Other, |(kind, _)| *kind)
    }

    /// Its media type, where it is known.
    pub(super) fn media_type(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub(super) fn is_index(self) -> bool {
        matches!(self, Kind::Index | Kind::DockerIndex)
    }

    pub(super) fn is_manifest(self) -> bool {
        matches!(self, Kind::Manifest | Kind::DockerManifest)
    }

    /// Whether this is the configuration of a container image, in a manifest of this kind.
    pub(super) fn is_config(self, media_type: &str) -> bool {
        match media_type {
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => true,
            // What registries made of it before docker's manifests could have anything else (distribution #1621).
            "application/octet-stream" | "application/json" | "text/html" | "" => self == Kind::DockerManifest,
            _ => false,
        }
    }
}

/// Docker's types say of compression what a pusher believed: whoever reads them goes by the bytes.
pub(super) fn may_lie(media_type: &str) -> bool {
    media_type.starts_with(DOCKER)
}

/// A layer of a file system, be it one that is not known here; and no signature, statement or list of packages.
pub(super) fn is_layer(media_type: &str) -> bool {
    let families = [&format!("{OCI}layer."), &format!("{DOCKER}image.rootfs.")];
    families.iter().any(|family| media_type.starts_with(*family)) || media_type.ends_with(ENCRYPTED)
}

/// A layer's media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerType {
    pub(super) compression: Compression,
    /// Its content is not to be distributed, so it may be elsewhere.
    pub(super) is_foreign: bool,
}

/// What a layer of this media type is.
pub(super) fn layer(media_type: &str) -> Result<LayerType, Problem> {
    if media_type.ends_with(ENCRYPTED) {
        return Err(Problem::Encrypted(media_type.to_owned()));
    }
    let plain = media_type.replace(".layer.nondistributable.v1.", ".layer.v1.").replace(".rootfs.foreign.", ".rootfs.");
    let compression = match plain.as_str() {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Compression::Gzip
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Compression::Zstd
        }
        _ => return Err(Problem::MediaType(media_type.to_owned())),
    };
    Ok(LayerType { compression, is_foreign: plain != media_type })
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
            assert_eq!(layer(media_type), Ok(LayerType { compression: want, is_foreign: false }), "{media_type}");
            assert!(is_layer(media_type));
        }
        for media_type in [
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ] {
            assert_eq!(layer(media_type), Ok(LayerType { compression: Compression::Gzip, is_foreign: true }));
            assert!(is_layer(media_type));
        }
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        ] {
            assert_eq!(layer(media_type), Err(Problem::Encrypted(media_type.into())));
        }
        for media_type in ["", "application/octet-stream", "application/vnd.oci.image.layer.v1.tar+xz", "text/plain"] {
            assert_eq!(layer(media_type), Err(Problem::MediaType(media_type.into())));
        }
    }

    #[test]
    fn what_is_beside_an_image_has_no_layers() {
        for media_type in ["application/vnd.in-toto+json", "application/vnd.dsse.envelope.v1+json", "text/spdx", ""] {
            assert!(!is_layer(media_type), "{media_type}");
        }
        assert!(is_layer("application/vnd.oci.image.layer.v1.squashfs"));
    }

    #[test]
    fn configurations_without_a_type_are_dockers_alone() {
        for media_type in ["application/octet-stream", ""] {
            assert!(Kind::DockerManifest.is_config(media_type) && !Kind::Manifest.is_config(media_type));
        }
        for (kind, media_type) in KINDS {
            assert_eq!((Kind::of(media_type), kind.media_type()), (kind, media_type));
        }
    }
}
