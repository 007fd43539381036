"""`edgetl buttons` on gpiozero's mock pins and the fake camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from device.errors import PeripheralError
from device.live.gpio import ButtonPanel
from edgetl.commands.buttons import command
from tests.tiny import TINY

pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'edgetl[gpio]'")


@pytest.fixture
def mugs(tmp_path: Path) -> Path:
    """Return a model file for one test."""
    model = tmp_path / "mugs.tflite"
    model.write_bytes(TINY.read_bytes())
    return model


def test_a_held_button_teaches_what_the_camera_sees(
    pins: Any, mugs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame is a line of JSON; the samples are in the state file."""

    def enter(panel: ButtonPanel) -> ButtonPanel:
        pins.pin(17).drive_low()  # a finger is on the button
        return panel

    monkeypatch.setattr(ButtonPanel, "__enter__", enter)
    line = f"{mugs} --camera fake:red --teach mug=17 --led mug=5 --frames 3 --every 0 --json"
    done = CliRunner().invoke(command, line.split())
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["taught"] for line in done.stdout.splitlines()] == [["mug"]] * 3
    assert "3 samples taught" in done.stderr
    assert mugs.with_suffix(".db").exists()


def test_no_button_and_no_led_is_a_usage_error(mugs: Path) -> None:
    """The command would have nothing to do."""
    assert CliRunner().invoke(command, [str(mugs)]).exit_code == 2


def test_wrong_wiring_is_an_error_before_the_camera_is_opened(mugs: Path) -> None:
    """The error is one of edgetl's own."""
    done = CliRunner().invoke(command, [str(mugs), "--teach", "mug=99", "--camera", "nowhere"])
    assert isinstance(done.exception, PeripheralError)
