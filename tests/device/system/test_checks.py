"""The self-test: a result for each thing, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.model.runtime import load_runtime
from device.system import health
from device.system.checks import CHECKS, Check, Subject, self_test
from tests.device.system.test_health import put
from tests.tiny import TINY


def results(**options: object) -> dict[str, Check]:
    """Run the self-test and return the checks by name."""
    return {check.name: check for check in self_test(Subject(**{"camera": "fake", **options}))}  # type: ignore[arg-type]


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """The files of a healthy Raspberry Pi 4."""
    put(tmp_path, "sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    put(tmp_path, "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48200\n")
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    put(tmp_path, "proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n")
    return tmp_path


def test_a_healthy_pi_passes(pi: Path) -> None:
    """The model is run once."""
    found = results(root=pi, model=TINY, state=pi / "tiny.db")
    for name in ("board", "system", "runtime", "opencv", "model", "camera", "RAM", "temperature"):
        assert found[name].result == "good", found[name]
    assert found["throttling"].result == found["governor"].result == "good"
    assert load_runtime().version in found["model"].finding


def test_a_pc_is_noted_as_not_a_raspberry_pi(tmp_path: Path) -> None:
    """This is a note, not a failure."""
    assert results(root=tmp_path)["board"].result == "note"
    assert "not a Raspberry Pi" in results(root=tmp_path)["board"].finding


def test_every_problem_has_a_next_step(pi: Path) -> None:
    """Hot, throttled, out of RAM, governed."""
    put(pi, "sys/class/thermal/thermal_zone0/temp", "83000\n")
    put(pi, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    put(pi, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    put(pi, "proc/meminfo", "MemTotal: 400000 kB\nMemAvailable: 90000 kB\n")
    found = results(root=pi)
    for name in ("temperature", "throttling", "RAM"):
        assert found[name].result == "warning"
    assert "voltage" in found["throttling"].finding
    for name in ("temperature", "throttling", "RAM", "governor"):
        assert found[name].fix


def test_past_throttling_is_a_note(pi: Path) -> None:
    """It still indicates a weak power supply."""
    put(pi, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    found = results(root=pi)["throttling"]
    assert found.result == "note"
    assert "power supply" in found.fix


def test_a_missing_runtime_fails_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated with a name that is not a runtime."""
    monkeypatch.setenv("EDGETL_RUNTIME", "onnx")
    found = results()["runtime"]
    assert found.result == "failed"
    assert "pip install" in found.fix


def test_a_broken_model_fails_and_the_other_checks_run(tmp_path: Path) -> None:
    """Every other line is there."""
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(TINY.read_bytes()[:1000])
    found = results(model=broken)
    assert found["model"].result == "failed"
    assert found["model"].fix
    assert len(found) == len(CHECKS)


def test_a_missing_coral_fails_only_when_it_is_required() -> None:
    """Otherwise the CPU is used, which is a note."""
    if results()["edge tpu"].result == "good":
        pytest.skip("a Coral is plugged in here")
    assert results()["edge tpu"].result == "note"
    assert results(edgetpu=True)["edge tpu"].result == "failed"


def test_a_named_camera_that_is_missing_fails_with_a_next_step(tmp_path: Path) -> None:
    """A path where nothing is."""
    found = results(camera=str(tmp_path / "nothing"))["camera"]
    assert found.result == "failed"
    assert found.fix


def test_a_black_picture_is_a_warning(tmp_path: Path) -> None:
    """As with a lens cap."""
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((48, 64, 3), np.uint8))
    assert results(camera=str(tmp_path / "black.png"))["camera"].result == "warning"


def test_no_camera_is_opened_without_need() -> None:
    """For machines that only predict photos."""
    assert "camera" not in results(look=False)


@pytest.mark.parametrize(
    ("free", "expected"), [(10e9, "good"), (100e6, "warning"), (1e6, "failed"), (None, "note")]
)
def test_the_disk_check_depends_on_the_free_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float | None, expected: str
) -> None:
    """SD cards fill up."""
    monkeypatch.setattr(health, "disk_free", lambda folder: free)
    assert results(state=tmp_path / "x.db")["disk"].result == expected


def test_a_folder_that_is_missing_or_read_only_fails(forbidden: Path, tmp_path: Path) -> None:
    """No state file could be written."""
    assert results(state=tmp_path / "no" / "x.db")["disk"].result == "failed"
    assert results(state=forbidden / "x.db")["disk"].result == "failed"


@pytest.mark.parametrize(
    ("plausible", "synchronized", "expected"),
    [(True, True, "good"), (True, False, "note"), (True, None, "good"), (False, True, "warning")],
)
def test_the_clock_is_checked(
    monkeypatch: pytest.MonkeyPatch, plausible: bool, synchronized: bool | None, expected: str
) -> None:
    """Samples store its time."""
    monkeypatch.setattr(health, "clock_is_plausible", lambda: plausible)
    monkeypatch.setattr(health, "clock_is_synchronized", lambda: synchronized)
    assert results()["clock"].result == expected


def test_checks_are_yielded_one_by_one() -> None:
    """A slow camera does not delay the other results."""
    tests = self_test(Subject(camera="fake"))
    assert isinstance(tests, Iterator)
    assert next(tests).name == "board"
