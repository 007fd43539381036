#!/usr/bin/env bash
# Runs the device tests and one whole round (teach, run, export) in an emulated 64-bit Raspberry Pi OS:
# a Debian 12 arm64 root with the built wheel in it, on LiteRT and on tflite-runtime.
#
# Usage: scripts/pi/pi_test.sh            ends with 0: passed, 1: failed, 77: skipped, and says why
#
#   PYTHON             the host's Python with pip >= 25.1 and hatchling       (python3)
#   EDGETL_CACHE       where the root and the wheels are kept between runs    (~/.cache/edgetl)
#   EDGETL_PI_MODEL    a model file for the whole round                       (made with edgetl convert, once)
#   EDGETL_PI_MINUTES  how long it may take once the root is there            (15)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${EDGETL_CACHE:-$HOME/.cache/edgetl}/pi
python=$(command -v "${PYTHON:-python3}" || true)
minutes=${EDGETL_PI_MINUTES:-15}
root=$cache/bookworm
binfmt=/proc/sys/fs/binfmt_misc
registered=

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
skip() { say "skipped: $*"; exit 77; }

tidy() {
    # what this run registered it takes back; mounts need no tidying: they live in a namespace of their own
    if [ -n "$registered" ] && [ -e "$binfmt/qemu-aarch64" ]; then echo -1 > "$binfmt/qemu-aarch64"; fi
}
trap tidy EXIT

check_host() {
    [ "$(uname -s)" = Linux ] || skip "needs Linux, this is $(uname -s)"
    [ "$(uname -m)" != aarch64 ] || skip "this is an Arm machine already: make test is the real thing"
    [ "$(id -u)" = 0 ] || skip "needs root, for chroot and mounts: sudo make pi-test"
    local tool
    for tool in debootstrap qemu-aarch64-static unshare flock; do
        command -v "$tool" >/dev/null || skip "$tool is missing: apt-get install debootstrap qemu-user-static util-linux"
    done
    unshare --mount --pid --fork true 2>/dev/null || skip "this container may not make namespaces"
    [ -n "$python" ] || skip "no Python: set PYTHON"
    "$python" -c 'import hatchling' 2>/dev/null || skip "hatchling is missing: pip install hatchling"
}

register_qemu() {
    [ -e "$binfmt/qemu-aarch64" ] && return
    if ! [ -e "$binfmt/register" ]; then
        mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null || skip "the kernel has no binfmt_misc"
    fi
    # F: the kernel opens qemu now, so that it is found inside the chroot as well
    local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" 2>/dev/null > "$binfmt/register" \
        || skip "qemu cannot be registered with binfmt_misc"
    registered=yes
}

build_root() {
    [ -e "$root/.complete" ] && return
    say "building the arm64 root in $root (once, about 5 minutes)"
    local part
    part=$(mktemp -d "$cache/bookworm.XXXXXX")
    # in a namespace too: debootstrap mounts proc and sys, and a run that is killed must leave nothing behind
    unshare --mount --propagation private nice debootstrap --arch=arm64 --variant=minbase \
        --include=python3,python3-venv,ca-certificates bookworm "$part" > "$cache/debootstrap.log" 2>&1 \
        || { tail -5 "$cache/debootstrap.log" >&2; rm -rf --one-file-system "$part"; skip "debootstrap failed; see $cache/debootstrap.log"; }
    rm -rf "$part"/var/cache/apt/archives/*.deb
    touch "$part/.complete"
    rm -rf --one-file-system "$root"
    mv "$part" "$root"
}

build_wheel() {
    rm -rf "$cache/dist"
    "$python" -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation \
        --wheel-dir "$cache/dist" "$repository"
    wheel=$(ls "$cache"/dist/edgetl-*.whl)
}

# fetch NAME EXTRAS REQUIREMENT...: the wheels a Pi would install, none of them built here
fetch() {
    local name=$1 extras=$2
    shift 2
    local options=(--only-binary=:all: --python-version 311 --dest "$cache/wheels/$name"
        --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64)
    mkdir -p "$cache/wheels/$name"
    rm -f "$cache/wheels/$name"/edgetl-*.whl
    "$python" -m pip --disable-pip-version-check --quiet download "${options[@]}" \
        --no-index --find-links "$cache/wheels/$name" "${wheel}[$extras]" "$@" 2>/dev/null \
    || "$python" -m pip --disable-pip-version-check --quiet download "${options[@]}" "${wheel}[$extras]" "$@"
}

make_model() {
    model=${EDGETL_PI_MODEL:-$cache/base.tflite}
    [ -e "$model" ] && return
    say "converting EfficientNet-Lite0 for the whole round (once)"
    (cd "$repository" && TF_CPP_MIN_LOG_LEVEL=3 "$python" -m edgetl convert efficientnet-lite0 --quantize int8 --out "$model")
}

# enter LABEL COMMAND...: run inside the Pi
enter() {
    local label=$1
    shift
    EDGETL_PI_ROOT=$root EDGETL_PI_CACHE=$cache EDGETL_PI_REPOSITORY=$repository \
        timeout --kill-after=10 "$((minutes * 60))" \
        unshare --mount --propagation private --pid --fork --kill-child \
        bash "$here/enter.sh" "$@" 2>&1 | sed -u "s/^/[$label] /"
}

check_host
mkdir -p "$cache"
exec 9> "$cache/lock"
flock --nonblock 9 || skip "another pi-test is running"
register_qemu
build_root
start=$SECONDS
build_wheel
test_tools=(pytest hypothesis)
fetch litert device,serve,gpio,mqtt "${test_tools[@]}"
fetch tflite-runtime tflite-runtime,serve,gpio,mqtt "tflite-runtime>=2.14,<3" "${test_tools[@]}"
make_model

(cd "$repository" && "$python" -m scripts.pi.make_photos "$cache/photos")
cp "$model" "$cache/model.tflite"
say "the whole round on the host, to compare with"
(cd "$repository" && EDGETL_RUNTIME=litert "$python" "$here/round.py" "$cache/photos" "$cache/model.tflite" "$cache/expected.json") \
    > "$cache/host.log" 2>&1 || { cat "$cache/host.log" >&2; exit 1; }

say "in the Pi, on both runtimes at once: install the wheel offline, a whole round, the device tests"
status=0 jobs=()
for name in litert tflite-runtime; do
    extras=$([ "$name" = litert ] && echo device || echo tflite-runtime),serve,gpio,mqtt
    (enter "$name" /pi/install.sh "$name" "$extras" "${test_tools[@]}" && enter "$name" /pi/round.sh "$name" \
        && enter "$name" /pi/tests.sh "$name") &
    jobs+=("$!")
done
for job in "${jobs[@]}"; do wait "$job" || status=1; done
say "$([ "$status" = 0 ] && echo passed || echo FAILED) in $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s, under emulation"
exit "$status"
