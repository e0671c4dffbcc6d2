#!/usr/bin/env python3
"""A helper that misbehaves in the way that its own name says."""
import os, socket, struct, sys, time

wish = os.path.basename(__file__).removesuffix(".py")
out = socket.socket(fileno=os.dup(1))


def frame(magic=b"uirU", version=None, body=b"", length=None):
    return magic + struct.pack("<II", VERSION if version is None else version, len(body) if length is None else length) + body


# The version is the one that the parent's own first frame has.
head = b""
while len(head) < 12:
    piece = out.recv(12 - len(head))
    if not piece:
        sys.exit(0)
    head += piece
VERSION, size = struct.unpack("<II", head[4:])
while size:
    size -= len(out.recv(size))



def bytes_of(data):
    return (bytes([len(data)]) if len(data) < 251 else b"\xfc" + struct.pack("<I", len(data))) + data


def flood(many):
    """Whole frames without end, from four processes at once, as a helper's threads would: always one more to take."""
    many *= max(1, 16000 // len(many))
    os.fork(), os.fork()
    try:
        while True:
            out.sendall(many)
    except OSError:
        os._exit(0)


# Plain data in bincode: a zero for each number, option and list that is empty.
CONFINEMENT = bytes(14)
# Seconds and nanoseconds of each.
TIMES = bytes(5 * 2)
REPORT = bytes(18) + CONFINEMENT + TIMES
NO_FAILURE, FAILURE = b"\x00", b"\x01\x04\x00\x00\x00\x07"
NEED_ID_MAP = frame(body=b"\x00")
STARTED = frame(body=b"\x01" + CONFINEMENT)
PROGRESS = frame(body=b"\x02\x01\x01\x01")
EVENT = frame(body=b"\x04\x00\x00\x56")  # no entry, SkippedType(86)


def listed(name=b"name", xattrs=0):
    return frame(body=b"\x03\x00\x00" + bytes_of(name) + bytes(9) + bytes_of(bytes(xattrs)))


FRAMES = {
    "M": NEED_ID_MAP, "S": STARTED, "P": PROGRESS, "L": listed(), "l": listed(xattrs=300), "E": EVENT,
    "W": frame(body=b"\x06"), "R": frame(body=b"\x05" + REPORT + NO_FAILURE), "F": frame(body=b"\x05" + REPORT + FAILURE),
    # What is as large as a frame can be, and larger in memory.
    "e": frame(body=b"\x04\x00\x09" + bytes_of(b"n" * 1_000_000)),
    "m": frame(body=b"\x01" + bytes(4) + bytes_of(bytes(1_000_000)) + bytes(9)),
    "f": frame(body=b"\x05" + REPORT + b"\x01\x04\x00\x00\x01" + b"\x00\x03\x00" + bytes_of(b"\x01" * 300_000) * 2
               + b"\x00\x0c" + bytes_of(b"\xff" * 300_000)),
    "x": listed(b"\x01" * 1_000_000),
    "r": frame(body=b"\x05" + bytes(15) + b"\xfc" + struct.pack("<I", 500_000) + b"\x00\x03" * 500_000
               + bytes(2) + CONFINEMENT + TIMES + NO_FAILURE),
}

if wish.startswith("say-"):
    # Each letter is a frame, a number how often; a hyphen at the end: and stay.
    for letters in wish.removeprefix("say-").removesuffix("-").split("_"):
        count = letters.lstrip("".join(FRAMES))
        for letter in letters.removesuffix(count):
            for _ in range(int(count or 1)):
                try:
                    out.sendall(FRAMES[letter])
                except OSError:
                    sys.exit(0)
    if wish.endswith("-"):
        time.sleep(30)
    sys.exit(0)
elif wish == "flood-listed":
    out.sendall(STARTED)
    flood(listed())
elif wish == "flood-large-listed":
    out.sendall(STARTED)
    flood(listed(b"n" * 15000))
elif wish == "flood-progress":
    out.sendall(STARTED)
    flood(PROGRESS)
elif wish == "endless-stderr":
    out.sendall(STARTED)
    while True:
        os.write(2, b"e" * 4096)
elif wish == "silent":
    sys.exit(0)
elif wish == "exit-3":
    sys.stderr.write("the last words\n")
    sys.exit(3)
elif wish == "segfault":
    os.kill(os.getpid(), 11)
elif wish == "sigsys":
    os.kill(os.getpid(), 31)
elif wish == "long":
    out.sendall(frame(length=0xFFFFFFFF))
elif wish == "long-plus":
    out.sendall(frame(length=(1 << 20) + 1))
elif wish == "unknown-tag":
    out.sendall(frame(body=b"\xfa\x01\x02"))
elif wish == "tag-99":
    out.sendall(frame(body=b"\x63"))
elif wish == "half-frame":
    out.sendall(frame(body=b"\x02\x01\x01", length=4))
elif wish == "half-header":
    out.sendall(frame(body=b"")[:7])
elif wish == "left-over":
    out.sendall(frame(body=b"\x02\x01\x01\x01\x00"))
elif wish == "empty-frame":
    out.sendall(frame())
elif wish == "wrong-version":
    out.sendall(frame(version=VERSION ^ 1, body=b"\x00"))
elif wish == "wrong-magic":
    out.sendall(frame(magic=b"uirD", body=b"\x00"))
elif wish == "text":
    os.write(1, b"Usage: program [OPTIONS]\n")
elif wish == "flood-garbage":
    try:
        while True:
            os.write(1, os.urandom(1 << 16))
    except OSError:
        sys.exit(0)
elif wish == "flood-stderr":
    for _ in range(4000):
        os.write(2, b"e" * 1024)
    os.write(2, b"the end")
    sys.exit(1)
elif wish == "flood-events":
    # More than any honest helper sends.
    try:
        out.sendall(STARTED)
        while True:
            out.sendall(EVENT * 100)
    except OSError:
        sys.exit(0)
elif wish == "wants-maps":
    for _ in range(100):
        out.sendall(NEED_ID_MAP)
    time.sleep(30)
elif wish == "wants-maps-once":
    out.sendall(NEED_ID_MAP)
    time.sleep(30)
elif wish == "closes-and-stays":
    out.close()
    os.close(1)
    time.sleep(30)
elif wish == "stays-after-garbage":
    os.write(1, b"garbage that is no frame")
    time.sleep(30)
elif wish == "progress-then-dies":
    out.sendall(STARTED + PROGRESS)
    sys.exit(0)
time.sleep(0.1)
