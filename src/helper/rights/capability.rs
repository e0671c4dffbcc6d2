//! File capabilities: `capabilities(7)`, `struct vfs_ns_cap_data`. Pure.

const VERSION_1: u32 = 0x0100_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

/// What `security.capability` says, in whatever version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    effective: bool,
    /// Permitted and inheritable, lower words first: as version 2 has them.
    sets: [u8; 16],
    /// Version 3: the root of the user namespaces that it is for.
    root: Option<u32>,
}

impl Capability {
    /// `None` for all that a kernel answers EINVAL to; version 1, which it no longer takes, is read.
    pub(crate) fn parse(value: &[u8]) -> Option<Capability> {
        let (magic, rest) = value.split_first_chunk().map(|(magic, rest)| (u32::from_le_bytes(*magic), rest))?;
        let mut sets = [0; 16];
        let root = match (magic & !EFFECTIVE, rest.len()) {
            (VERSION_1, 8) | (VERSION_2, 16) => None,
            (VERSION_3, 20) => rest.last_chunk().copied().map(u32::from_le_bytes),
            _ => return None,
        };
        sets.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Some(Capability { effective: magic & EFFECTIVE != 0, sets, root })
    }

    /// The namespace's root, as the archive counts; without one it is the archive's own root.
    pub(crate) fn root(&self) -> u32 {
        self.root.unwrap_or(0)
    }

    /// The namespace's root, where one is said.
    pub(super) fn namespace(&self) -> Option<u32> {
        self.root
    }

    /// Makes it one for whoever is root where it is applied: version 2.
    pub(super) fn for_the_archive(self) -> Capability {
        Capability { root: None, ..self }
    }

    /// Makes it one for another root. Version 2 is for the first root, or what the kernel makes of that in a namespace.
    pub(crate) fn for_root(self, root: u32) -> Capability {
        let root = Some(root).filter(|root| self.root.is_some() || *root != 0);
        Capability { root, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let version = if self.root.is_some() { VERSION_3 } else { VERSION_2 };
        let mut value = (version | u32::from(self.effective)).to_le_bytes().to_vec();
        value.extend(self.sets);
        value.extend(self.root.into_iter().flat_map(u32::to_le_bytes));
        value
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes one of this version, for `cap_chown` and, where there is a second word, `cap_mac_override`.
    pub(crate) fn value(version: u32, root: Option<u32>) -> Vec<u8> {
        let words: &[u32] = if version == 1 { &[1, 0] } else { &[1, 0, 1, 0] };
        let words = [&[version << 24 | EFFECTIVE], words].concat().into_iter().chain(root);
        words.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn rule_13_capabilities_of_versions_2_and_3_come_out_as_they_went_in() {
        for value in [value(2, None), value(3, Some(0)), value(3, Some(7))] {
            assert_eq!(Capability::parse(&value).expect("valid").encode(), value);
        }
    }

    #[test]
    fn rule_13_a_capability_of_version_1_becomes_version_2() {
        let encoded = Capability::parse(&value(1, None)).expect("valid").encode();
        assert_eq!(encoded, [&0x0200_0001_u32.to_le_bytes()[..], &[1], &[0; 15]].concat());
    }

    #[test]
    fn rule_13_capabilities_become_version_3_for_another_root() {
        let v2 = Capability::parse(&value(2, None)).expect("valid");
        assert_eq!(v2.for_root(5).encode(), value(3, Some(5)));
        assert_eq!(v2.for_root(0), v2);
        let v3 = Capability::parse(&value(3, Some(0))).expect("valid");
        assert_eq!(v3.for_root(5).encode(), value(3, Some(5)));
        assert_eq!(v3.for_root(5).for_root(0), v3);
    }

    #[test]
    fn rule_13_what_no_kernel_takes_is_no_capability() {
        let v3 = value(3, Some(0));
        for bad in [&[][..], b"x", &v3[..23], &[&v3[..], &[0]].concat(), &v3[..20], &value(2, Some(0)), &value(4, None)]
        {
            assert_eq!(Capability::parse(bad), None, "{bad:?}");
        }
        // An unknown flag.
        assert_eq!(Capability::parse(&[&[3, 0, 0, 2][..], &[0; 16]].concat()), None);
    }
}
