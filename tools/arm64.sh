#!/usr/bin/env bash
# Installs the package on 64-bit Arm and tunes the embedded model there: a Debian userland under emulation, with the wheels
# that a Raspberry Pi would get. Shows that it works, not how fast: emulation is hundreds of times slower than the machine itself.
# As root, with Debian's debootstrap and qemu-user-static:
#   tools/arm64.sh WORK_FOLDER PHOTOS      PHOTOS/<class>/*.jpg, 5 or more photos a class
set -euo pipefail
work=$(realpath -m "$1") photos=$(realpath "$2")
cd "$(dirname "$0")/.."
root=$work/root
mkdir -p "$work"

binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
if [ ! -e $binfmt/qemu-aarch64 ]; then # F: the emulator is opened now, and so found inside the chroot too
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    echo ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" > $binfmt/register
fi

if [ ! -e "$root/ready" ]; then
    rm -rf "$root"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3-venv,ca-certificates bookworm "$root" > "$work/debootstrap.log"
    chroot "$root" /debootstrap/debootstrap --second-stage >> "$work/debootstrap.log"
    touch "$root/ready"
fi
mount -t proc proc "$root/proc" # onnxruntime looks there for the files that it maps
trap 'umount "$root/proc"' EXIT
# This package, and what pip would choose for it on such a device: ready-made wheels alone.
rm -rf "$work/wheels"
python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheels" .
wheel=$(echo "$work"/wheels/edge_sharpzo-*.whl)
python3 -m pip download --quiet --disable-pip-version-check --dest "$work/wheels" --only-binary=:all: --python-version 3.11 --implementation cp \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    "edge-sharpzo[station] @ file://$wheel"
cp tools/station_walk.py "$root/station_walk.py"
rm -rf "$root/photos" "$root/wheels" && cp -rL "$photos" "$root/photos" && cp -r "$work/wheels" "$root/wheels"

# A Raspberry Pi 4's core; emulated, the newer instructions that qemu offers by default cost twenty times as much.
inside() { echo "\$ $*" && chroot "$root" /usr/bin/env -i QEMU_CPU=cortex-a72 PATH=/venv/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 "$@"; }
inside python3 -m venv --clear /venv
inside pip install --quiet --disable-pip-version-check --no-index --find-links /wheels edge-sharpzo
inside uname -m
inside edge-sharpzo doctor
rm -rf "$root/run"
inside edge-sharpzo tune --data /photos --out /run --shots 4 --budget 200
inside edge-sharpzo predict /run /photos --top 1 | sed -n 1,4p
# Only now the station: without it the package asks for no web server.
inside pip install --quiet --disable-pip-version-check --no-index --find-links /wheels 'edge-sharpzo[station]'
inside python3 /station_walk.py /photos /run-of-station
