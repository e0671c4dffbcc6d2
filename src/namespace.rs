//! The user namespace that this process is in, as `/proc/self` shows it: `user_namespaces(7)`.

use crate::options::IdRange;
use crate::proc;

/// Its user ids: those inside, and what they are in the namespace of whoever opened the file, which is this one.
pub(crate) fn uids() -> Vec<IdRange> {
    parse(&proc::text("self/uid_map"))
}

/// The same of its group ids.
pub(crate) fn gids() -> Vec<IdRange> {
    parse(&proc::text("self/gid_map"))
}

/// Whether this is the first user namespace, the only one whose root may set `trusted.*` attributes.
#[cfg(any(feature = "helper", feature = "image"))]
pub(crate) fn is_first() -> bool {
    uids() == [IdRange { inside: 0, outside: 0, count: u32::MAX }]
}

/// `inside outside count` on each line, as the kernel prints it.
fn parse(map: &str) -> Vec<IdRange> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|n| n.parse().ok());
        Some(IdRange { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    map.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_prints_them() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        let want = [(0, 1000, 1), (1, 100_000, 65_536)];
        assert_eq!(parse(map), want.map(|(inside, outside, count)| IdRange { inside, outside, count }));
        assert_eq!(parse("0 0\nx y z\n0 0 4294967296\n"), []);
        assert!(!uids().is_empty() && !gids().is_empty(), "no /proc here");
    }
}
