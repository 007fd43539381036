"""Reading the state of a machine from simulated file systems."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from device.system import health

PI_CPUINFO = "processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"


def put(root: Path, name: str, text: str) -> Path:
    """Write a file of a simulated file system."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_raspberry_pi_is_recognized_by_its_device_tree(tmp_path: Path) -> None:
    """The string there ends in NUL."""
    put(tmp_path, "sys/firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert health.board(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    assert health.is_raspberry_pi(tmp_path)


def test_another_board_is_not_taken_for_a_raspberry_pi(tmp_path: Path) -> None:
    """Coral's Dev Board has a device tree too."""
    put(tmp_path, "proc/device-tree/model", "Freescale i.MX8MQ Phanbell\0")
    assert health.board(tmp_path) == "Freescale i.MX8MQ Phanbell"
    assert not health.is_raspberry_pi(tmp_path)


def test_missing_files_give_none_and_no_error(tmp_path: Path) -> None:
    """On a PC, in a container, or with a kernel without these files."""
    assert health.board(tmp_path) is None
    assert health.temperature(tmp_path) is None
    assert health.throttling(tmp_path) is None
    assert health.governors(tmp_path) == ()
    assert health.ram(tmp_path) is None
    assert health.cpu(tmp_path)
    assert health.operating_system(tmp_path)


def test_the_cpu_is_named_on_a_pi_and_on_a_pc(tmp_path: Path) -> None:
    """Their kernels write different fields."""
    put(tmp_path, "proc/cpuinfo", PI_CPUINFO)
    assert health.cpu(tmp_path) == "Raspberry Pi 4 Model B Rev 1.4"
    put(tmp_path, "proc/cpuinfo", "processor : 0\nmodel name\t: Fast CPU @ 3.00GHz: really\n")
    assert health.cpu(tmp_path) == "Fast CPU @ 3.00GHz: really"


def test_the_operating_system_is_named_with_its_release(tmp_path: Path) -> None:
    """From os-release, without the quotes."""
    put(tmp_path, "etc/os-release", 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    assert health.operating_system(tmp_path) == "Debian GNU/Linux 12 (bookworm)"


def test_the_hottest_zone_is_the_temperature(tmp_path: Path) -> None:
    """A zone that cannot be read is skipped."""
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
def test_throttling_is_decoded_bit_by_bit(tmp_path: Path, word: str, now: int, since: int) -> None:
    """The low bits mean now, those 16 higher since boot."""
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", word + "\n")
    state = health.throttling(tmp_path)
    assert state is not None
    assert (len(state.now), len(state.since_boot)) == (now, since)


def test_on_an_older_kernel_vcgencmd_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program of that name on the path; when it fails there is no result."""
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x20002\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if Path("/sys/devices/platform/soc/soc:firmware/get_throttled").exists():
        pytest.skip("this kernel reports throttling itself")
    state = health.throttling()
    assert state is not None
    assert state.now == ("the CPU frequency is capped",)
    program.write_text("#!/bin/sh\nexit 255\n")
    assert health.throttling() is None


def test_every_governor_is_listed_once(tmp_path: Path) -> None:
    """Four cores, one policy each."""
    for core in range(4):
        put(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", "ondemand\n")
    put(tmp_path, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n")
    assert health.governors(tmp_path) == ("ondemand",)


def test_ram_is_returned_in_bytes(tmp_path: Path) -> None:
    """The kernel writes kibibytes; None where it does not."""
    put(tmp_path, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable: 400 kB\nOdd line\n")
    assert health.ram(tmp_path) == (400 * 1024, 1000 * 1024)
    put(tmp_path, "proc/meminfo", "MemTotal: lots\n")
    assert health.ram(tmp_path) is None


def test_disk_space_is_known_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    """It is that of the nearest existing parent."""
    assert health.disk_free(tmp_path / "a" / "b") is not None


def test_a_clock_in_the_past_is_not_plausible() -> None:
    """A Pi without a battery starts with the time of its last shutdown, or in 1970."""
    assert health.clock_is_plausible(time.time() + 3600)
    assert not health.clock_is_plausible(0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_the_kernel_is_queried_whether_the_clock_is_set() -> None:
    """True, False, or None where a sandbox forbids the query."""
    assert health.clock_is_synchronized() in (True, False, None)
