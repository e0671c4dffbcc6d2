//! Digests as images have them: in documents, as file names, of layers on each other.

use super::problem::Problem;
use crate::report::Digest;
use sha2::{Digest as _, Sha256};

/// Nothing else gets near a path.
pub(super) fn parse(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::DigestText(text.to_owned()))
}

/// The digits alone.
pub(super) fn hex(digest: &Digest) -> String {
    digest.to_string().split_off("sha256:".len())
}

pub(super) fn of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Where a blob lies in an OCI layout.
pub(super) fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// What stands for a layer and all below it (image-spec, `config.md`, "Layer ChainID").
pub(super) fn chain(below: Option<Digest>, diff_id: Digest) -> Digest {
    match below {
        None => diff_id,
        Some(below) => of(format!("{below} {diff_id}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_found_by_its_digits() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(blob(&parse(&format!("sha256:{digits}")).expect("good")), format!("blobs/sha256/{digits}"));
        let bad = format!("sha256:{}", digits.to_uppercase());
        assert_eq!(parse(&bad), Err(Problem::DigestText(bad.clone())));
    }

    /// The example of two layers, by `printf '%s' "$a $b" | sha256sum`.
    #[test]
    fn chains_are_of_text() {
        let (a, b) = (of(b"a"), of(b"b"));
        assert_eq!(chain(None, a), a);
        assert_eq!(chain(Some(a), b), of(format!("{a} {b}").as_bytes()));
    }
}
