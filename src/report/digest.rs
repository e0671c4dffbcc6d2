//! Digests, in the one spelling that they have.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, shown and parsed as `sha256:` and 64 hexadecimal digits in lower case.
///
/// ```
/// use untar_in_root::Digest;
/// let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
/// assert!(text.to_uppercase().parse::<Digest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs)]
pub struct Digest(pub [u8; 32]);

/// A text is no digest: it is not `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseDigestError;

impl Digest {
    /// The digest of these 64 hexadecimal digits.
    pub(crate) fn from_hex(hex: &str) -> Option<Digest> {
        let digits: [u8; 64] = hex.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

/// Lower case only, as the OCI image-spec has it (`descriptor.md`, "Registered algorithms"): digests are file names.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Digest, ParseDigestError> {
        text.strip_prefix("sha256:").and_then(Digest::from_hex).ok_or(ParseDigestError)
    }
}

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected sha256: and 64 hexadecimal digits in lower case")
    }
}

impl std::error::Error for ParseDigestError {}

#[cfg(test)]
mod tests {
    use super::{Digest, ParseDigestError};

    #[test]
    fn only_one_spelling() {
        let good = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(good.parse::<Digest>().expect("good").to_string(), good);
        for bad in [
            good.to_uppercase(),
            good.replace('f', "F"),
            good.replace("sha256", "sha512"),
            format!("{good}0"),
            good[..70].to_owned(),
            format!("sha256:../../../etc/passwd{}", "0".repeat(45)),
            good.replace('0', "/"),
            good.replacen('0', "+", 1),
            good.replacen("01", "é", 1),
            "sha256:".to_owned(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(ParseDigestError), "{bad}");
        }
    }
}
