"""Energy per prediction, where the kernel has a meter: RAPL of a PC, or a power sensor such as INA219.

A meter is read through sysfs, so that the driver of the sensor must be loaded: ``dtoverlay=i2c-sensor,ina219`` on a
Raspberry Pi. Paths: https://docs.kernel.org/power/powercap/powercap.html and
https://docs.kernel.org/hwmon/sysfs-interface.html.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import health
from .warming import Clock

SECONDS = 2.0  # of each of the two measurements: at rest, and predicting
_EVERY = 0.05  # seconds between two readings of a power sensor


@dataclass(frozen=True)
class PowerMeter:
    """A meter of power or energy.

    Attributes:
        name: Its name, such as ``ina219 power1_input``.
        path: The file to read.
        counts: Whether it counts energy, in microjoules; else it shows power, in microwatts.
        wraps: Microjoules after which a counter starts again at 0; 0 if it does not.
    """

    name: str
    path: Path
    counts: bool
    wraps: int = 0

    def read(self) -> int | None:
        """Return the present value, or None where it cannot be read."""
        return _number(self.path)


@dataclass(frozen=True)
class Energy:
    """Energy of one combination.

    Attributes:
        meter: Name of the meter; it measures whatever it is connected to, usually the whole board or the CPU.
        rest_watts: Mean power at rest.
        busy_watts: Mean power while predicting without a pause.
        frame_millijoules: Energy of one prediction, with what the machine uses at rest.
        extra_millijoules: Energy of one prediction above that at rest.
    """

    meter: str
    rest_watts: float
    busy_watts: float
    frame_millijoules: float
    extra_millijoules: float


def find_meter(root: Path = health.ROOT) -> PowerMeter | None:
    """Return the first readable meter: a power sensor, which sees the whole board, before the counter of a CPU."""
    found = [*_sensors(root), *_counters(root)]
    return next((meter for meter in found if meter.read() is not None), None)


def measure_energy(
    meter: PowerMeter,
    action: Callable[[], object],
    *,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter,
    rest: Callable[[float], object] = time.sleep,
) -> Energy | None:
    """Measure the power at rest, then while `action` runs again and again.

    Args:
        meter: The meter.
        action: One prediction.
        seconds: Duration of each of the two.
        clock: Returns seconds.
        rest: Waits for a number of seconds.

    Returns:
        The energy, or None if the meter could not be read meanwhile.
    """

    def work() -> int:
        runs, until = 0, clock() + seconds
        while clock() < until or not runs:
            action()
            runs += 1
        return runs

    def pause() -> int:
        rest(seconds)
        return 1

    idle, busy = _watts(meter, pause, clock), _watts(meter, work, clock)
    if idle is None or busy is None:
        return None
    (rest_watts, _, _), (watts, passed, runs) = idle, busy
    each = passed / runs
    return Energy(
        meter.name,
        round(rest_watts, 4),
        round(watts, 4),
        round(1000 * watts * each, 4),
        round(1000 * (watts - rest_watts) * each, 4),
    )


def _watts(meter: PowerMeter, work: Callable[[], int], clock: Clock) -> tuple[float, float, int] | None:
    """Return the mean power while `work` runs, its seconds, and what it returned."""
    if meter.counts:
        before, start = meter.read(), clock()
        runs = work()
        after, passed = meter.read(), clock() - start
        if before is None or after is None or passed <= 0:
            return None
        used = after - before if after >= before else after - before + meter.wraps
        return used / 1e6 / passed, passed, runs
    with _Sampler(meter) as sampler:
        start = clock()
        runs = work()
        passed = clock() - start
    mean = sampler.mean()
    return None if mean is None else (mean / 1e6, passed, runs)


class _Sampler:
    """Reads a power sensor again and again, in a thread."""

    def __init__(self, meter: PowerMeter) -> None:
        self._meter = meter
        self._readings: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgetl-power", daemon=True)

    def __enter__(self) -> _Sampler:
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()

    def mean(self) -> float | None:
        return sum(self._readings) / len(self._readings) if self._readings else None

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            self._read()

    def _read(self) -> None:
        reading = self._meter.read()
        if reading is not None:
            self._readings.append(reading)


def _sensors(root: Path) -> list[PowerMeter]:
    found = []
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/power*_input")):
        found.append(
            PowerMeter(f"{_text(path.parent / 'name') or path.parent.name} {path.name}", path, counts=False)
        )
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/energy*_input")):
        found.append(
            PowerMeter(f"{_text(path.parent / 'name') or path.parent.name} {path.name}", path, counts=True)
        )
    return found


def _counters(root: Path) -> list[PowerMeter]:
    found = []
    for path in sorted((root / "sys/class/powercap").glob("*/energy_uj")):
        if path.parent.name.count(":") == 1:  # a package; its parts have a second number
            wraps = _number(path.parent / "max_energy_range_uj") or 0
            name = f"{path.parent.name} {_text(path.parent / 'name')}".strip()
            found.append(PowerMeter(name, path, counts=True, wraps=wraps))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # RAPL is readable by root alone
        return None
