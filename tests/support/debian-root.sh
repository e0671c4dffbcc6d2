#!/bin/bash
# debian-root.sh DIR: a real Debian root file system and two layers on it, as tar archives in DIR.
# Run as root by tests/support/debian.rs. The suite and the mirror are those that apt has here.
set -euo pipefail
umask 022

out=$(realpath "$1")
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $suite" 'Component: main' | head -n 1)
[ -n "$mirror" ] || { echo "apt has no source for $suite main" >&2; exit 1; }

# Everything that a later comparison looks at: owners by number, nanoseconds, ACLs, all xattrs.
pack() { # pack DIR TAR
    tar -C "$1" --format=pax --pax-option='delete=atime,delete=ctime' --numeric-owner --sort=name \
        --acls --xattrs --xattrs-include='*' -cf "$2.part" .
    mv "$2.part" "$2"
}

mmdebstrap --quiet --mode=root --variant="${UNTAR_DEBIAN_VARIANT:-minbase}" --include=iputils-ping \
    --format=directory "$suite" "$work/root" "$mirror"
cd "$work"

# Devices, in case mmdebstrap left them out; a hardlink across directories; a FIFO; an ACL.
rm -rf root/dev && mkdir -m 755 root/dev
mknod -m 666 root/dev/null c 1 3
mknod -m 600 root/dev/loop7 b 7 7
mkfifo -m 640 root/run/initctl
ln root/usr/bin/env root/usr/local/bin/env-again
getcap root/usr/bin/ping | grep -q cap_net_raw || { echo 'ping has no file capability' >&2; exit 1; }
find root -newermt now -exec touch -h -d '2024-05-06 07:08:09.123456789Z' {} +

pack root "$out/root.tar"
LC_ALL=C grep -aqm1 'SCHILY.xattr.security.capability' "$out/root.tar" || { echo 'no capability in the tar' >&2; exit 1; }
gzip -1nc "$out/root.tar" > "$out/root.tar.gz"
zstd -q -3 -T0 -f "$out/root.tar" -o "$out/root.tar.zst"
xz -0 -T0 -c "$out/root.tar" > "$out/root.tar.xz"

# The same change is made twice: in `root`, with rm and cp, and in `layer`, as entries and markers.
new_layer() { rm -rf layer && mkdir layer; }

record() { # record PATH...: these now belong to the layer, with their parents
    (cd root && cp -a --parents -t ../layer -- "$@")
}
delete() { # delete PATH
    rm -r "root/$1"
    mkdir -p "layer/$(dirname "$1")" # owner and mode: end_layer
    touch "layer/$(dirname "$1")/.wh.$(basename "$1")"
}
hide_all_in() { # hide_all_in DIR: an opaque directory
    find "root/$1" -mindepth 1 -delete
    mkdir -p "layer/$1" && touch "layer/$1/.wh..wh..opq"
}
end_layer() { # end_layer NUMBER: what is listed gets one time, in both trees
    (cd layer && find . -type d -print0) | while IFS= read -rd '' dir; do
        [ -d "root/$dir" ] || { echo "layer lists $dir, root has none" >&2; exit 1; }
        chown --reference="root/$dir" "layer/$dir" && chmod --reference="root/$dir" "layer/$dir"
        touch -d '2024-06-07 08:09:10.987654321Z' "root/$dir" "layer/$dir"
    done
    pack layer "$out/layer$1.tar"
    pack root "$out/expected$1.tar"
}

new_layer
echo changed > root/etc/hostname                          # change
cp -a root/usr/bin/env copy && mv copy root/usr/bin/env   # a layer that lists one of two names parts them
chmod 4711 root/usr/bin/env && chown 12:34 root/etc/issue # change of metadata only
rm root/etc/issue.net && mkdir root/etc/issue.net         # a directory replaces a file
rm -r root/usr/share/doc/tzdata && ln -s ../man root/usr/share/doc/tzdata # a link replaces a directory
mkdir -p root/opt/new/deep && echo one > root/opt/new/one && ln root/opt/new/one root/opt/new/deep/two
setfattr -n user.layer -v 1 root/opt/new/one
record etc/hostname etc/issue etc/issue.net usr/share/doc/tzdata usr/bin/env opt/new
delete usr/share/doc/bash
delete etc/motd
hide_all_in usr/share/locale
echo only > root/usr/share/locale/only && record usr/share/locale/only
end_layer 1

new_layer
delete opt/new/one                                        # the hardlink's other name stays
rm root/usr/share/doc/tzdata && mkdir root/usr/share/doc/tzdata && echo back > root/usr/share/doc/tzdata/file
record usr/share/doc/tzdata
delete usr/share/locale
hide_all_in var/cache
end_layer 2
