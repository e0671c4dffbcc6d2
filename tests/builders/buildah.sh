#!/bin/bash
# buildah.sh DIR: an image of four layers, made by buildah from nothing, without a daemon.
# DIR/image is its OCI layout; DIR/shown is a link to the tree that buildah shows.
set -euo pipefail
cd "$1"
export HOME=$1
b() { buildah --root "$top/store" --runroot "$top/run" --storage-driver vfs "$@"; }
top=$1

begin() { # begin IMAGE: a container of it, and its tree as the working directory
    container=$(b from --pull-never "$1")
    cd "$(b mount "$container")"
}

end() { # end IMAGE: what has changed is a layer
    cd /
    b commit -q --format oci "$container" "$1" > /dev/null
    b rm "$container" > /dev/null
}

long=$(printf 'long-%.0s' {1..30})

begin scratch
mkdir -p etc usr/bin usr/share/doc var/lib/empty home/user gone/deep/er
echo one > etc/one; echo two > etc/two; echo kept > usr/share/doc/kept; echo gone > gone/deep/er/f; echo x > gone/g
printf '#!/bin/sh\n' > usr/bin/tool; chmod 4755 usr/bin/tool; setcap cap_net_raw+ep usr/bin/tool || true
printf 'cap\n' > usr/bin/cap; chown 1:2 usr/bin/cap; setcap cap_net_raw+ep usr/bin/cap
ln usr/bin/tool usr/bin/same; ln -s ../etc/one home/user/link; ln -s usr/bin bin; mkfifo var/fifo; mknod var/null c 1 3
mkdir var/sticky; chmod 1777 var/sticky; chown 1000:100 home/user; setfattr -n user.note -v 'two words' etc/one
head -c 3000000 /dev/zero > var/zeros; : > "var/$long"; : > $'var/caf\xe9'; mkdir -p var/dir-to-link var/replaced/old
echo old > var/replaced/old/f; echo f > var/file-to-dir
touch -h -d '1969-12-31 23:59:58.25Z' etc/two; touch -h -d '2024-02-03 04:05:06.123456789Z' home/user/link etc/one
end one

begin one # whiteouts, also of a directory; a changed file, mode and owner; new files beside hidden ones
rm -r gone/deep etc/two; echo new > etc/three; echo changed > etc/one; chmod 700 home/user; chown 7:8 usr/share/doc/kept
rm usr/bin/same; mkdir -p a/b/c; echo abc > a/b/c/f
end two

begin two # kinds that change, a directory emptied and filled again, a name that comes back
rm -r var/replaced; mkdir -p var/replaced/new; echo new > var/replaced/new/f
rmdir var/dir-to-link; ln -s sticky var/dir-to-link; rm var/file-to-dir; mkdir var/file-to-dir; echo in > var/file-to-dir/in
mkdir gone/deep; echo back > gone/deep/back; rm -r a; ln etc/three etc/four; rm var/fifo var/null
end three

begin three # a file through a link, and what was back is hidden again
echo tool2 > bin/tool2; rm -r gone; rm etc/four; chmod 555 var/lib/empty
end four

b push -q four "oci:$1/image:four" > /dev/null
container=$(b from --pull-never four)
ln -s "$(b mount "$container")" "$1/shown"
