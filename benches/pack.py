#!/usr/bin/env python3
"""Measures packing beside every tool that is installed, and the floors, in one go: `just bench-pack`.

    benches/pack.py [--work DIR] [--rounds N] [--case TREE:COMPRESSION:FS ...] [--sink file|pipe] [--out FILE]

Runs as root on Linux. Unpacks the archives `root` and `small` of compare.py (made in DIR, kept for the next time) on tmpfs and on
ext4 in a loop file on tmpfs, and packs these trees, into a file on tmpfs or a pipe that `cat` empties. Rounds are
interleaved, the first is a warm-up and not counted, medians are told. Only ratios within one run mean anything.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess

import compare

TREES = ("root", "small")
COMPRESSIONS = ("plain", "gzip", "zstd")
OURS, DIGESTED = "untar-in-root", "untar-in-root, digests"
NAMES = ["--numeric-owner", "--sort=name"]
PAX = ["--format=pax", "--pax-option=delete=atime,delete=ctime"]


def main():
    arguments = parse()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    program, floors = build(arguments)
    compare.make_archives(work, TREES)
    with compare.file_systems(work) as places, open(arguments.out, "w") as out:
        for tree, compression, place in cases(arguments.case):
            source = unpacked(program, work, tree, places[place])
            row = {"tree": tree, "compression": compression, "fs": place, "sink": arguments.sink}
            tools = commands(program, source, compression)
            least = [floors, "--pack", source, places["tmpfs"] / "floor"] if floors and compression == "plain" else None
            row["tools"], row["floors"] = measured(tools, places["tmpfs"] / "archive", arguments, least)
            if compression == "plain":
                row["calls"] = calls(program, source, places["tmpfs"] / "strace")
            print(json.dumps(row), file=out, flush=True)
            print(line(row), flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=compare.REPO / "target/bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", action="append", help="tree:compression:fs, each may be *")
    parser.add_argument("--sink", choices=("file", "pipe"), default="file")
    parser.add_argument("--program", type=pathlib.Path, help="one that is built already, and no floors")
    parser.add_argument("--out", type=pathlib.Path, default=compare.REPO / "target/bench-pack.jsonl")
    return parser.parse_args()


def build(arguments):
    return (arguments.program.resolve(), None) if arguments.program else compare.build()


def cases(wanted):
    every = [(t, c, f) for f in compare.FILE_SYSTEMS for t in TREES for c in COMPRESSIONS]
    fits = lambda case, want: all(w in ("*", part) for part, w in zip(case, want.split(":")))
    return [case for case in every if not wanted or any(fits(case, want) for want in wanted)]


def unpacked(program, work, tree, place):
    """The tree on this file system, unpacked once; another that is there goes."""
    source = place / f"tree-{tree}"
    if not source.exists():
        for other in place.glob("tree-*"):
            shutil.rmtree(other)
        source.mkdir()
        subprocess.run([program, "--progress=never", source, work / f"{tree}.tar"], check=True)
    return source


def commands(program, source, compression):
    """What packs `source` to standard output, by name. Ours is first."""
    ours = {"plain": [], "gzip": ["--gzip=6"], "zstd": ["--zstd=3"]}[compression]
    pack = [program, "pack", "--progress=never", *ours]
    tools = {OURS: [*pack, source], DIGESTED: [*pack, "--json=/dev/null", source]}
    tar = ["tar", *NAMES, "-C", source]
    if compression == "plain":
        tools["GNU tar"] = [*tar, *PAX, "-cf", "-", "."]
        tools["GNU tar, attributes"] = [*tar, *PAX, "--xattrs", "--acls", "-cf", "-", "."]
        bsdtar = ["bsdtar", "--format=pax", "-C", source, "-cf", "-", "."]
        tools |= {"bsdtar": bsdtar} if shutil.which("bsdtar") else {}
        return tools
    filters = {"gzip": ["gzip -6", "pigz -6"], "zstd": ["zstd -3", "zstd -3 -T0"]}[compression]
    for name in filters:
        if shutil.which(name.split()[0]):
            tools[f"GNU tar, {name}"] = [*tar, *PAX, "-I", name, "-cf", "-", "."]
    return tools


def measured(tools, archive, arguments, floors):
    taken, least = {name: [] for name in tools}, []
    for counted in range(-1, arguments.rounds):
        for name, command in tools.items():
            result = once(command, archive, arguments.sink)
            if counted >= 0:
                taken[name].append(result)
        if floors and counted >= 0:
            least.append(json.loads(compare.run_text(floors)))
    middle = lambda results, key: round(statistics.median(result[key] for result in results), 5)
    return (
        {name: {key: middle(results, key) for key in ("wall", "cpu", "peak_mib")} for name, results in taken.items()},
        {key: middle(least, key) for key in least[0]} if least else None,
    )


def once(command, archive, sink):
    """Seconds and MiB of one run."""
    archive.unlink(missing_ok=True)
    if sink == "file":
        with open(archive, "wb") as out:
            return compare.timed(command, out)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat:
        result = compare.timed(command, cat.stdin)
        cat.stdin.close()
    return result


def calls(program, source, summary):
    """System calls of the whole run, parent included, for each entry."""
    if not shutil.which("strace"):
        return None
    command = ["strace", "-f", "-c", "-o", summary, program, "pack", "--progress=never", source]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    total = int(summary.read_text().splitlines()[-1].split()[3])
    entries = len(subprocess.run(["find", source], check=True, stdout=subprocess.PIPE).stdout.splitlines())
    return {"total": total, "entries": entries, "each": round(total / entries, 2)}


def line(row):
    tools = row["tools"]
    ours = tools[OURS]
    parts = [f"{row['tree']:5} {row['compression']:5} {row['fs']:5} {row['sink']:4}"]
    for name, figures in tools.items():
        wall, cpu = ours["wall"] / figures["wall"], ours["cpu"] / figures["cpu"]
        parts.append(f"{name} {figures['wall']:.4f} s, cpu {figures['cpu']:.3f} (ours {wall:.2f}, cpu {cpu:.2f}; {figures['peak_mib']:.0f} MiB)")
    if row["floors"]:
        parts.append(f"floors {row['floors']}")
    if row.get("calls"):
        parts.append(f"{row['calls']['each']} calls an entry")
    return " | ".join(parts)


if __name__ == "__main__":
    main()
