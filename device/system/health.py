"""The state of the machine, from the files of the kernel: board, temperature, throttling, governor, clock.

Functions take `root`, where the file system starts, so that tests can describe a machine. A fact that the machine
does not provide is None, never a guess.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path("/")
_DEVICE_TREE = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_TIME_ERROR = 5  # what adjtimex(2) returns while the clock is not synchronized

# bit of the firmware's get_throttled word -> its meaning; 16 bits higher: has happened since boot
_THROTTLED_BITS = {
    0: "the supply voltage is too low",
    1: "the CPU frequency is capped",
    2: "the CPU is throttled",
    3: "the soft temperature limit is reached",
}


@dataclass(frozen=True)
class Throttling:
    """Reasons why the Raspberry Pi slows its CPU down, as its firmware reports them.

    Attributes:
        now: Reasons that apply now.
        since_boot: Reasons that have applied since the machine started.
    """

    now: tuple[str, ...]
    since_boot: tuple[str, ...]

    @classmethod
    def from_word(cls, word: int) -> Throttling:
        """Decode the word of ``vcgencmd get_throttled``.

        Example:
            >>> Throttling.from_word(0x50001).now
            ('the supply voltage is too low',)
        """
        return cls(
            tuple(text for bit, text in _THROTTLED_BITS.items() if word >> bit & 1),
            tuple(text for bit, text in _THROTTLED_BITS.items() if word >> (bit + 16) & 1),
        )


def board(root: Path = ROOT) -> str | None:
    """Return the name of the board, such as ``Raspberry Pi 4 Model B Rev 1.4``, or None on a PC."""
    for name in _DEVICE_TREE:
        text = _read(root / name)
        if text:
            return text
    return None


def is_raspberry_pi(root: Path = ROOT) -> bool:
    """Return whether the board is a Raspberry Pi."""
    return (board(root) or "").startswith("Raspberry Pi")


def cpu(root: Path = ROOT) -> str:
    """Return the name of the CPU, or else its architecture."""
    fields = _fields(root / "proc/cpuinfo")
    names = ("model name", "Model", "Hardware")  # on PCs; on Raspberry Pis; on older Arm kernels
    return next((fields[name] for name in names if name in fields), platform.machine())


def operating_system(root: Path = ROOT) -> str:
    """Return the name and release of the operating system."""
    for line in (_read(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return f"{platform.system()} {platform.release()}"


def bits() -> int:
    """Return the pointer size of this Python: 64, or 32 on a 32-bit system."""
    return 64 if sys.maxsize > 2**32 else 32


def temperature(root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest thermal zone in degrees Celsius, or None."""
    readings = []
    for path in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp")):
        with contextlib.suppress(ValueError):
            readings.append(int(_read(path) or "") / 1000)
    return max(readings, default=None)


def throttling(root: Path = ROOT) -> Throttling | None:
    """Return why the CPU is slowed down, or None where there is no Raspberry Pi firmware to query."""
    word = _read(root / _THROTTLED) or _query_firmware(root)
    with contextlib.suppress(ValueError):
        return Throttling.from_word(int(word or "", 16))
    return None


def governors(root: Path = ROOT) -> tuple[str, ...]:
    """Return the CPU frequency governors in use; empty where there are none."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({text for path in paths if (text := _read(path))}))


def ram(root: Path = ROOT) -> tuple[int, int] | None:
    """Return the bytes of RAM available to programs and the total, or None."""
    fields = _fields(root / "proc/meminfo")
    try:
        available, total = (int(fields[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (KeyError, ValueError, IndexError):
        return None
    return available, total


def disk_free(folder: Path) -> int | None:
    """Return the bytes free to this user on the disk of `folder`, which need not exist yet; or None."""
    existing = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()), None)
    try:
        return shutil.disk_usage(existing).free if existing else None
    except OSError:
        return None


def clock_is_plausible(now: float | None = None) -> bool:
    """Return whether the clock is later than this file; a Pi without a battery starts with an old time."""
    return (time.time() if now is None else now) >= Path(__file__).stat().st_mtime - 24 * 3600


def clock_is_synchronized() -> bool | None:
    """Return whether the clock follows a time server; None where the kernel cannot be queried."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError, TypeError):
        return None
    # struct timex has 208 bytes on 64-bit Linux; all zeros mean read only
    state = adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else state != _TIME_ERROR


def describe_machine() -> dict[str, Any]:
    """Return the machine that times are measured on, JSON-serializable: board, CPU, load, governor, system, Python.

    ``board`` is None on a machine that is not a single-board computer.
    """
    throttled = throttling()
    return {
        "board": board(),
        "cpu": cpu(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "governor": ", ".join(governors()) or "not governed",
        "temperature": temperature(),
        "throttled": list(throttled.now) if throttled else [],
        "system": operating_system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _query_firmware(root: Path) -> str | None:
    # older kernels lack the file; vcgencmd needs the group "video"
    if root != ROOT or not shutil.which("vcgencmd"):
        return None
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().partition("=")[2] or None


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in (_read(path) or "").splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> str | None:
    try:
        # device-tree strings end in NUL
        return path.read_text(encoding="utf-8", errors="replace").strip(" \n\0")
    except OSError:
        return None
