//! Devices, FIFOs and sockets, made by the archive or there before it.

use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::io::Errno;
use untar_in_root::{Devices, Malformed, Options, Refusal};

use super::super::case::{Case, Outcome, Setting, case};
use super::tar;

fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).expect("FIFO");
}

/// A character device where one can be made, else a FIFO.
fn device(path: &Path, setting: Setting) {
    if matches!(setting, Setting::Unprivileged | Setting::UnprivilegedBeneath) {
        return fifo(path);
    }
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).expect("device");
}

fn socket(path: &Path) {
    drop(UnixListener::bind(path).expect("socket"));
}

fn placeholder(o: &mut Options) {
    o.devices = Devices::Placeholder;
}

fn skip(o: &mut Options) {
    o.devices = Devices::Skip;
}

pub fn cases() -> Vec<Case> {
    vec![
        case("a device", tar().char_dev("zero", 1, 5).block_dev("disk", 8, 0))
            .tree("disk:8,0 zero:1,5")
            .without_devices(),
        case("a device, left out where it cannot be made", tar().char_dev("zero", 1, 5))
            .with(skip)
            .in_userns_and_beneath(Outcome::Tree(String::new()))
            .tree("zero:1,5"),
        case("a device, a file where it cannot be made", tar().char_dev("zero", 1, 5))
            .with(placeholder)
            .in_userns_and_beneath(Outcome::Tree("zero=".into()))
            .tree("zero:1,5"),
        // CVE-2026-46680 and others: numbers that are cast.
        case("a major that wraps to /dev/mem", tar().char_dev("c", (1 << 32) + 1, 1)).refused(Refusal::DeviceNumber),
        case("a minor that wraps", tar().char_dev("c", 1, (1 << 32) + 1)).refused(Refusal::DeviceNumber),
        case("a major of 12 bits and more", tar().char_dev("c", 1 << 12, 1)).refused(Refusal::DeviceNumber),
        case("a minor of 20 bits and more", tar().char_dev("c", 1, 1 << 20)).refused(Refusal::DeviceNumber),
        case("a negative major", tar().char_dev("c", -1, 1)).refused(Refusal::DeviceNumber),
        case("a negative minor", tar().block_dev("b", 8, -1)).refused(Refusal::DeviceNumber),
        case(
            "a device with a body",
            tar().char_dev("c", 1, 5).with(|e| _ = e.body("x".repeat(512)).size(512)).file("f", "1"),
        )
        .malformed(Malformed::Checksum)
        .without_devices(),
        case("a device with set-uid", tar().char_dev("c", 1, 5).with(|e| _ = e.mode(0o4666)))
            .tree("c:1,5")
            .fact("c", "mode", "4666")
            .without_devices(),
        // Nothing that was made is then opened (CVE-2024-9676 opened FIFOs).
        case("a FIFO, then a file over it", tar().fifo("p").file("p", "1")).tree("p=1"),
        case("a FIFO, then a directory over it, then a file", tar().fifo("p").dir("p").file("p/f", "1"))
            .tree("p/ p/f=1"),
        case("a FIFO, then a file through it", tar().fifo("p").file("p/../f", "1")).tree("f=1 p|"),
        case("a FIFO, then a whiteout below it", tar().fifo("p").file("p/.wh.x", "")).layer().tree("p|"),
        case("a FIFO with a body", tar().fifo("p").with(|e| _ = e.body("x".repeat(512)).size(512)).file("f", "1"))
            .malformed(Malformed::Checksum),
        case("a FIFO with user xattrs", tar().fifo("p").with(|e| _ = e.xattr("user.a", "1"))).tree("p|"),
        case("a device, then a file over it", tar().char_dev("c", 1, 5).file("c", "1")).tree("c=1").without_devices(),
        case("a device, then a file through a hardlink to it", {
            tar().char_dev("c", 1, 5).hardlink("l", "c").file("l", "evil")
        })
        .tree("c:1,5 l=evil")
        .without_devices(),
        // What somebody else has put there.
        case("on a FIFO (CVE-2024-9676)", tar().file("p", "1")).on(|dest, _| fifo(&dest.join("p"))).tree("p=1"),
        case("on a FIFO, a directory", tar().dir("p").file("p/f", "1"))
            .on(|dest, _| fifo(&dest.join("p")))
            .tree("p/ p/f=1"),
        case("on a FIFO, a FIFO", tar().fifo("p")).on(|dest, _| fifo(&dest.join("p"))).tree("p|"),
        case("on a FIFO, a hardlink", tar().file("f", "1").hardlink("p", "f"))
            .on(|dest, _| fifo(&dest.join("p")))
            .tree("f=1 p==f"),
        case("a FIFO as a parent that is there", tar().file("p/f", "1"))
            .on(|dest, _| fifo(&dest.join("p")))
            .fails(Errno::NOTDIR),
        case("on a device", tar().file("c", "1")).on(|dest, setting| device(&dest.join("c"), setting)).tree("c=1"),
        case("on a device, a symlink", tar().symlink("c", "x"))
            .on(|dest, setting| device(&dest.join("c"), setting))
            .tree("c->x"),
        case("on a device, a whiteout", tar().whiteout("c"))
            .layer()
            .on(|dest, setting| device(&dest.join("c"), setting))
            .tree(""),
        case("on a socket", tar().file("s", "1")).on(|dest, _| socket(&dest.join("s"))).tree("s=1"),
        case("on a socket, a directory", tar().dir("s")).on(|dest, _| socket(&dest.join("s"))).tree("s/"),
        case("a directory full of FIFOs and sockets is removed", tar().whiteout("d"))
            .layer()
            .on(|dest, _| {
                std::fs::create_dir(dest.join("d")).expect("directory");
                for i in 0..20 {
                    fifo(&dest.join(format!("d/p{i}")));
                    socket(&dest.join(format!("d/s{i}")));
                }
            })
            .tree(""),
        case("metadata on a FIFO that is there", tar().fifo("p").with(|e| _ = e.mode(0o1600).mtime(1)))
            .on(|dest, _| fifo(&dest.join("p")))
            .fact("p", "mode", "1600")
            .tree("p|"),
        case("devices that are refused by policy, then more", tar().char_dev("c", -1, 0).file("f", "1"))
            .refused(Refusal::DeviceNumber),
    ]
}
