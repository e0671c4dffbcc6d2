#!/usr/bin/env python3
"""A helper that misbehaves in the way that its own name says."""
import os, socket, struct, sys, time

wish = os.path.basename(__file__).removesuffix(".py")
out = socket.socket(fileno=os.dup(1))


def frame(magic=b"uirU", version=None, body=b"", length=None):
    return magic + struct.pack("<HHI", VERSION if version is None else version, 0, len(body) if length is None else length) + body


# The version is the one that the parent's own first frame has.
head = b""
while len(head) < 12:
    piece = out.recv(12 - len(head))
    if not piece:
        sys.exit(0)
    head += piece
VERSION, _, size = struct.unpack("<HHI", head[4:])
while size:
    size -= len(out.recv(size))

NEED_ID_MAP = frame(body=b"\x00")
PROGRESS = frame(body=b"\x02\x01\x01\x01")

if wish == "silent":
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
    out.sendall(frame(version=VERSION + 1, body=b"\x00"))
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
    # Event: no entry, SkippedType(86); more than any honest helper sends.
    try:
        while True:
            out.sendall(frame(body=b"\x04\x00\x00\x56") * 100)
    except OSError:
        sys.exit(0)
elif wish == "wants-maps":
    for _ in range(100):
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
    out.sendall(PROGRESS * 3)
    sys.exit(0)
time.sleep(0.1)
