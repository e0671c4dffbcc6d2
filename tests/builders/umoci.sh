#!/bin/bash
# umoci.sh DIR: an image whose layers umoci makes, with whiteouts, opaque directories and a repacked one.
# DIR/image is its OCI layout; DIR/shown is the tree that umoci unpacks.
set -euo pipefail
cd "$1"
insert() { umoci insert --image image:x "$@"; }

umoci init --layout image
umoci new --image image:x
mkdir -p one/etc one/opt/app/lib one/opt/old one/var/log
echo 1 > one/etc/one; echo 2 > one/opt/app/run; echo 3 > one/opt/app/lib/l; echo 4 > one/opt/old/f; echo 5 > one/var/log/l
chmod 4711 one/opt/app/run; chown -h 5:6 one/etc/one; ln -s ../etc/one one/opt/link; ln one/etc/one one/etc/same
mkfifo one/var/fifo; mknod one/var/null c 1 3; setfattr -n user.note -v 'a=b' one/etc/one
find one -exec touch -h -d '2024-02-03 04:05:06Z' {} +
insert one /
insert --whiteout /opt/old
mkdir new; echo n > new/n; touch -d '2024-02-03 04:05:07Z' new/n new
insert --opaque new /opt/app
insert new /opt/old
insert --whiteout /var/log/l
# A layer by comparison, as `umoci repack` writes it.
umoci unpack --image image:x bundle
rm -r bundle/rootfs/var; mkdir -p bundle/rootfs/var/cache; echo c > bundle/rootfs/var/cache/c; chmod 700 bundle/rootfs/etc
setfattr -n user.more -v x bundle/rootfs/etc/one; ln -s /opt/app bundle/rootfs/app
umoci repack --image image:x bundle
umoci raw unpack --image image:x shown-rootfs
ln -s "$PWD/shown-rootfs" shown
