//! The archive that `check` applies: an owner, a device, attributes of each kind.

/// A file with a foreign owner and attributes, and a device.
pub(super) fn of_each_kind() -> Vec<u8> {
    let attributes: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.user.check", b"1"),
        ("SCHILY.xattr.trusted.check", b"1"),
        // Version 2, cap_net_raw, effective.
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("SCHILY.acl.access", b"user::rw-,user:0:r--,group::r--,mask::r--,other::---"),
    ];
    let records: Vec<u8> = attributes.iter().flat_map(|(key, value)| record(key.as_bytes(), value)).collect();
    let mut archive = header(b"PaxHeaders/file", b'x', records.len(), 0);
    archive.extend(&records);
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive.extend(header(b"file", b'0', 0, 1));
    archive.extend(header(b"null", b'3', 0, 0));
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// `LENGTH KEY=VALUE\n`, the length that of the whole.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = |length: usize| length.to_string().len();
    let length = (1..).map(|n| rest + n).find(|length| digits(*length) + rest == *length).unwrap_or(rest);
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A ustar header; the device is 1:3.
fn header(name: &[u8], kind: u8, size: usize, id: u32) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name);
    put(100, b"0000640");
    put(108, format!("{id:07o}").as_bytes());
    put(116, format!("{id:07o}").as_bytes());
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000001");
    put(337, b"0000003");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::record;

    #[test]
    fn a_record_counts_itself() {
        for size in [1, 3, 90, 92, 94, 990] {
            let text = record(b"k", &vec![b'v'; size]);
            let said = String::from_utf8_lossy(&text);
            assert_eq!(said.split(' ').next().and_then(|n| n.parse().ok()), Some(text.len()), "{size}");
        }
    }
}
