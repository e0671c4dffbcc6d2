//! What GNU tar and bsdtar write (`fixtures/README.md`).

use super::build::read;
use crate::helper::read::entry::{Entry, Strictness, Time};
use crate::options::Limits;
use crate::report::EntryKind;

fn load(name: &str) -> Vec<(Entry, Vec<u8>)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let bytes = std::fs::read(path).expect(name);
    let outcome = read(&bytes, 1 << 18, Limits::default(), Strictness::default());
    assert_eq!(outcome.fault, None, "{name}");
    assert!(outcome.end.is_some_and(|end| end.marker && !end.trailing_data), "{name}");
    outcome.entries
}

fn find<'a>(entries: &'a [(Entry, Vec<u8>)], path: &str) -> &'a (Entry, Vec<u8>) {
    entries.iter().find(|(entry, _)| entry.path == path.as_bytes()).expect(path)
}

/// The file of 1 MiB with `begin` at its beginning and `middle` in its middle.
fn check_sparse((entry, body): &(Entry, Vec<u8>), name: &str) {
    let mut file = vec![0; 1 << 20];
    let mut rest = &body[..];
    for region in entry.sparse.as_deref().expect(name) {
        let (piece, after) = rest.split_at(region.length as usize);
        file[region.offset as usize..][..piece.len()].copy_from_slice(piece);
        rest = after;
    }
    assert_eq!((entry.kind, entry.size), (EntryKind::File, 1 << 20), "{name}");
    assert!(file.starts_with(b"begin\0") && file[1 << 19..].starts_with(b"middle\0"), "{name}");
    assert_eq!(file.iter().filter(|byte| **byte != 0).count(), 11, "{name}");
    assert!(entry.stored < 1 << 18, "{name}");
}

#[test]
fn tools_sparse_files_links_and_long_names() {
    let long = "d".repeat(120);
    for name in ["gnutar-gnu.tar", "gnutar-pax-0.0.tar", "gnutar-pax-0.1.tar", "gnutar-pax-1.0.tar", "bsdtar-pax.tar"] {
        let entries = load(name);
        check_sparse(find(&entries, "s"), name);
        let (hard, _) = find(&entries, &format!("{long}/hard"));
        assert_eq!((hard.kind, &hard.link[..]), (EntryKind::Hardlink, &b"s"[..]), "{name}");
        assert_eq!(find(&entries, &format!("{long}/")).0.kind, EntryKind::Directory, "{name}");
        let (link, _) = find(&entries, "sym");
        assert_eq!((link.kind, &link.link), (EntryKind::Symlink, &format!("../{long}/{long}").into_bytes()), "{name}");
    }
}

#[test]
fn tools_times_before_1970_and_xattrs() {
    for name in ["gnutar-pax-0.0.tar", "gnutar-pax-0.1.tar", "gnutar-pax-1.0.tar", "bsdtar-pax.tar"] {
        let entries = load(name);
        let (entry, _) = find(&entries, "s");
        // For 1.25 s before 1970 bsdtar 3.6 writes `-2.75`, which by POSIX, GNU tar and Go is 2.75 s before.
        let (seconds, nanoseconds) = if name.starts_with("bsd") { (-3, 250_000_000) } else { (-2, 750_000_000) };
        assert_eq!(entry.mtime, Time { seconds, nanoseconds }, "{name}");
        assert_eq!(entry.xattrs, [(b"user.note".to_vec(), b"a=b".to_vec())], "{name}");
    }
    let entries = load("gnutar-gnu.tar");
    assert_eq!(find(&entries, "s").0.mtime, Time { seconds: -2, nanoseconds: 0 });
}

#[test]
fn tools_long_link_of_bsdtar() {
    let long = "d".repeat(120);
    let entries = load("bsdtar-gnutar.tar");
    assert_eq!(find(&entries, "sym").0.link, format!("../{long}/{long}").into_bytes());
    assert_eq!(find(&entries, &format!("{long}/")).0.kind, EntryKind::Directory);
}
