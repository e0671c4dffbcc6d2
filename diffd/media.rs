//! What a layer's media type says of its compression, as containerd takes it. Pure.

use untar_in_root::{Compression, Encoding};

/// How the stream is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Plain, whatever its bytes look like.
    Plain,
    /// By its first bytes: gzip, zstd, else plain; the suffix is not believed.
    ByItsBytes,
}

const OCI: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"];
const DOCKER: [&str; 2] =
    ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"];

/// `None` is a type that this differ does not apply: another's, or one that a stream processor has to decrypt first.
pub(crate) fn layer(media_type: &str) -> Option<Layer> {
    if OCI.contains(&media_type) {
        return Some(Layer::Plain);
    }
    let known = |types: [&str; 2], suffixes: &[&str]| {
        types.iter().any(|base| media_type.strip_prefix(base).is_some_and(|suffix| suffixes.contains(&suffix)))
    };
    let oci = known(OCI, &["+gzip", "+zstd"]);
    (oci || known(DOCKER, &["", ".gzip", ".zstd"])).then_some(Layer::ByItsBytes)
}

/// What a layer is made as where nobody says it, by containerd's own differ too.
pub(crate) const BY_DEFAULT: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How a layer of this media type is compressed when it is made. `None` is a type that this differ does not make.
pub(crate) fn encoding(media_type: &str) -> Option<Encoding> {
    let suffix = [OCI[0], DOCKER[0]].iter().find_map(|base| Some((*base, media_type.strip_prefix(base)?)))?;
    match suffix {
        (_, "") => Some(Encoding::None),
        (base, "+gzip") if base == OCI[0] => Some(Encoding::Gzip { level: 6 }),
        (base, "+zstd") if base == OCI[0] => Some(Encoding::Zstd { level: 3 }),
        (base, ".gzip") if base == DOCKER[0] => Some(Encoding::Gzip { level: 6 }),
        (base, ".zstd") if base == DOCKER[0] => Some(Encoding::Zstd { level: 3 }),
        _ => None,
    }
}

impl Layer {
    /// The compression of a stream that begins so.
    pub(crate) fn compression(self, start: &[u8]) -> Compression {
        const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
        const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
        // A skippable frame, RFC 8878, 3.1.2.
        let skippable = start.len() >= 8 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
        match self {
            Layer::ByItsBytes if start.starts_with(GZIP) => Compression::Gzip,
            Layer::ByItsBytes if start.starts_with(ZSTD) || skippable => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_oci_and_docker_are_known() {
        for base in OCI {
            assert_eq!(layer(base), Some(Layer::Plain));
            for suffix in ["+gzip", "+zstd"] {
                assert_eq!(layer(&format!("{base}{suffix}")), Some(Layer::ByItsBytes));
            }
        }
        for base in DOCKER {
            for suffix in ["", ".gzip", ".zstd"] {
                assert_eq!(layer(&format!("{base}{suffix}")), Some(Layer::ByItsBytes));
            }
        }
    }

    #[test]
    fn what_is_encrypted_or_unknown_is_another_differs() {
        for media_type in [
            "",
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.oci.image.layer.v1.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar+gzip",
            "application/vnd.erofs.layer.v1",
            "application/octet-stream",
        ] {
            assert_eq!(layer(media_type), None, "{media_type}");
        }
    }

    #[test]
    fn layers_of_oci_and_docker_are_made_and_others_are_not() {
        let (gzip, zstd) = (Some(Encoding::Gzip { level: 6 }), Some(Encoding::Zstd { level: 3 }));
        for (base, suffixes) in [(OCI[0], ["+gzip", "+zstd"]), (DOCKER[0], [".gzip", ".zstd"])] {
            let of = |suffix: &str| encoding(&format!("{base}{suffix}"));
            assert_eq!((of(""), of(suffixes[0]), of(suffixes[1])), (Some(Encoding::None), gzip, zstd));
        }
        assert_eq!(encoding(BY_DEFAULT), gzip);
        for other in [OCI[1], DOCKER[1], "", "text/html", "application/vnd.oci.image.layer.v1.tar.gzip"] {
            assert_eq!(encoding(other), None, "{other}");
        }
        assert_eq!(encoding("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), None);
    }

    #[test]
    fn a_compressed_type_goes_by_the_bytes_and_the_plain_oci_type_by_its_word() {
        let starts: [(&[u8], Compression); 5] = [
            (&[0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0], Compression::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0], Compression::Zstd),
            (&[0x53, 0x2a, 0x4d, 0x18, 4, 0, 0, 0], Compression::Zstd),
            (b"BZh91AY&SY", Compression::None),
            (b"", Compression::None),
        ];
        for (start, compression) in starts {
            assert_eq!(Layer::ByItsBytes.compression(start), compression);
            assert_eq!(Layer::Plain.compression(start), Compression::None);
        }
    }
}
