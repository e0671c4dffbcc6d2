#!/usr/bin/env python3
"""What this kernel has of what the helper uses, and what is in force then: `calls.py PROGRAM DIRECTORY`, as root.

Prints one line, `ROW` and the cells of the table in docs/platforms.md. A call is there if it does not answer ENOSYS;
these numbers are the same on every architecture.
"""

import ctypes
import errno
import io
import json
import os
import platform
import subprocess
import sys
import tarfile

CALLS = {
    "open_tree": 428, "openat2": 437, "mount_setattr": 442, "fchmodat2": 452, "statmount": 457, "mseal": 462,
    "listxattrat": 465,
}  # fmt: skip
libc = ctypes.CDLL(None, use_errno=True)


def is_there(number):
    ctypes.set_errno(0)
    libc.syscall(number, -1, None, -1, None, -1)
    return ctypes.get_errno() != errno.ENOSYS


def archive():
    """What older kernels cannot do by descriptor: mode bits of a FIFO, attributes of a link, times of both."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, more in [
            ("fifo", tarfile.FIFOTYPE, {}),
            ("link", tarfile.SYMTYPE, {"SCHILY.xattr.trusted.x": "1"}),
            ("file", tarfile.REGTYPE, {"SCHILY.xattr.user.x": "1"}),
        ]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime, entry.linkname = kind, 0o6622, 1, "x" if kind == tarfile.SYMTYPE else ""
            entry.pax_headers = more
            tar.addfile(entry)
    return out.getvalue()


def run(program, root, *options, prefix=()):
    os.mkdir(root)
    os.chmod(root, 0o777)
    command = [*prefix, program, "--json", *options, root]
    done = subprocess.run(command, input=archive(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        return done.returncode, json.loads(done.stdout.decode().splitlines()[-1])["report"] or {}
    except (IndexError, KeyError, ValueError):
        return done.returncode, {}


def switch(answer):
    code, report = answer
    walls = report.get("confinement") or {}
    return walls.get("root", "?") if code == 0 else f"exit {code}"


def told(answer):
    """The events, each as `path: which (errno)`."""
    words = set()
    for event in answer[1].get("events") or []:
        (kind, more), = event["what"].items() if isinstance(event["what"], dict) else [(event["what"], {})]
        number = errno.errorcode.get(more.get("errno"), "") if isinstance(more, dict) else ""
        words.add(f"{(event.get('entry') or {}).get('path', '')}: {kind} {number}".strip())
    return "; ".join(sorted(words))


def main():
    program, scratch = sys.argv[1:]
    os.makedirs(scratch, exist_ok=True)
    as_root = run(program, f"{scratch}/root", "--trusted-xattrs", "allow")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    as_user = run(program, f"{scratch}/user", "--no-same-owner", prefix=nobody)
    beneath = run(program, f"{scratch}/beneath", "--isolation", "beneath", "--no-same-owner", prefix=nobody)
    walls = as_root[1].get("confinement") or {}
    cells = [platform.release(), platform.machine(), str(os.sysconf("SC_PAGESIZE") // 1024)]
    cells += ["yes" if is_there(number) else "–" for number in CALLS.values()]
    abis = [(answer[1].get("confinement") or {}).get("landlock_abi") or "–" for answer in (as_root, beneath)]
    cells += [f"{abis[0]} / {abis[1]}", "yes" if walls.get("seccomp") else "–"]
    cells += [switch(as_root), switch(as_user), switch(beneath), told(as_root) or "–"]
    print("ROW " + " | ".join(cells))


main()
