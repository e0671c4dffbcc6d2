#!/usr/bin/env python3
"""Layers one at a time, in parallel, and what other tools take for the same image: benches/images.py DIR:TAG [ROUNDS]

Runs as root on Linux, on a quiet machine. DIR is an OCI layout with layers in gzip; the tests leave one of seven layers in
target/debian-root/image/oci (tag gzip). Rounds are interleaved on a tmpfs, the first is a warm-up, medians are told.
"""

import contextlib
import statistics
import subprocess
import sys
import time

from compare import REPO, build, mount


def main():
    source, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    program, _ = build()
    image = [program, "image", "--progress=never", f"oci:{source}"]
    policy = REPO / "benches/policy.json"
    store = ["--storage-driver", "vfs", "--root", "{}/root", "--runroot", "{}/run"]
    ways = {
        "layers, -j 1": [*image, "--layers", "{}/x", "-j", "1"],
        "layers, as many as processors": [*image, "--layers", "{}/x"],
        "store": [*image, "--store", "{}/x"],
        "flatten": [*image, "{}/x"],
        "umoci unpack": ["umoci", "unpack", "--image", source, "{}/x"],
        "buildah pull (vfs)": ["buildah", *store, "pull", "-q", "--signature-policy", policy, f"oci:{source}"],
    }
    taken = {way: [] for way in ways}
    with contextlib.ExitStack() as undo:
        place = REPO / "target/bench/images"
        place.parent.mkdir(parents=True, exist_ok=True)
        mount(undo, place, ["-t", "tmpfs", "-o", "size=12G", "none"])
        for counted in range(-1, rounds):
            for way, command in ways.items():
                seconds = once(command, place / "r")
                if counted >= 0:
                    taken[way].append(seconds)
    first = statistics.median(taken["layers, as many as processors"])
    print("| way | s | times |\n|---|--:|--:|")
    for way, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"| {way} | {middle:.3f} | {middle / first:.2f} |")


def once(command, directory):
    subprocess.run(["rm", "-rf", directory], check=True)
    directory.mkdir()
    words = [str(word).replace("{}", str(directory)) for word in command]
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
