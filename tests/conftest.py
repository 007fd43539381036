"""Fixtures for every test, so that no camera, cache or runtime setting of the user affects them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from device.addresses import SECRET_VARIABLES

from .permissions import bound_by_permissions
from .skips import summarize_skips
from .sshd import Sshd, running_sshd

# no deadline, so that a busy machine causes no failure; the same examples in every run
settings.register_profile(
    "edgetl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("edgetl")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

DEV_DATA = Path(os.environ.get("EDGETL_DEV_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print in one line at the end what was skipped, and the command that installs what is missing."""
    yield  # pytest's own summaries come first
    if line := summarize_skips(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in SECRET_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def dev_data() -> Path:
    """Return the folder of the development data; skip the test if it is absent."""
    if not DEV_DATA.is_dir():
        pytest.skip(f"the development data is not at {DEV_DATA} (set EDGETL_DEV_DATA)")
    return DEV_DATA


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that can be read but not written, even by root."""
    folder = tmp_path / "forbidden"
    folder.mkdir(mode=0o555)
    with bound_by_permissions():
        yield folder


@pytest.fixture
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Return a device that a real sshd on the loopback interface reaches; skip the test if sshd is not installed."""
    with running_sshd(tmp_path_factory.mktemp("sshd") / "device") as device:
        yield device


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return gpiozero's mock factory in place of a Pi's pins; its buttons do not wait for bouncing to end."""
    pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'edgetl[gpio]'")
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    monkeypatch.setattr("device.live.gpio.BOUNCE_SECONDS", None)
    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    yield factory
    factory.close()
