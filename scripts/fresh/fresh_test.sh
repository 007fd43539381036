#!/usr/bin/env bash
# Runs the first command block of README.md on fresh machines: in bare Debian roots from debootstrap that contain only
# Python, make and a copy of the last commit.
#
# Usage: sudo scripts/fresh/fresh_test.sh [SUITE...]      bookworm (Debian 12) and trixie (Debian 13) by default
# Exits with 0 if every command succeeded in every root, otherwise with 1.
#
#   EDGETL_FRESH_FOLDER    folder for the roots, removed at the end      (a new folder in /var/tmp)
#   EDGETL_FRESH_LOGS      folder for the logs                           (/tmp/edgetl-fresh)
#   EDGETL_FRESH_MINUTES   time limit per command                        (120)
#
# This machine's pip settings also apply in the roots: configuration files, PIP_* and proxy variables, and the local
# files and folders they refer to. Everything runs in mount and PID namespaces, so that nothing stays mounted or
# running when this script ends or is killed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
logs=${EDGETL_FRESH_LOGS:-/tmp/edgetl-fresh}
packages=python3,python3-venv,make,ca-certificates
suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
fail() { say "fresh-test FAILED: $*"; exit 1; }

check_host() {
    local tool
    [ "$(id -u)" = 0 ] || fail "needs root, for chroot and mounts: sudo make fresh-test"
    for tool in debootstrap unshare git; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null \
            || fail "$tool is missing. On Debian: sudo apt-get install debootstrap util-linux git"
    done
    unshare --mount --pid --fork true 2> /dev/null || fail "this container may not create namespaces"
}

build_root() {
    local suite=$1 root=$2
    say "[$suite] building a bare root"
    nice debootstrap --variant=minbase --include="$packages" "$suite" "$root" > "$logs/debootstrap-$suite.log" 2>&1 \
        || { tail -5 "$logs/debootstrap-$suite.log"; fail "debootstrap of $suite; see $logs/debootstrap-$suite.log"; }
    mkdir -p "$root/root/edgetl"
    git -c safe.directory="$repository" -C "$repository" archive HEAD | tar -x -C "$root/root/edgetl"
    # the last commit is copied in place of a clone
    sed -n '/^```console$/,/^```$/{/^```/!{/^git clone /!{/^cd /!p}};/^```$/q}' "$repository/README.md" > "$root/root/commands"
    [ -s "$root/root/commands" ] || fail "README.md has no command block"
}

test_suite() {
    local suite=$1 root=$folder/$1 command start status line
    build_root "$suite" "$root"
    while IFS= read -r command <&3; do
        say "[$suite] $command"
        start=$SECONDS status=0
        timeout --signal=KILL "$((${EDGETL_FRESH_MINUTES:-120} * 60))" \
            unshare --mount --propagation private --pid --fork --kill-child \
            bash "$here/enter.sh" "$root" "$command" > "$logs/$suite-${command// /-}.log" 2>&1 < /dev/null || status=$?
        line="$suite, $(cat "$root/root/python" 2> /dev/null): $command $([ "$status" = 0 ] && echo succeeded || echo "FAILED ($status)")"
        results+=("$line in $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s")
        say "[$suite] ${results[-1]}"
        grep -E '^=+ .*(passed|failed|error).* =+$|^skipped' "$logs/$suite-${command// /-}.log" || true
        [ "$status" = 0 ] || { failed=yes; tail -20 "$logs/$suite-${command// /-}.log"; }
    done 3< "$root/root/commands"
    rm -rf --one-file-system "$root"
}

check_host
mkdir -p "$logs"
folder=${EDGETL_FRESH_FOLDER:-$(mktemp -d /var/tmp/edgetl-fresh.XXXXXX)}
mkdir -p "$folder"
trap 'rm -rf --one-file-system "$folder"' EXIT
trap 'exit 130' INT TERM HUP
git -c safe.directory="$repository" -C "$repository" diff --quiet HEAD || say "note: uncommitted changes are not included"
failed=
results=()
for suite in "${suites[@]}"; do test_suite "$suite"; done
say "fresh-test $([ -z "$failed" ] && echo passed || echo FAILED); logs are in $logs"
printf '%s\n' "${results[@]}"
[ -z "$failed" ]
