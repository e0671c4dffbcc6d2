//! containerd's version, and what it means for a differ. Pure.

/// Major, minor, patch; compared in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32, pub(super) u32);

/// The first with plug-ins of type `diff`; 1.6 ends at once with such a configuration.
pub(super) const OLDEST: Version = Version(1, 7, 4);

impl Version {
    /// From `containerd github.com/containerd/containerd/v2 2.1.9 HASH` or `v1.7.24~ds1`: the first word that is one.
    pub(super) fn find(text: &str) -> Option<Version> {
        text.split_whitespace().find_map(Version::parse)
    }

    pub(super) fn parse(word: &str) -> Option<Version> {
        let mut parts = word.strip_prefix('v').unwrap_or(word).splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next()?;
        let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        Some(Version(major, minor, patch[..digits].parse().ok()?))
    }

    /// 1.7 replaces whole tables by those of a file that it imports, so nothing may be put into one.
    pub(super) fn merges_imports(self) -> bool {
        self >= Version(2, 0, 0)
    }

    /// 1.7 does not say in which namespace a layer is to be made, so that nobody else can make it.
    pub(super) fn says_namespaces(self) -> bool {
        self >= Version(2, 0, 0)
    }

    /// Layers unpacked side by side arrive as the bottom one does, and lose their whiteouts, whoever applies them.
    pub(super) fn loses_whiteouts_side_by_side(self) -> bool {
        (Version(2, 2, 0)..=Version(2, 2, 2)).contains(&self)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_containerd_says() {
        for (text, version) in [
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1", Version(1, 6, 20)),
            ("containerd github.com/containerd/containerd/v2 v2.1.9 abcdef", Version(2, 1, 9)),
            ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6", Version(1, 7, 24)),
            ("containerd github.com/containerd/containerd/v2 2.3.0-rc.1", Version(2, 3, 0)),
        ] {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("containerd: unknown"), None);
        assert!(Version(1, 7, 3) < OLDEST && Version(1, 7, 24) > OLDEST && Version(2, 0, 0) > OLDEST);
        assert!(Version(2, 2, 1).loses_whiteouts_side_by_side() && !Version(2, 2, 3).loses_whiteouts_side_by_side());
    }
}
