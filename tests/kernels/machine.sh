# Kernels of Debian, and machines made of them: what the scripts beside this one have in common, which source it.
#
# A kernel is named SUITE or SUITE:FLAVOUR, as its package is: bullseye (5.10), bookworm (6.1), trixie (6.12), forky (7.2);
# cloud-amd64 (without a flavour), amd64, cloud-arm64, arm64-16k. Root, apt, and: busybox-static cpio e2fsprogs kmod
# mmdebstrap qemu-system-x86 or qemu-system-arm, xz-utils. Everything is kept in $UNTAR_KERNELS (default: target/kernels),
# so only the first run is slow.
# shellcheck shell=bash
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${UNTAR_KERNELS:-$top/target/kernels}

flavour_of() { # flavour_of KERNEL
    case $1 in
        *:*) echo "${1#*:}" ;;
        *) echo cloud-amd64 ;;
    esac
}

arch_of() { # arch_of KERNEL: as Debian calls it
    case $(flavour_of "$1") in
        *amd64*) echo amd64 ;;
        *arm64*) echo arm64 ;;
        *) echo "what architecture has $1?" >&2; return 1 ;;
    esac
}

place_of() { # place_of KERNEL: where all of it is kept
    echo "$cache/${1%%:*}-$(flavour_of "$1")"
}

apt_of() { # apt_of SUITE ARCH DIR: options for apt, one a line, which ask that suite alone
    mkdir -p "$3/lists/partial" "$3/archives/partial"
    : > "$3/status"
    echo "deb http://deb.debian.org/debian $1 main" > "$3/sources.list"
    [ "$1" != bullseye ] || echo 'deb http://security.debian.org/debian-security bullseye-security main' >> "$3/sources.list"
    printf '%s\n' -qq -o "Dir::Etc::SourceList=$3/sources.list" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root \
        -o "Dir::State::Lists=$3/lists" -o "Dir::State::Status=$3/status" -o "Dir::Cache=$3" -o Acquire::Languages=none \
        -o "APT::Architecture=$2" -o "APT::Architectures::=$2"
}

# Once more than one source knows the package, apt takes the newest: so a list for each kernel.
kernel() { # kernel KERNEL: its package, unpacked in its place's root
    local dir package parts options
    dir=$(place_of "$1")
    [ ! -e "$dir/made" ] || return 0
    rm -rf "$dir"
    mkdir -p "$dir/root"
    mapfile -t options < <(apt_of "${1%%:*}" "$(arch_of "$1")" "$dir")
    apt-get "${options[@]}" update
    package=$(apt-cache "${options[@]}" show --no-all-versions "linux-image-$(flavour_of "$1")" | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p')
    # Since 7 the image is in packages beside it.
    parts=$(apt-cache "${options[@]}" depends "$package" | { grep -oE 'linux-(binary|modules)-[^ ]*' || true; })
    for package in "$package" $parts; do
        (cd "$dir" && apt-get "${options[@]}" download "$package" && dpkg-deb -x "$package"_*.deb root)
    done
    busybox_of "$dir" "$(arch_of "$1")" "${options[@]}"
    rm -rf "$dir"/lists "$dir"/archives "$dir"/*.deb "$dir"/*.bin
    [ -d "$dir/root/lib/modules" ] || { rm -rf "$dir/root/lib" && ln -s usr/lib "$dir/root/lib"; }
    depmod -b "$dir/root" "$(release_of "$1")"
    touch "$dir/made"
}

busybox_of() { # busybox_of DIR ARCH OPTION...: a static one for that processor
    (cd "$1" && apt-get "${@:3}" download busybox-static && dpkg-deb -x busybox-static_*.deb busybox-root)
    find "$1/busybox-root" -path '*/bin/busybox' -exec install -m 755 {} "$1/busybox" \;
    rm -r "$1/busybox-root"
}

kernel_of() { # kernel_of KERNEL: the file
    find "$(place_of "$1")/root" -name 'vmlinuz*' -type f | head -1
}

release_of() { # release_of KERNEL: what `uname -r` says there
    basename "$(place_of "$1")"/root/lib/modules/*
}

modules() { # modules KERNEL NAME...: the files of these modules, those that others need first
    local dir name path
    dir=$(place_of "$1")/root/lib/modules/$(release_of "$1")
    for name in "${@:2}"; do
        for path in $(grep "/$name\.ko[^:]*:" "$dir/modules.dep" | sed 's/://' | tr ' ' '\n' | tac); do
            echo "$dir/$path"
        done
    done | awk '!seen[$0]++'
}

beginning() { # beginning KERNEL MODULE...: a new directory with busybox, these modules and the order to load them in
    local work path
    work=$(mktemp -d)
    chmod 755 "$work"
    mkdir -p "$work"/{bin,dev,proc,sys,new,tmp,modules}
    cp "$(place_of "$1")/busybox" "$work/bin/busybox"
    ln -s busybox "$work/bin/sh"
    : > "$work/order"
    modules "$@" | while read -r path; do
        case $path in
            *.xz) xz -dc "$path" > "$work/modules/$(basename "$path" .xz)"; path=${path%.xz} ;;
            *) cp "$path" "$work/modules/" ;;
        esac
        basename "$path" >> "$work/order"
    done
    echo "$work"
}

archive() { # archive DIR FILE: what `beginning` has made, as the kernel takes it
    (cd "$1" && find . | cpio --quiet -o -H newc | gzip -1) > "$2.part"
    mv "$2.part" "$2"
    rm -r "$1"
}

for_disk() { # for_disk KERNEL: an initramfs that goes on to a disk with ext4, in the kernel's place
    local file work
    file=$(place_of "$1")/initramfs
    [ ! -e "$file" ] || return 0
    work=$(beginning "$1" virtio_pci virtio_blk crc32c_generic libcrc32c ext4 overlay)
    cat > "$work/init" << 'INIT'
#!/bin/sh
for module in $(busybox cat /order); do busybox insmod /modules/$module; done
busybox mount -t devtmpfs none /dev
until [ -b /dev/vda ]; do busybox usleep 20000; done
busybox mount -t ext4 /dev/vda /new && exec busybox switch_root /new /kernels-init
INIT
    chmod 755 "$work/init"
    archive "$work" "$file"
}

boot() { # boot KERNEL INITRAMFS LOG SECONDS OPTION...: what its console says goes into the log
    local machine console
    # Software only: the nested KVM of a cloud machine aborts at -cpu max, and a test must not depend on the host.
    case $(arch_of "$1") in
        # On a busy host the kernel's look at its timer comes too late: a panic.
        amd64) machine=(qemu-system-x86_64 -cpu max) console='ttyS0 no_timer_check' ;;
        arm64) machine=(qemu-system-aarch64 -M virt -cpu 'max,pauth-impdef=on') console=ttyAMA0 ;;
    esac
    timeout "$4" "${machine[@]}" -accel tcg -smp 2 -m 3G -nodefaults -no-reboot -display none -serial stdio \
        -kernel "$(kernel_of "$1")" -initrd "$2" -append "console=$console quiet panic=-1" "${@:5}" \
        < /dev/null 2> "$3.qemu" | stdbuf -oL tr -d '\r' > "$3" || true
}

drive() { # drive FILE: the option that makes it a disk of which nothing is kept
    echo "file=$1,format=raw,if=virtio,snapshot=on,cache=unsafe"
}

triple_of() { # triple_of ARCH: as rustc calls it
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
    esac
}

# Cargo with what compiles and links for that processor: gcc-aarch64-linux-gnu.
cargo_for() { # cargo_for ARCH COMMAND ARGUMENT...
    local options=()
    # Without a target of its own, what is built is what the developer has built.
    [ "$1" = "$(dpkg --print-architecture)" ] || options=(--target "$(triple_of "$1")")
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc cargo "$2" "${options[@]}" "${@:3}"
}

programs() { # programs ARCH COMMAND ARGUMENT...: `kind name file` of each program that this builds; of unit tests, `unit`
    cargo_for "$@" --message-format json 2> /dev/null | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        kind = message["target"]["kind"][0]
        unit = message["profile"]["test"] and kind != "test"
        print("unit" if unit else kind, message["target"]["name"], message["executable"])'
}
