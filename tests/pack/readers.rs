//! Law 7: what others make of our archives.

use std::path::Path;
use std::process::{Command, Stdio};

use untar_in_root::Encoding;

use super::generate::{tree, tree_with_plain_names};
use super::{names_of, pack, plain};
use crate::support::privilege::{need_root, need_tools};
use crate::support::scratch::Scratch;
use crate::support::tree::{But, Tree, assert_same};

/// Programs that read to the end, and say whether it was whole.
pub const READERS: [&str; 4] = ["tar", "bsdtar", "python3", "tar-rs"];

const PYTHON: &str = "import sys,tarfile\n\
    with tarfile.open(sys.argv[1],'r:*',errorlevel=2) as archive:\n\
    \x20for member in archive:\n\
    \x20 if member.isreg():\n\
    \x20  file=archive.extractfile(member); left=member.size\n\
    \x20  while True:\n\
    \x20   piece=file.read(1<<20)\n\
    \x20   if not piece: break\n\
    \x20   left-=len(piece)\n\
    \x20  assert left==0\n";

/// Whether it takes the file for a whole archive; `None` if the program is not there.
pub fn reads(reader: &str, archive: &Path) -> Option<bool> {
    let mut command = match reader {
        "tar-rs" => return Some(read_by_tar_rs(archive)),
        "python3" => {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON]).arg(archive);
            command
        }
        reader => {
            let mut command = Command::new(reader);
            // Content is read, too: into nothing.
            command.args(["-xOf"]).arg(archive);
            command
        }
    };
    let status = command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.ok().map(|status| status.success())
}

fn read_by_tar_rs(archive: &Path) -> bool {
    let bytes = std::fs::read(archive).expect("archive");
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        return false;
    }
    let mut archive = tar::Archive::new(&bytes[..]);
    let Ok(mut entries) = archive.entries() else { return false };
    entries.all(|entry| entry.and_then(|mut entry| std::io::copy(&mut entry, &mut std::io::sink())).is_ok())
}

#[test]
fn law_7_others_read_it_to_its_end() {
    if !need_root() || !need_tools(&["tar", "bsdtar", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = tree_with_plain_names(&scratch, "root", 7);
    let (archive, packed) = pack(&root, plain);
    let file = scratch.file("archive", &archive);
    for reader in READERS {
        assert_eq!(reads(reader, &file), Some(true), "{reader}");
    }
    assert_eq!(packed.size, archive.len() as u64);
    for encoding in [Encoding::Gzip { level: 1 }, Encoding::Zstd { level: 1 }] {
        let (archive, _) = pack(&root, |o| o.encoding = encoding);
        let file = scratch.file("compressed", &archive);
        let status = Command::new("tar").args(["-tf"]).arg(&file).stdout(Stdio::null()).status().expect("tar");
        assert!(status.success(), "{encoding:?}");
    }
}

/// What GNU tar makes of it, but for what it cannot: names of attributes with `=` and `%`, and times before 1970 that it
/// takes for implausible.
#[test]
fn law_1_gnu_tar_unpacks_the_same_tree() {
    if !need_root() || !need_tools(&["tar"]) {
        return;
    }
    for seed in 100..104 {
        let scratch = Scratch::new();
        let root = tree(&scratch, "root", seed);
        let (archive, _) = pack(&root, plain);
        let (file, dest) = (scratch.file("archive", &archive), scratch.dir("dest"));
        let mut command = Command::new("tar");
        command
            .args(["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf"])
            .arg(&file)
            .arg("-C")
            .arg(&dest);
        let output = command.output().expect("tar");
        assert!(output.status.success(), "{seed}: {}", String::from_utf8_lossy(&output.stderr));
        let but = [But::Field("xattr.user.a=b"), But::Field("xattr.user.p%25")];
        assert_same(
            &format!("GNU tar, seed {seed}, {}", names_of(&archive)),
            &Tree::read(&dest),
            &Tree::read(&root),
            &but,
        );
    }
}
