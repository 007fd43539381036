"""`run` and `serve` with a real broker: what Home Assistant shows and sends."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from edgetl.cli import main
from tests.device.live.mosquitto import MISSING, MOSQUITTO, PATIENCE, Mosquitto, Subscriber
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker."""
    if MOSQUITTO is None:
        pytest.skip(MISSING)
    pytest.importorskip("paho.mqtt", reason="no paho-mqtt: pip install 'edgetl[mqtt]'")
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file without labels."""
    return Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_label_is_taught_and_forgotten_over_the_broker(
    command: str, broker: Mosquitto, model: Path
) -> None:
    """From a model without labels: teach, see the label, forget, see that nothing is known."""
    if command == "serve":
        pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")
    words = [sys.executable, "-m", "edgetl", command, str(model), "--camera", "fake:red", "--fps", "20"]
    words += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}/shed/camera", "--mqtt-commands"]
    words += ["--port", "0", "--json"] if command == "serve" else []
    viewer = Subscriber(broker.port)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        viewer.until("shed/camera", lambda state: json.loads(state)["prediction"] is None)
        viewer.publish("shed/camera/command/teach", "mug")
        taught = json.loads(viewer.until("shed/camera/command/result", b"taught mug"))
        assert taught == {
            "command": "teach", "done": True, "id": 1, "label": "mug", "samples": 1, "message": "taught mug (sample 1)",
        }  # fmt: skip
        viewer.until("shed/camera", lambda state: json.loads(state)["label"] == "mug")
        viewer.until("shed/camera/image", b"\xff\xd8")
        viewer.publish("shed/camera/command/not", "")
        viewer.until("shed/camera/command/result", b"taught not mug")
        viewer.publish("shed/camera/command/background", "PRESS")
        viewer.until("shed/camera/command/result", b"taught background")
        for number, label in ((3, "unknown"), (2, "mug"), (1, "unknown")):
            viewer.publish("shed/camera/command/forget", "last")
            viewer.until("shed/camera/command/result", f'"ids": [{number}]'.encode())
            viewer.until("shed/camera", lambda state, label=label: json.loads(state)["label"] == label)
        viewer.until("shed/camera", lambda state: json.loads(state)["prediction"] is None)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=PATIENCE)
        viewer.until("shed/camera/availability", b"offline")
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()
        viewer.close()
    assert process.returncode == 0, shown
    assert "Traceback" not in shown


def test_commands_without_a_broker_are_refused(model: Path) -> None:
    """The message names the option that is missing."""
    done = CliRunner().invoke(main, ["run", str(model), "--mqtt-commands"])
    assert (done.exit_code, "add --mqtt" in done.stderr) == (2, True)
