#!/usr/bin/env bash
# Runs a command in the emulated Raspberry Pi. Only run.sh calls it, in its own mount and PID namespace: everything
# mounted here is unmounted when the last process ends, even if it is killed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$EDGETL_PI_ROOT

mkdir -p "$root"/{pi,cache}
mount -t proc proc "$root/proc"
# with the host's x86 cpuinfo, LiteRT chooses the wrong kernels and crashes
mount --bind "$here/cpuinfo" "$root/proc/cpuinfo"
for folder in dev sys tmp run; do mount -t tmpfs -o mode=0755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
mount --bind -o ro "$here" "$root/pi"
mount --bind -o ro "$EDGETL_PI_CACHE" "$root/cache"

mkdir -p "$root"/dev/shm
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
ln -s /proc/self/fd "$root/dev/fd"

# the values of a Pi 4 in /sys; the host's would show an x86 machine
mkdir -p "$root"/sys/firmware/devicetree/base "$root"/sys/class/thermal/thermal_zone0
printf 'Raspberry Pi 4 Model B Rev 1.4\0' > "$root/sys/firmware/devicetree/base/model"
echo 48200 > "$root/sys/class/thermal/thermal_zone0/temp"
for cpu in 0 1 2 3; do
    mkdir -p "$root/sys/devices/system/cpu/cpu$cpu/"{cpufreq,topology}
    echo ondemand > "$root/sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor"
    echo 1800000 > "$root/sys/devices/system/cpu/cpu$cpu/cpufreq/cpuinfo_max_freq"
    echo 0 > "$root/sys/devices/system/cpu/cpu$cpu/topology/physical_package_id"
    echo "$cpu" > "$root/sys/devices/system/cpu/cpu$cpu/topology/core_id"
done
for list in possible present online; do echo 0-3 > "$root/sys/devices/system/cpu/$list"; done

# do not pass on the host's network settings, cache and Python
exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 QEMU_CPU=cortex-a72 EDGETL_CACHE=/tmp/cache \
    nice chroot "$root" /bin/bash "$@"
