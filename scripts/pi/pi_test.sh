#!/usr/bin/env bash
# Runs one complete round (teach, run, export) and the device tests in an emulated 64-bit Raspberry Pi OS: an arm64
# root of Debian 12 with LiteRT and with tflite-runtime, and of Debian 13 with LiteRT, with the built wheel.
#
# Usage: scripts/pi/pi_test.sh [RUN...]   bookworm-litert, bookworm-tflite-runtime, trixie-litert; default: all
# Exits with 0 (passed), 1 (failed) or 77 (skipped), and prints the reason.
#
#   PYTHON             the host's Python, with edgetl[host] and hatchling     (.venv, made if it is missing)
#   EDGETL_CACHE       folder to keep the roots and the wheels between runs   (~/.cache/edgetl)
#   EDGETL_PI_MODEL    a model file for the round                             (made with edgetl convert, once)
#   EDGETL_PI_MINUTES  time limit for the part inside the Pi                  (60)
#
# Everything runs in a mount and PID namespace, which the kernel removes when this script ends, is interrupted or is
# killed. No process or mount remains.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${EDGETL_CACHE:-$HOME/.cache/edgetl}/pi
binfmt=/proc/sys/fs/binfmt_misc
runs=(bookworm-litert bookworm-tflite-runtime trixie-litert) # tflite-runtime has no wheels for Debian 13's Python 3.13
registered=
inside=

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
skip() { say "pi-test skipped: $*"; exit 77; }
fail() { say "pi-test FAILED: $*"; exit 1; }

check_host() {
    [ "$(uname -s)" = Linux ] || skip "needs Linux, this is $(uname -s)"
    [ "$(uname -m)" != aarch64 ] || skip "this is an Arm machine; run make test instead"
    local tool missing=
    for tool in debootstrap qemu-aarch64-static unshare setpriv flock; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=" $tool"
    done
    [ -z "$missing" ] || skip "missing:$missing. On Debian: sudo apt-get install debootstrap qemu-user-static util-linux"
    [ "$(id -u)" = 0 ] || skip "needs root, for chroot and mounts: sudo make pi-test"
    unshare --mount --pid --fork true 2>/dev/null || skip "this container may not create namespaces"
}

register_qemu() {
    # in this script's own mount namespace, so that the mount does not remain
    [ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt" 2>/dev/null || skip "the kernel has no binfmt_misc"
    [ ! -e "$binfmt/qemu-aarch64" ] || return 0
    # F: the kernel opens qemu now, so that it also works inside the chroot
    local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" 2>/dev/null > "$binfmt/register" \
        || skip "qemu cannot be registered with binfmt_misc"
    registered=yes
}

tidy() {
    trap '' INT TERM HUP
    if [ -n "$inside" ]; then kill -KILL "$inside" 2>/dev/null || true; wait "$inside" 2>/dev/null || true; fi
    # remove what this run registered
    if [ -n "$registered" ]; then echo -1 > "$binfmt/qemu-aarch64"; fi
}

[ $# -gt 0 ] || set -- "${runs[@]}"
for run; do
    [[ " ${runs[*]} " = *" $run "* ]] || fail "there is no run $run; expected ${runs[*]}"
done
check_host
if [ -z "${EDGETL_PI_NAMESPACE:-}" ]; then
    EDGETL_PI_NAMESPACE=1 exec unshare --mount --propagation private bash "${BASH_SOURCE[0]}" "$@"
fi
mkdir -p "$cache"
exec 9> "$cache/lock"
flock --nonblock 9 || fail "another pi-test is running with $cache"
trap tidy EXIT
trap 'say "pi-test interrupted"; exit 130' INT TERM HUP
if [ -z "${PYTHON:-}" ]; then
    make -C "$here/../.." --no-print-directory .venv/ready
    export PYTHON=$here/../../.venv/bin/python
fi
register_qemu
EDGETL_PI_CACHE=$cache setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --kill-child --mount-proc bash "$here/run.sh" "$@" &
inside=$!
status=0
wait "$inside" || status=$?
inside=
exit "$status"
