#!/usr/bin/env python3
"""Writes helper/order.ld: the functions that the run of a small archive calls, the helper's first.

    benches/order.py PROGRAM ARCHIVE...  # a static program with its symbols, and small archives: plain, gzip, zstd

Each archive is unpacked by the program, one instruction at a time (touched.c); hashes are left out of the names, so
that the list outlives the compiler. A name that is no longer there is no error, one that is missing costs a page.
"""
import bisect
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HEAD = """\
/* Written by benches/order.py; used by build.rs. What the run of a small archive calls lies side by side: each 64 KiB
   of the program that are looked at are a page fault and a score of mapped pages (docs/performance.md). */
SECTIONS
{
  .text.small_run :
  {
    *crt1.o(.text)
    *:__set_thread_area.lo(.text)
    *:memcpy.lo(.text)
    *:memmove.lo(.text)
    *:memset.lo(.text)
"""
TAIL = """\
  }
}
INSERT BEFORE .text;
"""


def symbols(program):
    lines = subprocess.run(["nm", "-n", program], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {}
    for address, kind, name in (line.split() for line in lines if len(line.split()) == 3):
        if kind.lower() in "tw":
            found.setdefault(int(address, 16), []).append(name)
    return found


def touched(tool, program, archive):
    with tempfile.TemporaryDirectory() as root:
        command = [tool, program, "--json", root, archive]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def pattern(name):
    name = re.sub(r"17h[0-9a-f]{16}E$", "17h*", name)  # legacy mangling
    name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)  # v0
    return name.replace("$", "?")


def main(program, archives):
    found = symbols(program)
    starts = sorted(found)
    order = {"helper": {}, "caller": {}}
    with tempfile.TemporaryDirectory() as directory:
        tool = f"{directory}/touched"
        subprocess.run(["cc", "-O2", "-o", tool, HERE / "touched.c"], check=True)
        for line in (line for archive in archives for line in touched(tool, program, archive)):
            who, offset = line.split()
            start = starts[bisect.bisect(starts, int(offset, 16)) - 1]
            order[who].update((pattern(name), None) for name in found[start])
    names = list(order["helper"] | order["caller"])
    text = HEAD + "".join(f"    *(.text.{name} .text.unlikely.{name})\n" for name in names) + TAIL
    (HERE.parent / "helper" / "order.ld").write_text(text)
    print(len(names), "functions")


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])
