//! POSIX ACLs: the text of `SCHILY.acl.*` and the kernel's attribute. `acl(5)`; pure.

/// It is no ACL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    UserObj,
    User(u32),
    GroupObj,
    Group(u32),
    Mask,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AclEntry {
    pub(crate) tag: Tag,
    pub(crate) permissions: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    pub(crate) entries: Vec<AclEntry>,
    /// There were users or groups without a number; they are not among the entries.
    pub(crate) by_name: bool,
}

/// `struct posix_acl_xattr_header`: the only version there is.
const VERSION: u32 = 2;

/// Parses entries separated by commas or newlines: `user::rw-`, `user:lisa:r--:1001`, `group:27:r--`.
pub(crate) fn parse(text: &[u8]) -> Result<Acl, Invalid> {
    let text = std::str::from_utf8(text).map_err(|_| Invalid)?;
    let mut acl = Acl::default();
    for line in text.split([',', '\n']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match parse_entry(line)? {
            Some(entry) => acl.entries.push(entry),
            None => acl.by_name = true,
        }
    }
    Ok(acl)
}

/// Reads the kernel's form. What the kernel answers EINVAL to is none, but for entries out of order.
pub(crate) fn decode(value: &[u8]) -> Result<Acl, Invalid> {
    let Some((version, rest)) = value.split_first_chunk() else {
        return if value.is_empty() { Ok(Acl::default()) } else { Err(Invalid) };
    };
    let (entries, []) = rest.as_chunks::<8>() else { return Err(Invalid) };
    if u32::from_le_bytes(*version) != VERSION {
        return Err(Invalid);
    }
    let entries = entries.iter().map(decode_entry).collect::<Result<_, _>>()?;
    let acl = Acl { entries, by_name: false };
    if acl.is_valid() { Ok(acl) } else { Err(Invalid) }
}

fn decode_entry([tag_0, tag_1, bits_0, bits_1, id @ ..]: &[u8; 8]) -> Result<AclEntry, Invalid> {
    let id = u32::from_le_bytes(*id);
    let tag = match u16::from_le_bytes([*tag_0, *tag_1]) {
        0x01 => Tag::UserObj,
        0x02 => Tag::User(id),
        0x04 => Tag::GroupObj,
        0x08 => Tag::Group(id),
        0x10 => Tag::Mask,
        0x20 => Tag::Other,
        _ => return Err(Invalid),
    };
    Ok(AclEntry { tag, permissions: u16::from_le_bytes([*bits_0, *bits_1]) })
}

fn parse_entry(line: &str) -> Result<Option<AclEntry>, Invalid> {
    let fields: Vec<&str> = line.split(':').map(str::trim).collect();
    let (kind, name, letters) = match fields[..] {
        [kind @ ("other" | "o" | "mask" | "m"), letters] => (kind, "", letters),
        [kind, name, letters] | [kind, name, letters, ""] => (kind, name, letters),
        // star and libarchive: the number follows the name.
        [kind, _, letters, number] => (kind, number, letters),
        _ => return Err(Invalid),
    };
    let id: Option<u32> = name.parse().ok();
    let tag = match (kind, name.is_empty(), id) {
        ("user" | "u", true, _) => Tag::UserObj,
        ("group" | "g", true, _) => Tag::GroupObj,
        ("mask" | "m", true, _) => Tag::Mask,
        ("other" | "o", true, _) => Tag::Other,
        ("user" | "u", false, Some(id)) => Tag::User(id),
        ("group" | "g", false, Some(id)) => Tag::Group(id),
        ("user" | "u" | "group" | "g", false, None) => return Ok(None),
        _ => return Err(Invalid),
    };
    Ok(Some(AclEntry { tag, permissions: permissions(letters)? }))
}

fn permissions(letters: &str) -> Result<u16, Invalid> {
    letters.chars().try_fold(0, |bits, letter| match letter {
        'r' => Ok(bits | 4),
        'w' => Ok(bits | 2),
        'x' => Ok(bits | 1),
        '-' => Ok(bits),
        _ => Err(Invalid),
    })
}

impl Acl {
    /// Fills in what every access ACL must have: the three classes from the mode, a mask over named entries.
    pub(crate) fn complete(&mut self, mode: u32) {
        let class = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or_default();
        for (tag, permissions) in [(Tag::UserObj, class(6)), (Tag::GroupObj, class(3)), (Tag::Other, class(0))] {
            self.default_entry(tag, permissions);
        }
        let grouped = |e: &&AclEntry| matches!(e.tag, Tag::User(_) | Tag::Group(_) | Tag::GroupObj);
        if self.entries.iter().any(|e| matches!(e.tag, Tag::User(_) | Tag::Group(_))) {
            let mask = self.entries.iter().filter(grouped).fold(0, |bits, e| bits | e.permissions);
            self.default_entry(Tag::Mask, mask);
        }
    }

    /// Checks it as the kernel does: each class once, a mask where others are named. Without entries it is none at all.
    pub(crate) fn is_valid(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|e| e.tag == tag).count();
        let classes = [Tag::UserObj, Tag::GroupObj, Tag::Other].map(count) == [1, 1, 1];
        let mask = (usize::from(self.names_others())..=1).contains(&count(Tag::Mask));
        self.entries.is_empty() || classes && mask && self.entries.iter().all(|e| e.permissions <= 7)
    }

    /// It gives something to others than the file's owner, its group and everybody.
    pub(crate) fn names_others(&self) -> bool {
        self.entries.iter().any(|e| matches!(e.tag, Tag::User(_) | Tag::Group(_)))
    }

    /// The mode that gives nobody more than this access ACL does: the mode of a file that has one says the mask where
    /// others say what the group may.
    pub(crate) fn mode_without(&self, mode: u32) -> u32 {
        let of = |tag| self.entries.iter().find(|e| e.tag == tag).map_or(7, |e| u32::from(e.permissions));
        mode & (!0o070 | (of(Tag::GroupObj) & of(Tag::Mask)) << 3)
    }

    /// Puts entries for one user or group together, which a map has made of several.
    pub(super) fn join(&mut self) {
        self.entries.sort_by_key(|e| e.tag);
        self.entries.dedup_by(|again, first| {
            let same = again.tag == first.tag;
            first.permissions |= if same { again.permissions } else { 0 };
            same
        });
    }

    fn default_entry(&mut self, tag: Tag, permissions: u16) {
        if !self.entries.iter().any(|e| e.tag == tag) {
            self.entries.push(AclEntry { tag, permissions });
        }
    }

    /// `struct posix_acl_xattr_header` and its entries, in the order that the kernel wants.
    pub(crate) fn encode(mut self) -> Vec<u8> {
        self.entries.sort_by_key(|e| e.tag);
        let mut out = VERSION.to_le_bytes().to_vec();
        for AclEntry { tag, permissions } in self.entries {
            let (code, id) = match tag {
                Tag::UserObj => (0x01_u16, u32::MAX),
                Tag::User(id) => (0x02, id),
                Tag::GroupObj => (0x04, u32::MAX),
                Tag::Group(id) => (0x08, id),
                Tag::Mask => (0x10, u32::MAX),
                Tag::Other => (0x20, u32::MAX),
            };
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(&permissions.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_13_acls_parse_as_tar_and_star_write_them() {
        let want = |tag, permissions| AclEntry { tag, permissions };
        for text in
            ["user::rw-,user:1000:r--,mask::r--,other::---", "user::rw-\nuser:lisa:r--:1000\nmask:r--\nother:---\n"]
        {
            let acl = parse(text.as_bytes()).unwrap();
            let entries = [want(Tag::UserObj, 6), want(Tag::User(1000), 4), want(Tag::Mask, 4), want(Tag::Other, 0)];
            assert_eq!(acl.entries, entries, "{text}");
        }
        assert!(parse(b"user:lisa:r--").unwrap().by_name);
        for text in ["user", "user::q", "mask:1:r", "x::r", "a:b:c:d:e"] {
            assert_eq!(parse(text.as_bytes()), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn a_missing_class_comes_from_the_mode() {
        let mut acl = parse(b"user:7:rwx").unwrap();
        acl.complete(0o640);
        let bytes = acl.encode();
        assert_eq!(bytes.len(), 4 + 5 * 8);
        assert_eq!(bytes[4..8], [1, 0, 6, 0]);
    }

    const FULL: &[u8] = b"user::rw-,user:7:rwx,group::r--,group:8:---,mask::rwx,other::---";

    #[test]
    fn rule_13_the_binary_form_is_what_the_text_becomes() {
        for text in [FULL, b"user::rw-,group::r--,other::---", b""] {
            let acl = parse(text).unwrap();
            assert_eq!(decode(&acl.clone().encode()), Ok(acl));
        }
        assert_eq!(decode(b""), Ok(Acl::default()));
    }

    #[test]
    fn rule_13_a_binary_acl_that_no_kernel_takes_is_none() {
        let full = parse(FULL).unwrap().encode();
        let changed = |at: usize, byte| {
            let mut value = full.clone();
            value[at] = byte;
            value
        };
        let twice = [&full[..], &full[4..12]].concat();
        // Cut short, one byte more, another version, tag or permissions, a class twice, no mask, no classes.
        let no_mask = [&full[..36], &full[44..]].concat();
        for bad in [
            full[..3].to_vec(),
            full[..full.len() - 1].to_vec(),
            [&full[..], b"x"].concat(),
            changed(0, 1),
            changed(4, 3),
            changed(6, 8),
            changed(7, 1),
            twice,
            no_mask,
            full[..12].to_vec(),
        ] {
            assert_eq!(decode(&bad), Err(Invalid), "{bad:?}");
        }
    }

    #[test]
    fn without_its_acl_a_file_gives_its_group_what_the_acl_did() {
        for (text, want) in [(FULL, 0o640), (b"user::rw-,group::rwx,mask::r--,other::---", 0o640), (b"", 0o660)] {
            assert_eq!(parse(text).unwrap().mode_without(0o660), want, "{}", text.escape_ascii());
        }
    }
}
