//! Digests as images write them: strict, since they become file names.

use super::problem::Problem;
use crate::report::Digest;
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 hexadecimal digits in lower case; nothing else gets near a path.
pub(super) fn parse(text: &str) -> Result<Digest, Problem> {
    text.strip_prefix("sha256:").and_then(from_hex).ok_or_else(|| Problem::DigestText(text.to_owned()))
}

/// 64 hexadecimal digits in lower case.
pub(super) fn from_hex(hex: &str) -> Option<Digest> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits: [u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(Digest(bytes))
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
    fn only_one_spelling() {
        let good = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(parse(&good).expect("good").to_string(), good);
        assert_eq!(blob(&parse(&good).expect("good")), good.replace("sha256:", "blobs/sha256/"));
        for bad in [
            good.to_uppercase(),
            good.replace('f', "F"),
            good.replace("sha256", "sha512"),
            format!("{good}0"),
            good[..70].to_owned(),
            format!("sha256:../../../etc/passwd{}", "0".repeat(45)),
            good.replace('0', "/"),
            "sha256:".to_owned(),
            String::new(),
        ] {
            assert_eq!(parse(&bad), Err(Problem::DigestText(bad.clone())));
        }
    }

    /// The example of two layers, by `printf '%s' "$a $b" | sha256sum`.
    #[test]
    fn chains_are_of_text() {
        let (a, b) = (of(b"a"), of(b"b"));
        assert_eq!(chain(None, a), a);
        assert_eq!(chain(Some(a), b), of(format!("{a} {b}").as_bytes()));
    }
}
