#!/bin/bash
# make.sh DIR: archives of one tree by GNU tar, bsdtar and Python in each of their formats, as DIR/archives/*.tar.
# Their names tell who reads them for comparison: GNU tar, or bsdtar for those that begin with `bsd`.
set -euo pipefail
umask 022
cd "$1"
mkdir archives
out=$PWD/archives

# For all formats: short names, small ids.
mkdir -p t/dir/empty t/dir/sticky t/dir/closed
echo hello > t/dir/hello; : > t/dir/nothing; printf 'x%.0s' {1..1500} > t/dir/blocks; seq 100000 > t/dir/large
ln -s hello t/dir/link; ln -s /no/where t/dir/dangling; ln t/dir/hello t/dir/hard; ln t/dir/large t/large-again
chown 1000:100 t/dir/nothing t/dir/empty; chown -h 7:8 t/dir/link; chown 3:4 t/dir/blocks
chmod 6755 t/dir/blocks; chmod 1777 t/dir/sticky; chmod 2750 t/dir/empty; chmod 0 t/dir/nothing; chmod 500 t/dir/closed
find t -exec touch -h -d '2024-02-03 04:05:06.123456789Z' {} +

# What V7 lacks: FIFOs, devices.
mkdir s; mkfifo -m 622 s/fifo; mknod -m 666 s/null c 1 3; mknod -m 640 s/loop b 7 1; ln s/null s/same; chown 5:6 s/fifo
find s -exec touch -h -d '2024-02-03 04:05:06Z' {} +

# What needs an extension: long names and targets, bytes that are no UTF-8, large ids and times before 1970.
long=$(printf 'long-%.0s' {1..30})
mkdir -p "n/$long/$long"; echo n > "n/$long/$long/$long"; ln -s "$long/$long" n/link; ln "n/$long/$long/$long" "n/$long/hard"
: > $'n/caf\xe9'; : > n/$'new\nline'; : > n/large-id; chown 3000000:4000000 n/large-id
find n -exec touch -h -d '2024-02-03 04:05:06.5Z' {} +; touch -d '1961-04-12 06:07:00.75Z' n/large-id

# Holes: at the beginning, at the end, everywhere, nothing but, none; and more pieces than one block of a map holds.
mkdir h; truncate -s 1M h/only; head -c 70000 /dev/zero | tr '\0' x > h/none; truncate -s 3M h/pieces h/many h/first
for at in 1 3 5 7 9 11; do printf 'piece %s' "$at" | dd of=h/pieces bs=65536 seek="$at" conv=notrunc status=none; done
for at in {0..90}; do printf 'piece %s' "$at" | dd of=h/many bs=8192 seek=$((at * 2)) conv=notrunc status=none; done
echo end >> h/first
find h -exec touch -d '2024-02-03 04:05:06Z' {} +

# ACLs, extended attributes, a capability.
mkdir x; : > x/file; : > x/cap; ln -s file x/link; mkdir x/below
setfacl -m u:1:rw,g:100:r x/file; setfacl -d -m u:1:rwx,g:100:rx x; setfacl -m u:2:rwx x/below
setfattr -n user.note -v 'two words' x/file; setfattr -n user.zero -v 0x00ff0a3d x; setcap cap_net_raw+ep x/cap
find x -exec touch -h -d '2024-02-03 04:05:06Z' {} +

gnu=(tar --sort=name --numeric-owner -c)
for format in v7 oldgnu gnu ustar posix; do "${gnu[@]}" --format="$format" -f "$out/gnu-$format.tar" t; done
for format in oldgnu gnu ustar posix; do "${gnu[@]}" --format="$format" -f "$out/gnu-$format-special.tar" s; done
for format in oldgnu gnu posix; do
    "${gnu[@]}" --format="$format" -f "$out/gnu-$format-names.tar" n
done
for format in oldgnu gnu; do "${gnu[@]}" --sparse --format="$format" -f "$out/gnu-$format-sparse.tar" h; done
for version in 0.0 0.1 1.0; do
    "${gnu[@]}" --sparse --format=posix --sparse-version="$version" -f "$out/gnu-posix-sparse-$version.tar" h
done
"${gnu[@]}" --format=posix --acls --xattrs --xattrs-include='*' -f "$out/gnu-posix-attributes.tar" x

for format in pax gnutar ustar v7; do bsdtar --numeric-owner --format="$format" -cf "$out/bsd-$format.tar" t; done
for format in pax gnutar ustar; do bsdtar --numeric-owner --format="$format" -cf "$out/bsd-$format-special.tar" s; done
# bsdtar refuses what a format cannot hold: names over 255 bytes in ustar, bytes that are no UTF-8 in pax.
bsdtar --numeric-owner --format=gnutar -cf "$out/bsd-gnutar-names.tar" n
LC_ALL=C.UTF-8 bsdtar --numeric-owner --format=pax --exclude 'n/caf*' -cf "$out/bsd-pax-names.tar" n
bsdtar --numeric-owner --format=pax -cf "$out/bsd-pax-sparse.tar" h
bsdtar --numeric-owner --acls --xattrs --format=pax -cf "$out/bsd-pax-attributes.tar" x

for format in USTAR GNU PAX; do
    python3 - "$format" "$out/python-${format,,}" <<'END'
import sys, tarfile
format, path = getattr(tarfile, sys.argv[1] + "_FORMAT"), sys.argv[2]
for suffix, tree in ("", "t"), ("-special", "s"), ("-names", "n"):
    if sys.argv[1] != "USTAR" or suffix != "-names": # which cannot hold them
        with tarfile.open(path + suffix + ".tar", "w", format=format) as tar:
            tar.add(tree)
END
done
