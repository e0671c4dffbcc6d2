//! Operating system, architecture, variant: which of several images is meant.

use super::document::PlatformText;
use std::fmt;
use std::str::FromStr;

/// `os/architecture[/variant]`, in the words of the image-spec (Go's `GOOS` and `GOARCH`), and parsed as that. What
/// `uname -m` and Debian call the same (`x86_64`, `aarch64`, `armhf`) is understood where platforms are compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
    /// `os.features` of an image: what it demands of a machine, which not every one of the platform has. The first four.
    pub features: Vec<String>,
}

/// A text is no platform: it is neither two or three words with slashes between, nor an architecture that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParsePlatformError;

/// The best fit.
pub(super) const EXACT: u8 = 0;
/// A fit beyond what every machine of the architecture understands.
const BEYOND: u8 = 100;

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            other => names(other).0,
        };
        Platform::plain(std::env::consts::OS, architecture, None)
    }

    fn plain(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let own = str::to_owned;
        Platform { os: own(os), architecture: own(architecture), variant: variant.map(own), features: Vec::new() }
    }

    /// As a configuration has it.
    pub(super) fn of(text: PlatformText) -> Platform {
        let variant = text.variant.filter(|variant| !variant.is_empty());
        let features = text.features.unwrap_or_default().into_items();
        Platform { os: text.os, architecture: text.architecture, variant, features }
    }

    /// As a descriptor has it: without an architecture and demands it says nothing, and the configuration decides.
    pub(super) fn described(text: PlatformText) -> Option<Platform> {
        Some(Platform::of(text)).filter(|said| !said.architecture.is_empty() || !said.features.is_empty())
    }

    /// Bytes of its texts.
    pub(super) fn cost(&self) -> usize {
        let features = self.features.iter().map(|feature| size_of::<String>() + feature.len()).sum::<usize>();
        self.os.len() + self.architecture.len() + self.variant.as_ref().map_or(0, String::len) + features
    }

    /// What buildkit gives to attestations: no image.
    pub(super) fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// How well an image fits: 0 is best; `None` if it does not. With a wanted variant, that one or the highest below
    /// it; without, an image without one is best, then the highest that is common.
    pub(super) fn fit(&self, image: &Platform) -> Option<u8> {
        let (wanted, has) = (Normal::of(self), Normal::of(image));
        let lacks = image.features.iter().any(|demanded| !self.features.contains(demanded));
        if lacks || wanted.os != has.os || wanted.architecture != has.architecture {
            return None;
        }
        match (&wanted.variant, &has.variant) {
            (wanted, has) if wanted == has => Some(EXACT),
            (Some(variant), has) => below(wanted.architecture, variant, has.as_deref())
                // Whoever wants `amd64` and names no variant takes v3 if there is nothing else; "armv6l" names one.
                .or_else(|| {
                    (self.variant.is_none() && wanted.architecture != "arm" && has.is_some()).then_some(BEYOND)
                }),
            (None, Some(variant)) => Some(match variant.as_str() {
                "v7" => 1,
                "v6" => 2,
                "v5" => 3,
                // Only if there is nothing else.
                _ => BEYOND,
            }),
            (None, None) => Some(EXACT),
        }
    }
}

/// An image for a lower variant runs on a machine of a higher one, never the other way round. `arm` alone is v6 or v7
/// with those who write it.
fn below(architecture: &str, wanted: &str, has: Option<&str>) -> Option<u8> {
    let level = |variant: &str| variant.strip_prefix('v').and_then(|level| level.parse::<u8>().ok());
    let wanted = level(wanted)?.min(BEYOND / 2);
    match (architecture, has) {
        ("arm", None) if wanted >= 7 => Some(2 * (wanted - 6) + 1),
        (_, Some(has)) => level(has).filter(|has| *has < wanted).map(|has| 2 * (wanted - has)),
        _ => None,
    }
}

/// A platform in Go's words; what a variant that is not named stands for, named.
struct Normal<'a> {
    os: String,
    architecture: &'a str,
    variant: Option<String>,
}

impl Normal<'_> {
    fn of(platform: &Platform) -> Normal<'_> {
        let os = match platform.os.to_ascii_lowercase() {
            // As containerd has it: what does not say is for where it is.
            os if os.is_empty() => std::env::consts::OS.to_owned(),
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, implied) = names(&platform.architecture);
        let variant = platform.variant.as_deref().map(|variant| match variant.trim_end_matches(".0") {
            digit if digit.starts_with(|first: char| first.is_ascii_digit()) => format!("v{digit}"),
            variant => variant.to_ascii_lowercase(),
        });
        Normal { os, architecture, variant: variant.or(implied.map(str::to_owned)) }
    }
}

/// Go's name of an architecture, and the variant that is meant by the name.
fn names(architecture: &str) -> (&str, Option<&'static str>) {
    match architecture {
        "amd64" | "x86_64" | "x86-64" | "x64" | "AMD64" | "X64" => ("amd64", Some("v1")),
        "arm64" | "aarch64" | "ARM64" => ("arm64", Some("v8")),
        "386" | "x86" | "i386" | "i486" | "i586" | "i686" => ("386", None),
        "armhf" | "armv7" | "armv7l" | "armv7hl" => ("arm", Some("v7")),
        "armv6" | "armv6l" | "armv6hl" => ("arm", Some("v6")),
        "armel" | "armv5" | "armv5l" | "armv5tel" => ("arm", Some("v5")),
        "ppc64el" | "powerpc64le" => ("ppc64le", None),
        "mips64el" => ("mips64le", None),
        "mipsel" => ("mipsle", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    }
}

/// Stands for an architecture where no operating system is named, as docker and containerd have it.
fn is_known(word: &str) -> bool {
    const GO: [&str; 13] = [
        "amd64", "arm64", "386", "arm", "ppc64le", "ppc64", "s390x", "riscv64", "mips64le", "mips64", "mipsle", "mips",
        "loong64",
    ];
    GO.contains(&names(word).0)
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Platform, ParsePlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ParsePlatformError);
        }
        Ok(match *parts {
            [architecture] if is_known(architecture) => Platform::plain(std::env::consts::OS, architecture, None),
            [architecture, variant] if is_known(architecture) => {
                Platform::plain(std::env::consts::OS, architecture, Some(variant))
            }
            [os, architecture] => Platform::plain(os, architecture, None),
            [os, architecture, variant] => Platform::plain(os, architecture, Some(variant)),
            _ => return Err(ParsePlatformError),
        })
    }
}

impl fmt::Display for ParsePlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected OS/ARCH or OS/ARCH/VARIANT, as in linux/arm64, or an architecture")
    }
}

impl std::error::Error for ParsePlatformError {}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| crate::text::Escaped(super::problem::shortened(text, 100).as_bytes()).to_string();
        match self.os.is_empty() && self.architecture.is_empty() {
            true => f.write_str("no platform")?,
            false => write!(f, "{}/{}", part(&self.os), part(&self.architecture))?,
        }
        self.variant.as_deref().map_or(Ok(()), |variant| write!(f, "/{}", part(variant)))?;
        if !self.features.is_empty() {
            f.write_str(" with os.features")?;
        }
        self.features.iter().try_for_each(|feature| write!(f, " {}", part(feature)))
    }
}

#[cfg(test)]
mod tests {
    use super::{BEYOND, ParsePlatformError, Platform};

    fn at(text: &str) -> Platform {
        text.parse().expect("a platform")
    }

    #[test]
    fn which_image_fits() {
        for (wanted, image, want) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v3", Some(BEYOND)),
            ("linux/amd64", "windows/amd64", None),
            ("linux/amd64/v3", "linux/amd64", Some(4)),
            ("linux/amd64/v2", "linux/amd64/v3", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm64/8", "linux/arm64/v8.0", Some(0)),
            ("linux/arm", "linux/arm/v7", Some(1)),
            ("linux/arm", "linux/arm/v6", Some(2)),
            ("linux/arm/v7", "linux/arm/7", Some(0)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm", None),
            ("linux/x86_64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/x86_64", Some(0)),
            ("linux/aarch64", "linux/arm64/v8", Some(0)),
            ("linux/armhf", "linux/arm/v7", Some(0)),
            ("linux/armv7l", "linux/arm/v6", Some(2)),
            ("linux/i686", "linux/386", Some(0)),
            ("linux/arm", "linux/arm64", None),
        ] {
            assert_eq!(at(wanted).fit(&at(image)), want, "{wanted} {image}");
        }
        for (short, long) in
            [("amd64", "amd64"), ("x86_64", "amd64"), ("arm64/v8", "arm64"), ("arm/v7", "arm/v7"), ("armhf", "arm/v7")]
        {
            let long = format!("{}/{long}", std::env::consts::OS);
            assert_eq!(at(short).fit(&at(&long)), Some(0), "{short}");
        }
        for bad in ["linux", "", "linux/", "/amd64", "linux/arm/v7/x", "linux/arm/", "amd64/", "amd46"] {
            assert_eq!(bad.parse::<Platform>(), Err(ParsePlatformError), "{bad}");
        }
    }

    #[test]
    fn a_higher_variant_takes_lower_ones_in_order() {
        for (wanted, order) in
            [("linux/arm/v7", &["v7", "v6", "", "v5"][..]), ("linux/arm/v8", &["v8", "v7", "v6", ""][..])]
        {
            let image = |variant: &&str| Platform { variant: Some(variant.to_string()), ..at("linux/arm") };
            let bare = |platform: Platform| match platform.variant.as_deref() {
                Some("") => Platform { variant: None, ..platform },
                _ => platform,
            };
            let fits: Vec<_> = order.iter().map(|variant| at(wanted).fit(&bare(image(variant)))).collect();
            assert!(fits.iter().all(Option::is_some) && fits.is_sorted() && fits[0] == Some(0), "{wanted}: {fits:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_platform() {
        assert_eq!(Platform::described(Default::default()), None);
        assert_eq!(Platform::of(Default::default()).to_string(), "no platform");
    }
}
