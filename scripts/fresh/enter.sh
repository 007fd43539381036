#!/usr/bin/env bash
# Usage: enter.sh ROOT COMMAND
# Runs COMMAND in the folder ~/edgetl of a fresh root. Only fresh_test.sh calls it, in its own mount and PID namespace:
# everything mounted here is unmounted when the last process ends.
set -euo pipefail
root=$1 command=$2

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"

# share PATH: mount a file or folder of this machine at the same path in the root, read-only
share() {
    if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root$(dirname "$1")" && touch "$root$1"; fi
    mount --bind -o ro "$1" "$root$1"
}

# pip's settings and the files they refer to: a mirror may be a folder and may need a certificate
settings=() variables=()
for file in /etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" "${PIP_CONFIG_FILE:-}"; do
    [ -f "$file" ] || continue
    settings+=("$file")
    mkdir -p "$root/$(dirname "$file")"
    cp --dereference "$file" "$root$file"
done
while IFS= read -r variable; do variables+=("$variable"); done \
    < <(env | grep -E '^(PIP_[A-Z_]+|(https?|no|HTTPS?|NO)_(proxy|PROXY)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)=')
named() { { printf '%s\n' "${variables[@]}"; cat /dev/null "${settings[@]}"; } | grep -oE '(^|[= ]|file://)/[^ ,"]+' | sed -E 's,^[^/]*(file://)?,,'; }
while IFS= read -r path; do
    path=${path%/simple} # a local index links to files beside it
    if [ -e "$path" ]; then share "$path"; fi
done < <(named | sort -u)

chroot "$root" python3 -c 'import platform; print("Python", platform.python_version())' > "$root/root/python"
exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${variables[@]}" \
    nice -n "${EDGETL_FRESH_NICE:-10}" chroot "$root" /bin/bash -c "cd ~/edgetl && $command"
