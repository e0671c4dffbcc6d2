#!/usr/bin/env python3
"""How the cost grows with the work, and what durability costs: benches/growth.py [--rounds N] [--work DIR]

Runs as root on Linux, on a quiet machine. Makes archives of one kind in growing sizes on a tmpfs, unpacks them there and
tells the median time and that of each entry; the rounds of the sizes of a kind are interleaved. Then one archive with
each durability on ext4 in a loop file, and with one processor and all. Only ratios within one run mean anything.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

from compare import REPO, build, file_systems

BLOCK = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=pathlib.Path, default=REPO / "target/bench")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    program, _ = build()
    with file_systems(arguments.work) as places:
        print("| kind | size | s | µs for each |\n|---|--:|--:|--:|")
        for kind, (make, sizes, before, options) in KINDS.items():
            growth(program, places["tmpfs"], kind, make, sizes, before, options, arguments.rounds)
        prices(program, places, arguments.rounds)


def growth(program, place, kind, make, sizes, before, options, rounds):
    archives = {}
    for size in sizes:
        archives[size] = place / f"{size}.tar"
        with open(archives[size], "wb") as out:
            for piece in make(size):
                out.write(piece)
            out.write(bytes(2 * BLOCK))
    taken = {size: [] for size in sizes}
    for counted in range(-1, rounds):
        for size in sizes:
            directory = fresh(place / "x")
            if before:
                run([program, "--progress=never", directory, write(place / "before.tar", before(size))])
            seconds = run([program, "--progress=never", *options, directory, archives[size]])
            if counted >= 0:
                taken[size].append(seconds)
    for size in sizes:
        middle = statistics.median(taken[size])
        print(f"| {kind} | {size:,} | {middle:.4f} | {middle / size * 1e6:.2f} |", flush=True)
        archives[size].unlink()
    fresh(place / "x")


def prices(program, places, rounds):
    archive = write(places["tmpfs"] / "price.tar", spread(20_000, b"x" * 2000))
    ways = {
        "durability none": [program],
        "durability file-system": [program, "--durability=file-system"],
        "durability per-file": [program, "--durability=per-file"],
        "one processor": ["taskset", "-c", "0", program],
        "8 writers": [program, "--writers=8"],
        "landlock-paths": [program, "--landlock-paths"],
        "isolation chroot": [program, "--isolation=chroot"],
        "no seccomp, no landlock": [program, "--seccomp=off", "--landlock=off"],
    }
    taken = {way: [] for way in ways}
    for counted in range(-1, rounds):
        for way, command in ways.items():
            os.sync()
            seconds = run([*command, "--progress=never", fresh(places["ext4"] / "x"), archive])
            if counted >= 0:
                taken[way].append(seconds)
    print("\n| 20,000 files of 2,000 bytes, ext4 | s | µs for each |\n|---|--:|--:|")
    for way, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"| {way} | {middle:.4f} | {middle / 20_000 * 1e6:.1f} |", flush=True)


def run(command):
    start = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True)
    return time.perf_counter() - start


def fresh(directory):
    # Not shutil's, which recurses: one kind is deep.
    subprocess.run(["rm", "-rf", directory], check=True)
    directory.mkdir()
    return directory


def write(path, pieces):
    with open(path, "wb") as out:
        out.writelines(pieces)
        out.write(bytes(2 * BLOCK))
    return path


def entry(name, kind=b"0", body=b"", link="", mode=0o644):
    head = bytearray(BLOCK)
    head[0:len(name)] = name.encode()
    head[100:156] = b"%07o\0%07o\0%07o\0%011o\0%011o\0        " % (mode, 0, 0, len(body), 1_700_000_000)
    head[156:157] = kind
    head[157:157 + len(link)] = link.encode()
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + body + bytes(-len(body) % BLOCK)


def long(name, kind=b"0", **more):
    """With GNU's long name in front."""
    return entry("././@LongLink", b"L", name.encode() + b"\0") + entry(name[:100], kind, **more)


def spread(size, body=b""):
    for number in range(size):
        if number % 100 == 0:
            yield entry(f"d{number // 100}/", b"5", mode=0o755)
        yield entry(f"d{number // 100}/f{number}", body=body)


def one_directory(size):
    yield entry("d/", b"5", mode=0o755)
    yield from (entry(f"d/f{number}") for number in range(size))


def deep(size):
    name = ""
    for _ in range(size):
        name += "d/"
        yield long(name, b"5", mode=0o755)


def hardlinks(size):
    yield entry("f", body=b"x")
    yield from (entry(f"l{number}", b"1", link="f") for number in range(size))


def whiteouts(size):
    for number in range(size):
        yield entry(f"d{number // 100}/.wh.f{number}")


def opaques(size):
    for number in range(0, size, 100):
        yield entry(f"d{number // 100}/.wh..wh..opq")
    yield from spread(size)


def huge(size):
    head = bytearray(entry("f"))
    head[124:136] = b"%011o\0" % (size << 20) if size < 8192 else b"\x80" + (size << 20).to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    yield bytes(head)
    piece = os.urandom(1 << 20)
    yield from (piece for _ in range(size))


def attributes(size):
    records = b"".join(record(f"SCHILY.xattr.user.a{number}", "v" * 20) for number in range(8))
    for number in range(size):
        yield entry(f"PaxHeaders/{number}", b"x", records) + entry(f"f{number}")


def record(key, value):
    rest = f" {key}={value}\n".encode()
    length = next(n for n in range(len(rest), len(rest) + 9) if n == len(rest) + len(str(n)))
    return str(length).encode() + rest


# name: archive, sizes, what is there before, options
KINDS = {
    "empty files, 100 a directory": (spread, (1_000, 10_000, 100_000, 1_000_000), None, []),
    "empty files, one directory": (one_directory, (1_000, 10_000, 100_000), None, []),
    "directories, each in the one before": (deep, (100, 1_000, 4_000), None, []),
    "hardlinks to one file": (hardlinks, (1_000, 10_000, 100_000), None, []),
    "whiteouts of files that are there": (whiteouts, (1_000, 10_000, 100_000), spread, ["--layer"]),
    "files over an opaque marker in each directory": (opaques, (1_000, 10_000, 100_000), spread, ["--layer"]),
    "files over the same files": (spread, (1_000, 10_000, 100_000), spread, []),
    "files with 8 attributes": (attributes, (1_000, 10_000, 50_000), None, []),
    "one file, MiB": (huge, (64, 512, 4_096), None, []),
}


if __name__ == "__main__":
    main()
