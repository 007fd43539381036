"""Reading a machine's state from made-up file systems."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from device.system import health

PI_CPUINFO = "processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"


def put(root: Path, name: str, text: str) -> Path:
    """Write a file of a made-up file system."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_raspberry_pi_is_known_by_its_device_tree(tmp_path: Path) -> None:
    """The string there ends in NUL."""
    put(tmp_path, "sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert health.board(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    assert health.is_raspberry_pi(tmp_path)


def test_another_board_is_named_but_no_raspberry_pi(tmp_path: Path) -> None:
    """Coral's Dev Board has a device tree too."""
    put(tmp_path, "proc/device-tree/model", "Freescale i.MX8MQ Phanbell\0")
    assert health.board(tmp_path) == "Freescale i.MX8MQ Phanbell"
    assert not health.is_raspberry_pi(tmp_path)


def test_an_empty_machine_tells_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    """A PC, a container, a kernel without these files."""
    assert health.board(tmp_path) is None
    assert health.temperature(tmp_path) is None
    assert health.throttling(tmp_path) is None
    assert health.governors(tmp_path) == ()
    assert health.ram(tmp_path) is None
    assert health.cpu(tmp_path)
    assert health.operating_system(tmp_path)


def test_the_cpu_is_named_on_a_pi_and_on_a_pc(tmp_path: Path) -> None:
    """The kernels of the two write different fields."""
    put(tmp_path, "proc/cpuinfo", PI_CPUINFO)
    assert health.cpu(tmp_path) == "Raspberry Pi 4 Model B Rev 1.4"
    put(tmp_path, "proc/cpuinfo", "processor : 0\nmodel name\t: Fast CPU @ 3.00GHz: really\n")
    assert health.cpu(tmp_path) == "Fast CPU @ 3.00GHz: really"


def test_the_operating_system_is_named_with_its_release(tmp_path: Path) -> None:
    """From os-release, without its quotes."""
    put(tmp_path, "etc/os-release", 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    assert health.operating_system(tmp_path) == "Debian GNU/Linux 12 (bookworm)"


def test_the_hottest_zone_is_the_temperature(tmp_path: Path) -> None:
    """A zone that cannot be read is passed over."""
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48200\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "61000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone2/temp", "broken\n")
    assert health.temperature(tmp_path) == 61.0


@pytest.mark.parametrize(
    ("word", "now", "since"),
    [
        ("0", 0, 0),
        ("50000", 0, 2),
        ("0x50005", 2, 2),
        ("e0008", 1, 3),
    ],
)
def test_throttling_is_read_bit_by_bit(tmp_path: Path, word: str, now: int, since: int) -> None:
    """The low bits are now, those 16 higher since the start."""
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", word + "\n")
    state = health.throttling(tmp_path)
    assert state is not None
    assert (len(state.now), len(state.since_boot)) == (now, since)


def test_an_older_kernel_is_asked_through_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name on the path; one that fails counts as no answer."""
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x20002\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if Path("/sys/devices/platform/soc/soc:firmware/get_throttled").exists():
        pytest.skip("this kernel tells by itself")
    state = health.throttling()
    assert state is not None
    assert state.now == ("the CPU frequency is capped",)
    program.write_text("#!/bin/sh\nexit 255\n")
    assert health.throttling() is None


def test_every_governor_is_named_once(tmp_path: Path) -> None:
    """Four cores, one policy each."""
    for core in range(4):
        put(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", "ondemand\n")
    put(tmp_path, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n")
    assert health.governors(tmp_path) == ("ondemand",)


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    """The kernel writes kibibytes; a kernel that does not tell gives None."""
    put(tmp_path, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable: 400 kB\nOdd line\n")
    assert health.ram(tmp_path) == (400 * 1024, 1000 * 1024)
    put(tmp_path, "proc/meminfo", "MemTotal: lots\n")
    assert health.ram(tmp_path) is None


def test_disk_space_is_told_for_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    """It is that of the nearest folder above."""
    assert health.disk_free(tmp_path / "a" / "b") is not None


def test_a_clock_in_the_past_is_not_plausible() -> None:
    """A Pi without a battery wakes at the time of its last shutdown, or in 1970."""
    assert health.clock_is_plausible(time.time() + 3600)
    assert not health.clock_is_plausible(0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_the_kernel_is_asked_whether_the_clock_is_set() -> None:
    """True, False, or None where a sandbox forbids the question."""
    assert health.clock_is_synchronized() in (True, False, None)
