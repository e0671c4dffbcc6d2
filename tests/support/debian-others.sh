#!/bin/bash
# debian-others.sh ROOT_TAR DIR: two more images of real Debian packages on a root file system, with the same changes, six
# layers each: DIR/umoci, an OCI layout with the tag `six` by `umoci repack`, and DIR/kaniko.tar, a docker archive as
# kaniko's `--tar-path` writes it, by `kaniko.py` beside this file.
# Run as root by tests/support/debian.rs; downloads stay below DIR.
set -euo pipefail
umask 022

here=$(dirname "$(realpath "$0")")
root_tar=$(realpath "$1")
out=$(realpath "$2")
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

download() { # download DIR PACKAGE...
    mkdir -p "$work/$1"
    (cd "$work/$1" && apt-get -qq -o APT::Sandbox::User=root download "${@:2}")
}
install() { # install DIR: unpacked, not configured: the files are what matters
    local deb
    for deb in "$work/$1"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$tree" --numeric-owner -xpf - --keep-directory-symlink; done
}

# What each layer changes, in $tree. The first is the root itself.
step2() { install perl; }
step3() { install git; }
step4() { # files that go, directories that go and come back, a link for a directory, a file for a directory and the reverse
    rm -rf "$tree/usr/share/doc" "$tree/usr/share/git-core/templates/hooks" "$tree/usr/share/perl/5.36/Pod"
    mkdir "$tree/usr/share/git-core/templates/hooks" && echo new > "$tree/usr/share/git-core/templates/hooks/new"
    rm -rf "$tree/usr/share/perl/5.36/unicore/lib" && ln -s To "$tree/usr/share/perl/5.36/unicore/lib"
    rm "$tree/etc/issue" && mkdir "$tree/etc/issue" && echo in > "$tree/etc/issue/in"
    file_for_directory "$tree/usr/share/git-core/contrib"
}
# umoci writes whiteouts below the file then, with which containerd's own differ fails: nothing to be compared.
file_for_directory() { [ "$producer" = umoci ] || { rm -r "$1" && echo file > "$1"; }; }
step5() { # metadata alone, hardlinks across layers, a capability, special files
    chown -R 1000:1000 "$tree/usr/share/perl/5.36/CPAN" && chmod 4755 "$tree/usr/bin/perl"
    ln "$tree/usr/bin/perl" "$tree/usr/local/bin/perl-again"
    setcap cap_net_raw+ep "$tree/usr/bin/env"
    mkfifo -m 600 "$tree/run/pipe" && mknod -m 666 "$tree/run/zero" c 1 5
}
step6() { # what went comes back, and what came goes
    rm "$tree/usr/share/perl/5.36/unicore/lib" "$tree/usr/local/bin/perl-again" "$tree/run/pipe"
    mkdir -p "$tree/usr/share/perl/5.36/unicore/lib" && echo back > "$tree/usr/share/perl/5.36/unicore/lib/file"
    mkdir -p "$tree/usr/share/doc/new" && echo doc > "$tree/usr/share/doc/new/file"
    file_for_directory "$tree/etc/issue"
}
begin() { tar -C "$tree" --numeric-owner --acls --xattrs --xattrs-include='*' -xpf "$root_tar"; }

download perl perl perl-modules-5.36
download git git

by_umoci() {
    producer=umoci
    cd "$work"
    umoci init --layout umoci
    umoci new --image umoci:six
    umoci unpack --image umoci:six bundle
    tree=$work/bundle/rootfs
    begin && umoci repack --refresh-bundle --image umoci:six bundle
    for n in {2..6}; do "step$n" && umoci repack --refresh-bundle --image umoci:six bundle; done
    rm -rf "$out/umoci" && mv umoci "$out/umoci"
    rm -rf bundle
}

by_kaniko() {
    producer=kaniko
    tree=$work/tree
    mkdir "$tree" && begin
    # The image below was made elsewhere: kaniko takes its layers as they are.
    gzip -1nc "$root_tar" > "$work/1.tar.gz"
    "$here/kaniko.py" scan "$tree" "$work/state"
    for n in {2..6}; do "step$n" && "$here/kaniko.py" layer "$tree" "$work/state" "$work/$n.tar.gz"; done
    "$here/kaniko.py" image "$work/kaniko.tar" localhost/six:latest "$work"/{1..6}.tar.gz
    mv "$work/kaniko.tar" "$out/kaniko.tar"
}

by_umoci
by_kaniko
