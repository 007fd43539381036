"""The conditions of a measurement: clock frequency, temperature, throttling, other programs, RAM and disk."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import health

_BUSY = 0.1  # share of the cores that other programs may use
_SLOWER = 0.95  # share of the frequency at the start
_WARMER = 10  # degrees Celsius
_IN_RAM = {"tmpfs", "ramfs", "overlay"}  # where a commit may not wait for a disk


@dataclass(frozen=True)
class Conditions:
    """The conditions at one time. A fact that the machine does not provide is None.

    Attributes:
        frequency: Frequency of the fastest core, in MHz.
        temperature: Temperature of the hottest zone, in degrees Celsius.
        throttled: Reasons why the CPU is slowed down now.
        load: Load average of the last minute.
        ram_available: Bytes of RAM available to programs.
    """

    frequency: float | None
    temperature: float | None
    throttled: tuple[str, ...]
    load: float
    ram_available: int | None

    @classmethod
    def now(cls, root: Path = health.ROOT) -> Conditions:
        """Return the present conditions."""
        throttling, ram = health.throttling(root), health.ram(root)
        return cls(
            frequency(root),
            health.temperature(root),
            throttling.now if throttling else (),
            round(os.getloadavg()[0], 2),
            ram[0] if ram else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**asdict(self), "throttled": list(self.throttled)}


class Meter:
    """Measures what other programs use of the CPU, from the time that it is created.

    Args:
        root: Where the file system starts.
    """

    def __init__(self, root: Path = health.ROOT) -> None:
        self._root = root
        self._start = self._read()

    def others(self) -> float | None:
        """Return the share of all cores that other programs used so far, 0 to 1; None where it is not known."""
        before, now = self._start, self._read()
        if before is None or now is None or now[1] <= before[1]:
            return None
        busy, total, own = (late - early for late, early in zip(now, before, strict=True))
        return round(min(1.0, max(0.0, (busy - own) / total)), 3)

    def _read(self) -> tuple[float, float, float] | None:
        """Return the seconds that all cores were busy, the seconds that passed on them, and those of this process."""
        try:
            fields = (self._root / "proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
            ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
        except (OSError, ValueError):
            return None
        if len(ticks) < 5:
            return None
        idle = ticks[3] + ticks[4]  # idle, and waiting for the disk
        return sum(ticks) - idle, sum(ticks), time.process_time()


def doubts(described: Mapping[str, Any]) -> list[str]:
    """Return the reasons not to trust times from a machine that `describe_machine` described."""
    found = []
    if described["governor"] not in ("performance", "not governed"):
        found.append(
            f"the CPU governor is {described['governor']}, so times vary; "
            "before measuring: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if described["throttled"]:
        found.append(f"the CPU is slowed down: {'; '.join(described['throttled'])}")
    if described["load"] > 0.5 * described["cores"]:
        found.append(f"the machine is busy (load {described['load']}); trust ratios only")
    return found


def changes(before: Conditions, after: Conditions, others: float | None, disk: str | None) -> list[str]:
    """Return the reasons not to trust times that were measured between two conditions.

    Args:
        before: The conditions at the start.
        after: The conditions at the end.
        others: The share of all cores that other programs used meanwhile.
        disk: The type of the file system that lessons were written to.
    """
    found = []
    if others is not None and others > _BUSY:
        found.append(f"other programs used {others:.0%} of the CPU meanwhile; close them and measure again")
    if before.frequency and after.frequency and after.frequency < _SLOWER * before.frequency:
        found.append(f"the CPU frequency fell from {before.frequency:.0f} to {after.frequency:.0f} MHz")
    if new := [reason for reason in after.throttled if reason not in before.throttled]:
        found.append(f"the CPU was slowed down meanwhile: {'; '.join(new)}")
    if before.temperature and after.temperature and after.temperature > before.temperature + _WARMER:
        found.append(
            f"the CPU warmed up from {before.temperature:.0f} to {after.temperature:.0f} °C; later runs may be slower"
        )
    if disk in _IN_RAM:
        found.append(f"lessons were written to {disk}, which may not wait for a disk")
    return found


def frequency(root: Path = health.ROOT) -> float | None:
    """Return the present frequency of the fastest core in MHz, or None."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    found = [float(text) / 1000 for path in paths if (text := _read(path)).isdigit()]
    for line in _read(root / "proc/cpuinfo").splitlines() if not found else ():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":  # of PCs without a governor
            found.append(float(value))
    return round(max(found), 1) if found else None


def file_system(folder: Path, root: Path = health.ROOT) -> str | None:
    """Return the type of the file system that contains `folder`, such as ``ext4``, or None."""
    best, found = "", None
    for line in _read(root / "proc/mounts").splitlines():
        fields = line.split()
        if len(fields) > 2 and folder.resolve().is_relative_to(fields[1]) and len(fields[1]) >= len(best):
            best, found = fields[1], fields[2]
    return found


def peak_ram() -> int:
    """Return the largest number of bytes of RAM that this process has used."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
