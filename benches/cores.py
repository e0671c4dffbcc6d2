#!/usr/bin/env python3
"""What more processors would bring: measures the stages of a run here, and simulates it on others. As root.

    benches/cores.py PROGRAM ARCHIVE...      measures each on one and on two processors, and compares the model with both
    benches/cores.py --stages D,H,R,L,W      only the model: seconds of decoding, digesting, reading, of writing under the lock
                                             of a directory, and of the rest of writing

The model: pieces of a chunk each go from the decoder to the digest and to the reader, and from there to the writers, through
queues as long as the program's; threads that are ready share the processors evenly. The caches, the switches and who spins for
a lock are not in it. A stage's seconds are the time on a processor of its thread, looked at every few milliseconds.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

CHUNK = 256 << 10
# As in src/helper/read/{stream,pool}.rs and src/helper/apply/writers.rs, in chunks.
QUEUE, POOL, WRITING = 24, 16, 16
PROCESSORS = (1, 2, 4, 8, 16)
MOST_WRITERS = 8
# How much of making a small file is under its directory's lock: openat(2) of four calls, on tmpfs (`--share` says another).
SHARE = 0.45


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("archives", nargs="*", type=pathlib.Path)
    parser.add_argument("--stages", help="seconds: D,H,R,L,W")
    parser.add_argument("--pieces", type=int, default=400)
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.stages:
        return tell("as given", [float(word) for word in arguments.stages.split(",")], arguments.pieces, {})
    for archive in arguments.archives:
        stages, walls, pieces = measure(arguments.program, archive, arguments.rounds, arguments.share)
        tell(archive.name, stages, pieces, walls)


def tell(name, stages, pieces, walls):
    decode, digest, read, locked, write = stages
    print(f"{name}: decode {decode:.3f} s, digest {digest:.3f}, read {read:.3f}, write {locked + write:.3f}, of which locked {locked:.3f}")
    alone = {cores: simulate([stages], cores, pieces) for cores in PROCESSORS}
    for cores, wall in walls.items():
        print(f"  {cores} processors: {wall:.3f} s measured, {alone[cores]:.3f} in the model ({alone[cores] / wall:.2f})")
    print("  | processors | as it is | decoders 2 | decoders 4 | decoders 8 | 7 such layers at once, each | the longest stage |")
    print("  |--:|--:|--:|--:|--:|--:|--|")
    for cores in PROCESSORS:
        several = [simulate([stages], cores, pieces, decoders) for decoders in (2, 4, 8)]
        layers = simulate([stages] * 7, cores, min(pieces, 120)) / 7
        cells = [f"{value:.3f}" for value in (alone[cores], *several, layers)]
        print(f"  | {cores} | " + " | ".join(cells) + f" | {longest(stages, cores, alone[cores])} |")


def longest(stages, cores, taken):
    """What a run waits for: the stage that is busy for most of it, or the processors."""
    decode, digest, read, locked, write = stages
    writers = min(cores, MOST_WRITERS)
    busy = {"decode": decode, "digest": digest, "read": read, "lock": locked, "writers": (locked + write) / writers}
    if sum(stages) / cores >= max(busy.values()):
        return f"processors {sum(stages) / cores / taken:.0%}"
    name = max(busy, key=busy.get)
    return f"{name} {busy[name] / taken:.0%}"


class Pipe:
    """One run: how far each stage is, in pieces."""

    def __init__(self, stages, pieces, decoders, writers):
        self.cost = [seconds / pieces for seconds in stages]
        self.pieces = pieces
        # Pieces begun and done by each stage.
        self.decoded = self.digested = self.read = self.written = 0
        self.begun = {"decode": 0, "digest": 0, "read": 0, "write": 0}
        self.ready = set()
        # A pipe with several decoders has room for what each has in hand, and puts it in order.
        self.room = POOL + 4 * (decoders - 1)
        self.held = False
        self.threads = [["decode", None, 0.0] for _ in range(decoders)]
        self.threads += [["digest", None, 0.0], ["read", None, 0.0]]
        self.threads += [["write", None, 0.0] for _ in range(writers)]

    def over(self):
        return self.written == self.pieces and self.digested == self.pieces

    def begin(self, thread):
        """Gives an idle thread what it can do; true if it has something."""
        stage, _, _ = thread
        begun, cost = self.begun, self.cost
        decode, digest, read, locked, write = cost
        if begun[stage] == self.pieces:
            return False
        kept = begun["decode"] - min(self.digested, self.written)
        behind = self.decoded - min(self.digested, self.read)
        fits = {
            "decode": kept < self.room and behind < QUEUE,
            "digest": begun["digest"] < self.decoded,
            "read": begun["read"] < self.decoded and self.read - self.written < WRITING,
            "write": begun["write"] < self.read,
        }[stage]
        if not fits:
            return False
        first = {"decode": decode, "digest": digest, "read": read, "write": locked}[stage]
        thread[1:] = [begun[stage], first]
        begun[stage] += 1
        if stage == "write":
            thread[0] = "lock"
        return True

    def end(self, thread):
        stage, piece, _ = thread
        thread[1] = None
        if stage == "lock":
            # What comes behind the lock.
            self.held = False
            thread[:] = ["rest", piece, self.cost[4]]
        elif stage == "rest":
            thread[0] = "write"
            self.written += 1
        elif stage == "decode":
            # In their order, whoever is done first.
            self.ready.add(piece)
            while self.decoded in self.ready:
                self.ready.remove(self.decoded)
                self.decoded += 1
        elif stage == "digest":
            self.digested += 1
        else:
            self.read += 1

    def running(self):
        """The threads that would run if there were processors for all."""
        for thread in self.threads:
            if thread[1] is None:
                self.begin(thread)
        waiting = [thread for thread in self.threads if thread[0] == "lock" and thread[1] is not None]
        waiting.sort(key=lambda thread: thread[1])
        return [thread for thread in self.threads if thread[1] is not None and (thread[0] != "lock" or thread is waiting[0])]


def simulate(runs, cores, pieces, decoders=1):
    """Seconds until all runs are over, which share the processors."""
    pipes = [Pipe(stages, pieces, decoders, min(cores, MOST_WRITERS)) for stages in runs]
    now = 0.0
    while not all(pipe.over() for pipe in pipes):
        running = [(pipe, thread) for pipe in pipes for thread in pipe.running()]
        rate = min(1.0, cores / len(running))
        step = min(thread[2] for _, thread in running) / rate
        now += step
        for _, thread in running:
            thread[2] -= step * rate
        for pipe, thread in running:
            if thread[2] <= 1e-12:
                pipe.end(thread)
    return now


def measure(program, archive, rounds, share):
    """Medians of the stages, of the wall time by processors, and how many pieces there are."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        sys.exit("needs two processors")
    walls, alone, shared = {1: [], 2: []}, [], []
    run = lambda processors, look, *options: once(
        [program, "--progress=never", "--json", *options, ROOT, archive], processors, look)
    for counted in range(-1, rounds):
        for cores in walls:
            walls[cores].append(run(mine[:cores], None)[0])
        # The first thread reads and writes, the next two decode and digest; then writers of its own take the writing off it.
        alone.append(run(mine[:2], look, "--writers=1")[1])
        shared.append(run(mine[:2], look, "--writers=2")[1])
    middle = lambda values: statistics.median(list(values)[1:])
    both, decode, digest = (middle(column) for column in zip(*(found[:3] for found in alone)))
    read = middle(found[0] for found in shared)
    entries = subprocess.run([program, "--list", archive], stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
    write = max(0.0, both - read)
    stages = [decode, digest, read, write * share, write * (1 - share)]
    return stages, {cores: middle(seconds) for cores, seconds in walls.items()}, max(100, min(1000, entries // 32))


ROOT = f"/dev/shm/untar-in-root-cores-{os.getpid()}"


def once(command, processors, look):
    """Seconds of a run, and on a processor of each of the helper's threads, as they were started."""

    def prepare():
        os.sched_setaffinity(0, processors)
        # Before what else the machine does: in a session of its own, which others yield to.
        os.setsid()
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/autogroup").write_text("-20")

    os.mkdir(ROOT)
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, preexec_fn=prepare)
    seen = look(child) if look else None
    child.wait()
    seconds = time.perf_counter() - start
    shutil.rmtree(ROOT)
    if child.returncode != 0:
        sys.exit(f"{command}: exit {child.returncode}")
    return seconds, seen


def look(child):
    seen = {}
    while child.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            helper, = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[:1]
            for task in sorted(pathlib.Path(f"/proc/{helper}/task").iterdir()):
                seen[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        time.sleep(0.003)
    return [seen[thread] for thread in sorted(seen)]


if __name__ == "__main__":
    main()
