#!/usr/bin/env python3
"""Measures untar-in-root beside every tool that is installed, and the floors, in one go: `just bench`.

    benches/compare.py [--work DIR] [--rounds N] [--case A:C:F ...] [--out FILE] [--without TOOL ...] [--static]

Runs as root on Linux. Makes four archives from Debian and npm packages in DIR (kept for the next time), each plain, in
gzip and in zstd, and unpacks them on tmpfs and on ext4 in a loop file on tmpfs, since a disk of its own poisons such
figures. Rounds are interleaved, the first is a warm-up and not counted, medians are told; a tool that takes more than
twice our time in the warm-up is run in three rounds only, which its row says. A line of JSON for each
case goes to FILE, a table to standard output. Only ratios within one run mean anything.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
ARCHIVES = ("root", "small", "huge", "tiny")
COMPRESSIONS = {"plain": ".tar", "gzip": ".tar.gz", "zstd": ".tar.zst"}
FILE_SYSTEMS = ("tmpfs", "ext4")
STATIC = "x86_64-unknown-linux-musl"
NPM = "typescript webpack react react-dom eslint @babel/core @babel/preset-env jest lodash date-fns rxjs @mui/icons-material"
TAR = ["tar", "--format=pax", "--pax-option=delete=atime,delete=ctime", "--numeric-owner", "--sort=name"]


def main():
    arguments = parse()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    program, floors = build(STATIC if arguments.static else None)
    make_archives(work)
    layouts = make_layouts(work)
    rows = []
    with file_systems(work) as places, open(arguments.out, "w") as out:
        for archive, compression, place in cases(arguments.case):
            file = work / (archive + COMPRESSIONS[compression])
            tools = commands(program, file, compression, layouts.get((archive, compression)))
            tools = {name: command for name, command in tools.items() if name.split(",")[0] not in arguments.without}
            row = {"archive": archive, "compression": compression, "fs": place}
            # Three rounds of its own: the first finds memory that the machine has taken back from the guest.
            least = None if archive == "tiny" else [floors, file, places[place], "3"]
            row["tools"], row["floors"] = compare(tools, least, places[place], arguments.rounds, 40 if archive == "tiny" else 1)
            if place == "tmpfs" and compression == "plain":
                row["calls"] = calls(program, file, places[place])
            rows.append(row)
            print(json.dumps(row), file=out, flush=True)
            print(line(row), flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=REPO / "target/bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", action="append", help="archive:compression:fs, each may be *")
    parser.add_argument("--without", action="append", default=[], help="a tool to leave out, such as umoci")
    parser.add_argument("--static", action="store_true", help="measure the static helper, as packages ship it")
    parser.add_argument("--out", type=pathlib.Path, default=REPO / "target/bench.jsonl")
    return parser.parse_args()


def cases(wanted):
    every = [(a, c, f) for f in FILE_SYSTEMS for a in ARCHIVES for c in COMPRESSIONS]
    if not wanted:
        return every
    fits = lambda case, want: all(w in ("*", part) for part, w in zip(case, want.split(":")))
    return [case for case in every if any(fits(case, want) for want in wanted)]


def build(target=None):
    """The program, built for this machine or another target, and the floors."""
    build = ["cargo", "build", "--quiet", "--release", "-p", "untar-in-root-helper"]
    subprocess.run([*build, *(["--target", target] if target else [])], cwd=REPO, check=True)
    text = run_text(["cargo", "bench", "--no-run", "--message-format=json", "--bench", "floors"], cwd=REPO)
    built = [json.loads(row) for row in text.splitlines()]
    floors = next(b["executable"] for b in built if b.get("executable") and b["target"]["name"] == "floors")
    directory = json.loads(run_text(["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=REPO))["target_directory"]
    return os.path.join(directory, target or "", "release/untar-in-root"), floors


def run_text(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def make_archives(work, wanted=ARCHIVES):
    for name, make in (("root", make_root), ("small", make_small), ("huge", make_huge), ("tiny", make_tiny)):
        if name not in wanted:
            continue
        tar = work / f"{name}.tar"
        if not tar.exists():
            scratch = work / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            make(work, scratch, tar.with_suffix(".part"))
            tar.with_suffix(".part").rename(tar)
            shutil.rmtree(scratch)
        for command, ending in ((["gzip", "-6"], ".gz"), (["zstd", "-q", "-3"], ".zst")):
            if not pathlib.Path(f"{tar}{ending}").exists():
                subprocess.run([*command, "-kf", tar], check=True)


def make_root(_, scratch, tar):
    packages = "--include=python3,perl,git,gcc,vim,iputils-ping"
    root = scratch / "root"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=important", packages, "--format=directory", "bookworm", root], check=True)
    subprocess.run([*TAR, "--xattrs", "--acls", "-C", root, "-cf", tar, "."], check=True)


def make_small(_, scratch, tar):
    npm = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", scratch, *NPM.split()]
    subprocess.run(npm, check=True)
    subprocess.run([*TAR, "-C", scratch, "-cf", tar, "node_modules"], check=True)


def make_huge(work, scratch, tar):
    with open(work / "root.tar", "rb") as source:
        for number in range(3):
            (scratch / f"disk{number}.img").write_bytes(source.read(150_000_000))
    subprocess.run([*TAR, "-C", scratch, "-cf", tar, "."], check=True)


def make_tiny(_, scratch, tar):
    (scratch / "hello").write_text("hello\n")
    subprocess.run([*TAR, "-C", scratch, "-cf", tar, "hello"], check=True)


def make_layouts(work):
    """An OCI layout of one layer for the tools that take images."""
    layouts = {}
    for archive in ("root", "small"):
        for compression, suffix in (("plain", ""), ("gzip", "+gzip")):
            layout = work / f"layout-{archive}-{compression}"
            if not layout.exists():
                write_layout(layout, work / f"{archive}.tar", work / (archive + COMPRESSIONS[compression]), suffix)
            layouts[archive, compression] = layout
    return layouts


def write_layout(layout, tar, blob, suffix):
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    media = "application/vnd.oci.image."

    def put(document, kind):
        text = json.dumps(document)
        digest = subprocess.run(["sha256sum"], input=text, text=True, stdout=subprocess.PIPE, check=True).stdout[:64]
        (blobs / digest).write_text(text)
        return {"mediaType": media + kind, "digest": "sha256:" + digest, "size": len(text)}

    digest_of = lambda path: run_text(["sha256sum", path])[:64]
    digest = digest_of(blob)
    os.symlink(blob.resolve(), blobs / digest)
    layer = {"mediaType": f"{media}layer.v1.tar{suffix}", "digest": "sha256:" + digest, "size": blob.stat().st_size}
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + digest_of(tar)]}
    config = put({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}, "config.v1+json")
    manifest = put({"schemaVersion": 2, "mediaType": media + "manifest.v1+json", "config": config, "layers": [layer]},
                   "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))


def commands(program, file, compression, layout):
    """What unpacks `file` into an empty directory, by name; {} is the directory. Ours is first."""
    tools = {
        "untar-in-root": [program, "--progress=never", "{}", file],
        # The same with the digest that image tools need of every layer.
        "untar-in-root, diff ID": [program, "--progress=never", "--json", "{}", file],
    }
    tar = ["tar", "--numeric-owner", "-xp", "-C", "{}"]
    decompressors = {"plain": [None], "gzip": ["gzip", "pigz", "igzip"], "zstd": ["zstd"]}[compression]
    for decompressor in decompressors:
        if decompressor is None:
            tools["GNU tar"] = [*tar, "-f", file]
        elif shutil.which(decompressor):
            tools[f"GNU tar, {decompressor}"] = ["sh", "-c", f"{decompressor} -dc '{file}' | {' '.join(tar)} -f -"]
    if shutil.which("bsdtar"):
        tools["bsdtar"] = ["bsdtar", "--numeric-owner", "-xp", "-C", "{}", "-f", file]
    if layout and shutil.which("umoci"):
        tools["umoci"] = ["umoci", "unpack", "--image", f"{layout}:bench", "{}/bundle"]
    if layout and compression == "gzip" and shutil.which("buildah"):
        store = ["--storage-driver", "vfs", "--root", "{}/root", "--runroot", "{}/run"]
        policy = REPO / "benches/policy.json"
        tools["buildah"] = ["buildah", *store, "pull", "-q", "--signature-policy", policy, f"oci:{layout}:bench"]
    return tools


def compare(tools, floors, place, rounds, repeats):
    taken, least = {name: [] for name in tools}, []
    warm = {}
    for counted in range(-1, rounds):
        for name in list(taken):
            if counted >= 3 and warm[name] > 2 * warm[next(iter(tools))]:
                continue
            try:
                result = once(tools[name], place / "x", repeats)
            except subprocess.CalledProcessError as error:
                # Said, and left out: it cannot do this case.
                print(f"  {name} cannot: {error}", flush=True)
                del taken[name]
                continue
            if counted >= 0:
                taken[name].append(result)
            else:
                warm[name] = result["wall"]
        # In each round too: the machine may be slower by the next case.
        if floors and counted >= 0:
            least.append(json.loads(run_text(floors)))
    middle = lambda results, key: round(statistics.median(result[key] for result in results), 5)
    keys = ("wall", "cpu", "peak_mib")
    tools = {n: {"rounds": len(r), **{key: middle(r, key) for key in keys}} for n, r in taken.items()}
    return tools, {key: middle(least, key) for key in least[0]} if least else None


def once(command, directory, repeats):
    """Seconds and MiB of one run; of small archives the mean of several."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return timed([str(word).replace("{}", str(directory)) for word in command], subprocess.DEVNULL, repeats)


def timed(command, stdout, repeats=1):
    before, start = os.times(), time.perf_counter()
    for _ in range(repeats):
        child = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise subprocess.CalledProcessError(child.returncode, command)
    wall, after = (time.perf_counter() - start) / repeats, os.times()
    cpu = (after.children_user + after.children_system - before.children_user - before.children_system) / repeats
    return {"wall": wall, "cpu": cpu, "peak_mib": usage.ru_maxrss / 1024}


def calls(program, file, place):
    """System calls of the whole run, parent included, for each entry."""
    if not shutil.which("strace"):
        return None
    directory = place / "x"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    summary = place / "strace"
    subprocess.run(["strace", "-f", "-c", "-o", summary, program, "--progress=never", directory, file], check=True)
    total = int(summary.read_text().splitlines()[-1].split()[3])
    entries = len(run_text(["tar", "-tf", file], errors="replace").splitlines())
    return {"total": total, "entries": entries, "each": round(total / entries, 2)}


@contextlib.contextmanager
def file_systems(work):
    tmpfs, ext4 = work / "tmpfs", work / "ext4"
    with contextlib.ExitStack() as undo:
        mount(undo, tmpfs, ["-t", "tmpfs", "-o", "size=14G", "none"])
        image = tmpfs / "ext4.img"
        with open(image, "wb") as file:
            file.truncate(6 << 30)
        # Everything written once: nothing is initialised or discarded behind the run.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "500000", "-E", "lazy_itable_init=0,nodiscard", image], check=True)
        mount(undo, ext4, ["-o", "loop,nodiscard", image])
        yield {"tmpfs": tmpfs, "ext4": ext4}


def mount(undo, where, words):
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", *words, where], check=True)
    undo.callback(subprocess.run, ["umount", "-l", where], check=True)


def line(row):
    tools = row["tools"]
    ours = tools["untar-in-root"]["wall"]
    parts = [f"{row['archive']:5} {row['compression']:5} {row['fs']:5}"]
    for name, figures in tools.items():
        parts.append(f"{name} {figures['wall']:.4f} s (x{figures['wall'] / ours:.2f}, cpu {figures['cpu']:.3f}, {figures['peak_mib']:.0f} MiB)")
    if row["floors"]:
        floors = row["floors"]
        least = floors["decode"] + floors["hash"] + floors["create1"]
        digested = tools["untar-in-root, diff ID"]
        parts.append(f"F2 {floors['f2']:.3f} s: {digested['wall'] / floors['f2']:.2f}, CPU over floors {digested['cpu'] / least:.2f}")
    if row.get("calls"):
        parts.append(f"{row['calls']['each']} calls an entry")
    return " | ".join(parts)


if __name__ == "__main__":
    main()
