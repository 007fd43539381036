"""The conditions of a measurement, from the files of a described machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.system.conditions import Conditions, Meter, changes, doubts, file_system, frequency, peak_ram
from device.system.health import describe_machine


def write(root: Path, name: str, text: str) -> None:
    """Write a file of the described machine."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


CALM = Conditions(1800.0, 45.0, (), 0.1, 2**30)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"governor": "ondemand"}, "governor"),
        ({"throttled": ["hot"]}, "slowed down"),
        ({"load": 9.0}, "busy"),
    ],
)
def test_conditions_that_affect_times_are_reported(change: dict[str, object], word: str) -> None:
    """They are reported before the measurement."""
    quiet = {**describe_machine(), "cores": 2, "governor": "performance", "throttled": [], "load": 0.0}
    assert doubts(quiet) == []
    assert any(word in doubt for doubt in doubts({**quiet, **change}))


@pytest.mark.parametrize(
    ("after", "others", "disk", "word"),
    [
        (CALM, 0.3, "ext4", "30%"),
        (Conditions(1200.0, 50.0, (), 0.1, None), 0.0, "ext4", "1800 to 1200 MHz"),
        (Conditions(1800.0, 81.0, (), 0.1, None), 0.0, "ext4", "45 to 81 °C"),
        (Conditions(1800.0, 50.0, ("too hot",), 0.1, None), 0.0, "ext4", "too hot"),
        (CALM, 0.0, "tmpfs", "tmpfs"),
    ],
)
def test_what_changed_during_a_measurement_is_reported(
    after: Conditions, others: float, disk: str, word: str
) -> None:
    """A calm machine is not."""
    assert changes(CALM, CALM, 0.02, "ext4") == []
    (note,) = changes(CALM, after, others, disk)
    assert word in note


def test_a_machine_without_sensors_is_described() -> None:
    """Facts that are not known cause no warning."""
    unknown = Conditions(None, None, (), 0.0, None)
    assert changes(unknown, unknown, None, None) == []


def test_the_frequency_is_that_of_the_fastest_core(tmp_path: Path) -> None:
    """It comes from the governor, or on a PC without one from cpuinfo."""
    assert frequency(tmp_path) is None
    write(tmp_path, "proc/cpuinfo", "cpu MHz\t\t: 2596.100\n")
    assert frequency(tmp_path) == 2596.1
    for core, kilohertz in enumerate((600_000, 1_800_000)):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")
    assert frequency(tmp_path) == 1800.0


def test_the_cpu_time_of_other_programs_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what all cores were busy, without this process."""
    assert Meter(tmp_path).others() is None
    own = iter([1.0, 2.0])
    monkeypatch.setattr("device.system.conditions.time.process_time", lambda: next(own))
    monkeypatch.setattr("device.system.conditions.os.sysconf", lambda _: 100)
    write(tmp_path, "proc/stat", "cpu  100 0 0 1000 0 0 0 0 0 0\ncpu0 1 2 3\n")
    meter = Meter(tmp_path)
    write(tmp_path, "proc/stat", "cpu  400 0 0 1600 100 0 0 0 0 0\ncpu0 1 2 3\n")
    assert meter.others() == 0.2  # of 10 seconds on all cores, 3 were busy, 1 of them here


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    """A mount below another hides it."""
    write(tmp_path, "proc/mounts", f"/dev/a / ext4 rw\ntmpfs {tmp_path.resolve()} tmpfs rw\n")
    assert file_system(tmp_path, tmp_path) == "tmpfs"
    assert file_system(Path("/"), tmp_path) == "ext4"


def test_the_peak_of_ram_is_that_of_this_process() -> None:
    """It is in bytes: Python alone uses more than a million."""
    assert peak_ram() > 10**6
