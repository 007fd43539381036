"""`edgetl cameras` on machines with and without cameras."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from device.cameras import discover
from device.cameras.discover import Advice, Discovery, FoundCamera
from edgetl.cli import main
from edgetl.commands.cameras import command

NONE = Discovery((), (Advice("there is no camera", "plug one in"),), (), "not installed")
ONE = Discovery((FoundCamera("/dev/video0", "C920", "v4l2", ("MJPG 640x480@30",)),), (), (), "ready")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a function that runs the command on a machine with one camera, which a test may replace."""
    monkeypatch.setattr(discover, "discover", lambda: ONE)
    return CliRunner()


def test_a_camera_is_listed_with_its_source(runner: CliRunner) -> None:
    """The name and the formats are shown too."""
    result = runner.invoke(command)
    assert result.exit_code == 0
    assert "/dev/video0  C920 (v4l2)" in result.output
    assert "MJPG 640x480@30" in result.output


def test_without_a_camera_the_next_step_is_shown(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding no camera is a result, not an error."""
    monkeypatch.setattr(discover, "discover", lambda: NONE)
    result = runner.invoke(command)
    assert result.exit_code == 0
    assert "No camera found." in result.output
    assert "-> plug one in" in result.output


def test_json_has_the_same_content(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts receive cameras and advice as data."""
    assert json.loads(runner.invoke(command, ["--json"]).stdout)["cameras"][0]["source"] == "/dev/video0"
    monkeypatch.setattr(discover, "discover", lambda: NONE)
    reported = json.loads(runner.invoke(command, ["--json"]).stdout)
    assert reported["advice"] == [{"problem": "there is no camera", "next_step": "plug one in"}]
    assert reported["picamera2"] == "not installed"


def test_the_command_works_on_this_machine() -> None:
    """The real search works with any hardware."""
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0
    reported = json.loads(result.stdout)
    assert reported["cameras"] or reported["advice"]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "MODEL", "--camera", "rtsp://u:s3cret/x@host/"],
        ["run", "MODEL", "--camera", "admin:s3cret@host/live"],
        ["run", "MODEL", "--size", "rtsp://u:s3cret@host/"],
        ["run", "MODEL", "--camera", "fake", "rtsp://u:s3cret@host/"],
        ["check", "--camera", "rtmp://u:s3cret@host/"],
    ],
)
def test_no_error_repeats_a_password(words: list[str]) -> None:
    """This holds for errors of edgetl and of click, which repeats its arguments."""
    model = Path(__file__).parents[1] / "data" / "tiny_taught.tflite"
    done = CliRunner().invoke(main, [word.replace("MODEL", str(model)) for word in words])
    assert done.exit_code in (1, 2)
    assert "***@host" in done.output
    assert "s3cret" not in done.output
