#!/bin/bash
# debian-image.sh ROOT_TAR DIR: an image of real Debian packages, seven layers, built by buildah on a root file system.
# DIR/oci is an OCI layout with the tags `gzip` (as buildah makes it) and `zstd`, DIR/docker.tar a docker archive.
# Run as root by tests/image/tools.rs; containers, mounts and downloads stay below DIR.
set -euo pipefail
umask 022

root_tar=$(realpath "$1")
out=$(realpath "$2")
work=$(mktemp -d "$out/work.XXXXXX")
# Without overlayfs (on another overlayfs, say) each layer is a copy of all that is below it.
mkdir "$work"/{lower,upper,changes,seen}
driver=vfs
if mount -t overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/changes" overlay "$work/seen" 2> /dev/null; then
    umount "$work/seen"
    driver=overlay
fi
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver "$driver")
buildah=(buildah "${storage[@]}")
trap '"${buildah[@]}" umount --all > /dev/null 2>&1; rm -rf "$work"' EXIT
export TMPDIR=$work BUILDAH_ISOLATION=chroot

container=
begin() { # begin IMAGE: the next layer is on this one
    container=$("${buildah[@]}" from --pull-never "$1")
    mount=$("${buildah[@]}" mount "$container")
}
end() { # end NAME: what has changed becomes a layer
    "${buildah[@]}" umount "$container" > /dev/null
    "${buildah[@]}" commit -q --rm "$container" "$1" > /dev/null
}
install() { # install PACKAGE...: unpacked, not configured: the files are what matters
    local debs=$work/debs
    rm -rf "$debs" && mkdir "$debs"
    (cd "$debs" && apt-get -qq -o APT::Sandbox::User=root download "$@")
    for deb in "$debs"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$mount" --numeric-owner -xpf - --keep-directory-symlink; done
}

begin scratch && tar -C "$mount" --numeric-owner --acls --xattrs --xattrs-include='*' -xpf "$root_tar" && end one
begin one && install libboost1.74-dev && end two
begin two && install perl perl-modules-5.36 libpython3.11-stdlib && end three
begin three && install git vim-runtime && end four

# Files that go, directories that go and come back, a link for a directory and the reverse.
begin four
rm -rf "$mount/usr/share/doc" "$mount/usr/include/boost/asio" && mkdir "$mount/usr/include/boost/asio"
echo new > "$mount/usr/include/boost/asio/new.hpp"
rm -rf "$mount/usr/share/vim/vim90/tutor" && ln -s lang "$mount/usr/share/vim/vim90/tutor"
rm -rf "$mount/usr/include/boost/mpl"
end five

# Metadata alone, hardlinks across layers, attributes, special files.
begin five
chown -R 1000:1000 "$mount/usr/include/boost/spirit"
chmod 4755 "$mount/usr/bin/git-shell" 2> /dev/null || chmod 4755 "$mount/usr/bin/perl"
ln "$mount/usr/bin/perl" "$mount/usr/local/bin/perl-again"
setfattr -n user.layer -v six "$mount/usr/include/boost/version.hpp"
setcap cap_net_raw+ep "$mount/usr/bin/env"
mkfifo -m 600 "$mount/run/pipe" && mknod -m 666 "$mount/run/zero" c 1 5
touch -d '1969-12-31 23:00:00 UTC' "$mount/etc/hostname"
end six

begin six
rm -rf "$mount/usr/share/vim/vim90/tutor" && mkdir "$mount/usr/share/vim/vim90/tutor" && echo back > "$mount/usr/share/vim/vim90/tutor/file"
rm "$mount/usr/local/bin/perl-again" "$mount/run/pipe"
mkdir -p "$mount/usr/share/doc/new" && echo doc > "$mount/usr/share/doc/new/file"
end seven

rm -rf "$out/oci" "$out/docker.tar"
"${buildah[@]}" push -q --compression-format gzip seven "oci:$out/oci:gzip"
"${buildah[@]}" push -q --compression-format zstd seven "oci:$out/oci:zstd"
skopeo copy -q "oci:$out/oci:gzip" "docker-archive:$out/docker.tar:localhost/seven:latest"
# What buildah itself mounts.
tree=$("${buildah[@]}" mount "$("${buildah[@]}" from --pull-never seven)")
tar -C "$tree" --format=pax --numeric-owner --acls --xattrs --xattrs-include='*' --sort=name -cf "$out/mounted.tar" .
