//! Operating system, architecture, variant: which of several images is meant.

use super::document::PlatformText;
use std::fmt;
use std::str::FromStr;

/// `os/architecture[/variant]`, in the words of the image-spec (Go's `GOOS` and `GOARCH`), and parsed as that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// A text is no platform: it is not two or three words with slashes between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParsePlatformError;

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform { os: std::env::consts::OS.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    pub(super) fn of(text: &PlatformText) -> Platform {
        let variant = text.variant.clone().filter(|variant| !variant.is_empty());
        Platform { os: text.os.clone(), architecture: text.architecture.clone(), variant }
    }

    /// What buildkit gives to attestations: no image.
    pub(super) fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// How well an image fits: 0 is best; `None` if it does not. A wanted variant must be the image's, where
    /// arm64 without one is v8; without a wanted one, an image without one is best, then the highest that is common.
    pub(super) fn fit(&self, image: &Platform) -> Option<u8> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        let implied = |variant: &Option<String>| match (variant.as_deref(), self.architecture.as_str()) {
            (None, "arm64") => Some("v8".to_owned()),
            (None, "amd64") => Some("v1".to_owned()),
            (variant, _) => variant.map(str::to_owned),
        };
        let (wanted, has) = (implied(&self.variant), implied(&image.variant));
        match (&self.variant, has.as_deref()) {
            (Some(_), _) => (wanted == has).then_some(0),
            (None, _) if wanted == has => Some(0),
            (None, Some("v7")) => Some(1),
            (None, Some("v6")) => Some(2),
            (None, Some("v5")) => Some(3),
            // Higher than every machine of the architecture understands: only if there is nothing else.
            (None, _) => Some(9),
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Platform, ParsePlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match *parts {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(ParsePlatformError),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ParsePlatformError);
        }
        let own = str::to_owned;
        Ok(Platform { os: own(os), architecture: own(architecture), variant: variant.map(own) })
    }
}

impl fmt::Display for ParsePlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected OS/ARCH or OS/ARCH/VARIANT, as in linux/arm64")
    }
}

impl std::error::Error for ParsePlatformError {}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| crate::text::Escaped(super::problem::shortened(text, 100).as_bytes()).to_string();
        write!(f, "{}/{}", part(&self.os), part(&self.architecture))?;
        self.variant.as_deref().map_or(Ok(()), |variant| write!(f, "/{}", part(variant)))
    }
}

#[cfg(test)]
mod tests {
    use super::{ParsePlatformError, Platform};

    #[test]
    fn which_image_fits() {
        let at = |text: &str| text.parse::<Platform>().expect("a platform");
        for (wanted, image, want) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v3", Some(9)),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm", "linux/arm/v7", Some(1)),
            ("linux/arm", "linux/arm/v6", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm", None),
        ] {
            assert_eq!(at(wanted).fit(&at(image)), want, "{wanted} {image}");
        }
        for bad in ["linux", "", "linux/", "/amd64", "linux/arm/v7/x", "linux/arm/"] {
            assert_eq!(bad.parse::<Platform>(), Err(ParsePlatformError), "{bad}");
        }
    }
}
