"""A home and a system folder that no test shares with this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.system import secrets, service


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary home without a running systemd."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(service, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(secrets, "SYSTEM_FOLDER", tmp_path / "secrets")
    monkeypatch.setattr(service, "systemd_runs", lambda: False)
    return tmp_path
