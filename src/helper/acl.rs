//! POSIX ACLs: the text of `SCHILY.acl.*` to the kernel's attribute. `acl(5)`; pure.

/// The text is no ACL.
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
}

/// Parses entries separated by commas or newlines: `user::rw-`, `user:lisa:r--:1001`, `group:27:r--`.
/// `None` if one names its user or group by name only.
pub(crate) fn parse(text: &[u8]) -> Result<Option<Acl>, Invalid> {
    let text = std::str::from_utf8(text).map_err(|_| Invalid)?;
    let mut acl = Acl::default();
    for line in text.split([',', '\n']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match parse_entry(line)? {
            Some(entry) => acl.entries.push(entry),
            None => return Ok(None),
        }
    }
    Ok(Some(acl))
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

/// The ACL that says what a mode says.
pub(crate) fn of_mode(mode: u32) -> Vec<u8> {
    let mut acl = Acl::default();
    acl.complete(mode);
    acl.encode()
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

    fn default_entry(&mut self, tag: Tag, permissions: u16) {
        if !self.entries.iter().any(|e| e.tag == tag) {
            self.entries.push(AclEntry { tag, permissions });
        }
    }

    /// `struct posix_acl_xattr_header` and its entries, in the order that the kernel wants.
    pub(crate) fn encode(mut self) -> Vec<u8> {
        self.entries.sort_by_key(|e| e.tag);
        let mut out = 2_u32.to_le_bytes().to_vec();
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
            let acl = parse(text.as_bytes()).unwrap().unwrap();
            let entries = [want(Tag::UserObj, 6), want(Tag::User(1000), 4), want(Tag::Mask, 4), want(Tag::Other, 0)];
            assert_eq!(acl.entries, entries, "{text}");
        }
        assert_eq!(parse(b"user:lisa:r--"), Ok(None));
        for text in ["user", "user::q", "mask:1:r", "x::r", "a:b:c:d:e"] {
            assert_eq!(parse(text.as_bytes()), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn a_missing_class_comes_from_the_mode() {
        let mut acl = parse(b"user:7:rwx").unwrap().unwrap();
        acl.complete(0o640);
        let bytes = acl.encode();
        assert_eq!(bytes.len(), 4 + 5 * 8);
        assert_eq!(bytes[4..8], [1, 0, 6, 0]);
    }
}
