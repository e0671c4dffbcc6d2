#!/usr/bin/env python3
"""What comes out on each file system, thing by thing: `filesystems.py PROGRAM`, as root, in a machine of its own.

Makes the file systems, applies one small archive for each thing and looks at what is there. Prints a line `ROW` for each
file system (`yes`: there as the archive has it; `told`: done, and an event says what is not so; `refused`: an error,
nothing of it there; `WRONG`: not there, and nobody said so; else what `KNOWN` calls that) and a line `SAID` for each sentence that the program said.
Exit status 1 if anything is WRONG.
"""

import collections
import io
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tarfile

PROGRAM = sys.argv[1]
WORK = os.environ.get("TMPDIR", "/scratch") + "/filesystems"
MIB = 1 << 20
said = collections.defaultdict(list)


def sh(command):
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise OSError((done.stdout.strip().splitlines() or [f"exit {done.returncode}"])[-1])


class Archive:
    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8")

    def add(self, name, kind=tarfile.REGTYPE, content=b"", mode=0o644, mtime=1, **more):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime, entry.size = kind, mode, mtime, len(content)
        for key, value in more.items():
            setattr(entry, key, value)
        self.tar.addfile(entry, io.BytesIO(content))
        return self

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def attribute(name, value):
    return {"pax_headers": {f"SCHILY.xattr.{name}": value.decode("latin-1") if isinstance(value, bytes) else value}}


def lstat(root, name="f"):
    return os.lstat(f"{root}/{name}")


def is_whiteout(path):
    """As overlayfs knows them: a device 0:0, or since Linux 6.7 an attribute."""
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0 or b"y" == os.getxattr(path, "trusted.overlay.whiteout")


# What these file systems do to an archive without any call that says so.
KNOWN = {
    ("vfat", "ns"): "2 s", ("exfat", "ns"): "10 ms",
    ("vfat", "case"): "one file", ("exfat", "case"): "one file",
}  # fmt: skip

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)

# Each thing: its name, the archive, what must be so, and options.
THINGS = [
    ("content", Archive().add("d", tarfile.DIRTYPE, mode=0o755).add("d/f", content=b"x" * 300000),
     lambda r: open(f"{r}/d/f", "rb").read() == b"x" * 300000, ["--no-same-owner"]),
    ("owner", Archive().add("f", uid=7, gid=8), lambda r: (lstat(r).st_uid, lstat(r).st_gid) == (7, 8), []),
    ("mode", Archive().add("f", mode=0o4751), lambda r: stat.S_IMODE(lstat(r).st_mode) == 0o4751, []),
    ("ns", Archive().add("f", pax_headers={"mtime": "1000000000.123456789"}),
     lambda r: lstat(r).st_mtime_ns == 1000000000123456789, []),
    ("symlink", Archive().add("l", tarfile.SYMTYPE, linkname="x"), lambda r: os.readlink(f"{r}/l") == "x", []),
    ("hardlink", Archive().add("f", content=b"1").add("h", tarfile.LNKTYPE, linkname="f"),
     lambda r: lstat(r).st_ino == lstat(r, "h").st_ino and lstat(r).st_nlink == 2, []),
    ("FIFO", Archive().add("p", tarfile.FIFOTYPE, mode=0o1622), lambda r: lstat(r, "p").st_mode == 0o11622, []),
    ("device", Archive().add("c", tarfile.CHRTYPE, devmajor=1, devminor=3),
     lambda r: lstat(r, "c").st_rdev == os.makedev(1, 3), []),
    ("user.*", Archive().add("f", **attribute("user.a", "1")), lambda r: os.getxattr(f"{r}/f", "user.a") == b"1", []),
    ("trusted.*", Archive().add("f", **attribute("trusted.a", "1")),
     lambda r: os.getxattr(f"{r}/f", "trusted.a") == b"1", ["--trusted-xattrs", "allow"]),
    ("capability", Archive().add("f", **attribute("security.capability", CAPABILITY)),
     lambda r: os.getxattr(f"{r}/f", "security.capability") == CAPABILITY, []),
    ("ACL", Archive().add("f", pax_headers={"SCHILY.acl.access": "user::rw-,user:7:r--,group::r--,mask::r--,other::---"}),
     lambda r: len(os.getxattr(f"{r}/f", "system.posix_acl_access")) == 44, []),
    ("sparse", Archive().add("f", content=b"\0" * (8 * MIB)), lambda r: lstat(r).st_size == 8 * MIB, []),
    ("255 bytes", Archive().add("n" * 255), lambda r: os.listdir(r) == ["n" * 255], []),
    ("bytes", Archive().add("caf\udce9", pax_headers={}), lambda r: b"caf\xe9" in os.listdir(os.fsencode(r)), []),
    ("case", Archive().add("a", content=b"1").add("A", content=b"2"),
     lambda r: [open(f"{r}/{n}").read() for n in "aA"] == ["1", "2"], []),
    ("--layer", Archive().add("d/.wh.gone"), lambda r: os.listdir(f"{r}/d") == ["kept"], ["--layer"]),
    ("--overlay", Archive().add("d/.wh.gone").add("o/.wh..wh..opq"),
     lambda r: is_whiteout(f"{r}/d/gone") and os.getxattr(f"{r}/o", "trusted.overlay.opaque") == b"y", ["--overlay"]),
    ("--atomic", Archive().add("f", content=b"1"), lambda r: os.listdir(r) == ["f"], ["--atomic"]),
]  # fmt: skip


def short(line):
    return re.sub(r"n{20,}", "nnn…", line).removeprefix("untar-in-root: ")


def try_one(where, place, name, archive, is_there, options):
    root = f"{place}/{THINGS_INDEX[name]}"
    if name != "--atomic":
        os.mkdir(root)
    if name == "--layer":
        os.mkdir(f"{root}/d")
        for file in ("gone", "kept"):
            open(f"{root}/d/{file}", "w").close()
    done = subprocess.run(
        [PROGRAM, "--json", *options, root], input=archive, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120
    )
    words = [short(line) for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    report = json.loads(done.stdout.decode().splitlines()[-1])
    if done.returncode:
        said[" ".join(line for line in words if "warning: " not in line and "note: " not in line)].append(f"{where}, {name}")
        return "refused"
    try:
        right = is_there(root)
    except OSError:
        right = False
    if report["report"]["event_count"]:
        for line in words:
            said[line].append(f"{where}, {name}")
        return "told"
    return "yes" if right else KNOWN.get((where, name), "WRONG")


def pack_again(where, place):
    """What was applied, packed and listed."""
    done = subprocess.run([PROGRAM, "pack", f"{place}/0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    for line in done.stderr.decode(errors="replace").splitlines():
        said[short(line)].append(f"{where}, pack")
    if done.returncode:
        return "refused"
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        names = [entry.name for entry in tar]
        right = names[-2:] == ["d", "d/f"] and tar.extractfile("d/f").read() == b"x" * 300000
    return "told" if done.stderr else "yes" if right else "WRONG"


THINGS_INDEX = {thing[0]: str(number) for number, thing in enumerate(THINGS)}


def row(where, place):
    cells = []
    for name, archive, is_there, options in THINGS:
        try:
            cells.append(try_one(where, place, name, ARCHIVES[name], is_there, options))
        except subprocess.TimeoutExpired:
            cells.append("WRONG: stands still")
    cells.append(pack_again(where, place))
    print("ROW " + " | ".join([where, *cells]), flush=True)
    return all(not cell.startswith("WRONG") for cell in cells)


ARCHIVES = {name: archive.bytes() for name, archive, *_ in THINGS}


def on_disk(kind, make):
    def mount(place):
        image = f"{WORK}/{kind}.image"
        sh(f"truncate -s 512M {image} && {make} {image} > /dev/null && modprobe {kind} && modprobe loop")
        sh(f"mount -t {kind} $(losetup --find --show {image}) {place}")

    return mount


def overlay(place, on):
    if not os.path.ismount(on):
        raise OSError(f"there is no {os.path.basename(on)}")
    sh(f"mkdir -p {on}/lower {on}/upper {on}/work && mount -t overlay overlay -o "
       f"lowerdir={on}/lower,upperdir={on}/upper,workdir={on}/work {place}")  # fmt: skip


def nfs(place, version):
    sh(f"""mkdir -p {WORK}/exported /proc/fs/nfsd /var/lib/nfs/rpc_pipefs /run/rpcbind
        [ -e /proc/fs/nfsd/threads ] || {{ modprobe nfsd && modprobe nfsv4 && modprobe nfsv3 && mount -t nfsd nfsd /proc/fs/nfsd && rpcbind -w && rpc.statd && rpc.nfsd 2; }}
        exportfs -o rw,no_root_squash,no_subtree_check,fsid=1 127.0.0.1:{WORK}/exported
        pidof rpc.mountd > /dev/null || rpc.mountd
        mount -t nfs -o vers={version},nolock 127.0.0.1:{WORK}/exported {place} && mkdir {place}/{version} && mount --bind {place}/{version} {place}""")


def fuse(place):
    sh(f"modprobe fuse; mkdir -p {WORK}/fuse/{{lower,upper,work}} && fuse-overlayfs -o lowerdir={WORK}/fuse/lower,"
       f"upperdir={WORK}/fuse/upper,workdir={WORK}/fuse/work {place}")  # fmt: skip


FILE_SYSTEMS = [
    ("ext4", on_disk("ext4", "mke2fs -q -t ext4")),
    ("xfs", on_disk("xfs", "mkfs.xfs -q")),
    ("btrfs", on_disk("btrfs", "mkfs.btrfs -q")),
    ("f2fs", on_disk("f2fs", "mkfs.f2fs -q")),
    ("tmpfs", lambda place: sh(f"mount -t tmpfs tmpfs {place}")),
    ("vfat", on_disk("vfat", "mkfs.vfat")),
    ("exfat", on_disk("exfat", "mkfs.exfat")),
    *[(f"overlay on {on}", lambda place, on=on: overlay(place, f"{WORK}/{on}")) for on in ["ext4", "xfs", "btrfs", "f2fs", "tmpfs"]],
    ("NFS 4.2 of ext4", lambda place: nfs(place, "4.2")),
    ("NFS 3 of ext4", lambda place: nfs(place, "3")),
    ("FUSE: fuse-overlayfs", fuse),
]  # fmt: skip


def main():
    os.makedirs(WORK)
    wanted = sys.argv[2:] or [name for name, _ in FILE_SYSTEMS]
    right = True
    print("HEAD " + " | ".join(["on", *[thing[0] for thing in THINGS], "pack"]))
    for name, mount in FILE_SYSTEMS:
        if name not in wanted:
            continue
        place = f"{WORK}/{name.replace(' ', '-')}"
        os.mkdir(place)
        try:
            mount(place)
        except OSError as why:
            print(f"SKIPPED {name}: {why}", flush=True)
            continue
        right &= row(name, place)
    for line, where in said.items():
        print(f"SAID {'; '.join(dict.fromkeys(where))}: {line}")
    sys.exit(0 if right else 1)


main()
