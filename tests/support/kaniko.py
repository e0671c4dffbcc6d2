#!/usr/bin/env python3
"""Layers and images as kaniko writes them, which cannot be had here: after its sources (pkg/snapshot, pkg/util/tar_util.go).

kaniko.py scan TREE STATE: what is in TREE now, noted in STATE.
kaniko.py layer TREE STATE LAYER: what has changed since, as kaniko's snapshot of the whole file system; STATE is then of now.
kaniko.py image ARCHIVE TAG LAYER...: a docker archive, as `--tar-path` writes it.

Its habits: whiteouts come first, in no order, of mode 0 and time 0, and only of names whose directory is there; then what has
changed, sorted by path, each with all its parents and `/` itself before it; a hardlink has its target's absolute name; of
attributes only file capabilities; no names of users; whole seconds.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import stat
import sys
import tarfile

CAPABILITY = "security.capability"


def capability(path):
    try:
        return os.getxattr(path, CAPABILITY, follow_symlinks=False)
    except OSError:
        return None


def known(path):
    """What a change is told by."""
    there = os.lstat(path)
    content = None
    if stat.S_ISREG(there.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
    elif stat.S_ISLNK(there.st_mode):
        content = os.readlink(path)
    return (there.st_mode, there.st_uid, there.st_gid, there.st_mtime_ns, there.st_rdev, content, capability(path))


def scan(tree):
    """By name, absolute as if the tree were the root."""
    found = {"/": known(tree)}
    for above, directories, files in os.walk(tree):
        for name in directories + files:
            path = os.path.join(above, name)
            found["/" + os.path.relpath(path, tree)] = known(path)
    return found


def with_parents(paths):
    every = set()
    for path in paths:
        while path not in every:
            every.add(path)
            path = os.path.dirname(path)
    return sorted(every, key=os.fsencode)


class Layer:
    def __init__(self, tree, path):
        self.tree = tree
        self.links = {}
        self.file = gzip.GzipFile(path, "wb", compresslevel=1, mtime=0)
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)

    def whiteout(self, path):
        above, name = os.path.split(path)
        entry = tarfile.TarInfo(os.path.join(above, ".wh." + name).lstrip("/"))
        entry.mode = 0
        self.tar.addfile(entry)

    def add(self, path):
        real = os.path.join(self.tree, path.lstrip("/"))
        there = os.lstat(real)
        if stat.S_ISSOCK(there.st_mode):
            return
        entry = tarfile.TarInfo(path.lstrip("/") or "/")
        entry.mode, entry.uid, entry.gid = stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid
        entry.mtime = (there.st_mtime_ns + 500_000_000) // 1_000_000_000
        if value := capability(real):
            entry.pax_headers["SCHILY.xattr." + CAPABILITY] = value.decode("utf-8", "surrogateescape")
        self.shape(entry, path, real, there)

    def shape(self, entry, path, real, there):
        first = self.links.setdefault(there.st_ino, path)
        if first != path and there.st_nlink > 1 and not stat.S_ISDIR(there.st_mode):
            entry.type, entry.linkname = tarfile.LNKTYPE, first
        elif stat.S_ISREG(there.st_mode):
            entry.size = there.st_size
            with open(real, "rb") as file:
                self.tar.addfile(entry, file)
            return
        elif stat.S_ISLNK(there.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(real)
        elif stat.S_ISDIR(there.st_mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISFIFO(there.st_mode):
            entry.type = tarfile.FIFOTYPE
        else:
            entry.type = tarfile.CHRTYPE if stat.S_ISCHR(there.st_mode) else tarfile.BLKTYPE
            entry.devmajor, entry.devminor = os.major(there.st_rdev), os.minor(there.st_rdev)
        self.tar.addfile(entry)

    def close(self):
        self.tar.close()
        self.file.close()


def layer(tree, state, path):
    with open(state, "rb") as file:
        before = pickle.load(file)
    now = scan(tree)
    made = Layer(tree, path)
    gone = [name for name in before if name not in now and os.path.dirname(name) in now]
    # As a map of Go's is walked: in no order, here the same each time.
    for name in sorted(gone, key=lambda name: hashlib.md5(os.fsencode(name)).digest()):
        made.whiteout(name)
    for name in with_parents(name for name in now if now[name] != before.get(name)):
        made.add(name)
    made.close()
    note(now, state)


def note(found, state):
    with open(state, "wb") as file:
        pickle.dump(found, file)


def image(archive, tag, layers):
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    diff_ids, names = [], []
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:

        def put(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

        for path in layers:
            with open(path, "rb") as file:
                packed = file.read()
            diff_ids.append("sha256:" + hashlib.sha256(gzip.decompress(packed)).hexdigest())
            names.append(hashlib.sha256(packed).hexdigest() + ".tar.gz")
            put(names[-1], packed)
        config = {"architecture": machine, "os": "linux", "config": {}, "created": "2025-01-02T03:04:05.678901234Z"}
        config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        config = json.dumps(config).encode()
        config_name = "sha256:" + hashlib.sha256(config).hexdigest()
        put(config_name, config)
        put("manifest.json", json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode())


def main(act, *words):
    match act:
        case "scan":
            note(scan(words[0]), words[1])
        case "layer":
            layer(*words)
        case "image":
            image(words[0], words[1], words[2:])
        case _:
            sys.exit(__doc__)


main(*sys.argv[1:])
