"""`run` and `serve` with several cameras and regions."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner, Result
from rich.console import Console

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner
from device.live.watching import UNKNOWN
from edgetl.cli import main
from edgetl.client import Client
from edgetl.commands.run import _table_of_regions
from edgetl.commands.run import command as run_command
from edgetl.commands.secrets import split_secrets
from tests.device.live.seen import observation
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]


def edgetl(*words: object) -> Result:
    """Run a command and return its result."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file; two state files know different labels."""
    path = Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))
    for name, label in (("door", "visitor"), ("back", "cat")):
        with Learner.open(path, tmp_path / f"mugs.{name}.db", threads=1) as learner:
            learner.learn_many([draw("red", number) for number in range(6)], [label] * 6)
    return path


SEVERAL = ["--camera", "front=fake:red*3,end", "--camera", "back=fake:red*4,end", "--region", "door=0,0,1,1"]


def test_each_region_has_its_own_labels(model: Path) -> None:
    """One line of JSON per frame and region."""
    done = edgetl("run", model, *SEVERAL, "--json")
    assert done.exit_code == 0, done.output
    seen = Counter(
        (line["region"], line["prediction"]["label"]) for line in map(json.loads, done.stdout.splitlines())
    )
    assert seen == {("door", "visitor"): 3, ("back", "cat"): 4}


def test_a_shared_state_is_that_of_the_model(model: Path, tmp_path: Path) -> None:
    """The states of the regions are not used; a region without labels is reported."""
    untaught = edgetl("run", model, *SEVERAL, "--shared-state")
    assert (untaught.exit_code, "no label yet" in untaught.stderr) == (1, True)
    with Learner.open(model, threads=1) as learner:
        learner.learn_many([draw("red", number) for number in range(6)], ["mug"] * 6)
    done = edgetl("run", model, *SEVERAL, "--shared-state", "--json")
    assert {json.loads(line)["label"] for line in done.stdout.splitlines()} == {"mug"}
    (tmp_path / "mugs.back.db").unlink()
    done = edgetl("run", model, *SEVERAL)
    assert "back has no label yet" in done.stderr
    assert "door" in done.stdout


def test_motion_saves_embeddings_and_shows_how_many(model: Path) -> None:
    """A still scene is embedded five times; each frame is shown."""
    with Learner.open(model, threads=1) as learner:
        learner.learn_many([draw("red", number) for number in range(6)], ["mug"] * 6)
    words = [
        sys.executable,
        "-m",
        "edgetl",
        "run",
        str(model),
        "--camera",
        f"fake:@{model.with_name('scene')}",
    ]
    model.with_name("scene").write_text("black")
    done = subprocess.run(
        [*words, "--motion", "--frames", "30"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "5 of 30 frames embedded" in done.stderr
    assert len(done.stdout.splitlines()) == 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--region", "door=0,0,2,1"], "fractions of the frame"),
        (["--region", "door=10,10,200,200"], "divide pixels by the width"),
        (["--camera", "a=fake", "--camera", "a=fake"], "two cameras are named a"),
        (["--fps", "many"], "expected a number"),
        (["--fps", "front=0"], "expected a number"),
        (["--fps", "dor=2", "--region", "door=0,0,1,1"], "cameras and regions are: camera, door"),
        (["--hours", "gate=07:00-19:00"], "--hours names 'gate'"),
        (["--hours", "7-19"], "such as 07:00-19:00"),
    ],
)
def test_wrong_regions_are_refused(model: Path, words: list[str], message: str) -> None:
    """Without a traceback, and before a camera is opened."""
    done = edgetl("run", model, *words)
    assert done.exit_code in (1, 2)
    assert message in done.stderr


def test_a_region_outside_its_hours_is_closed_and_the_others_continue(model: Path) -> None:
    """It is reported once, as an observation without a prediction."""
    hour = time.localtime().tm_hour
    later = f"{(hour + 2) % 24:02d}:00-{(hour + 3) % 24:02d}:00"
    done = edgetl("run", model, *SEVERAL, "--hours", f"door={later}", "--frames", "5", "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(line["region"] for line in lines) == {"door": 1, "back": 4}
    (closed,) = (line for line in lines if line["region"] == "door")
    assert (closed["closed"], closed["prediction"]) == (True, None)
    assert f"door is closed until {later[:5]}" in done.stderr
    assert "4 frames: cat 4" in done.stderr


def test_a_service_moves_all_cameras_to_the_variable_together() -> None:
    """The variable replaces the option, so one address moves the others too."""
    words = ["m.tflite", "--camera", "a=rtsp://u:s3cret@h/1", "--camera", "b=0", "--fps", "a=5"]
    split = split_secrets(run_command, words)
    assert split.words == ("m.tflite", "--fps", "a=5")
    assert split.variables == {"EDGETL_CAMERA": "a=rtsp://u:s3cret@h/1\nb=0"}


def test_cameras_come_from_the_variable_line_by_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the unit of a service sets it."""
    monkeypatch.setenv("EDGETL_CAMERA", "door=fake:red*2,end\nback=fake:red*2,end")
    done = edgetl("run", model, "--json")
    assert Counter(json.loads(line)["region"] for line in done.stdout.splitlines()) == {"door": 2, "back": 2}


def test_serve_has_a_page_per_region(model: Path) -> None:
    """And ends on Ctrl-C."""
    pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")
    words = [
        sys.executable,
        "-m",
        "edgetl",
        "serve",
        str(model),
        "--camera",
        "fake:red",
        "--fps",
        "camera=20",
    ]
    words += ["--region", "door=0,0,0.5,1", "--region", "back=0.5,0,1,1", "--port", "0", "--json", "--motion"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        for name, label in (("door", "visitor"), ("back", "cat")):
            with urllib.request.urlopen(f"{url}region/{name}/api/state", timeout=30) as answer:
                state = json.load(answer)
            assert [one["label"] for one in state["labels"]] == [label]
            photo = encode_jpeg(draw("red", 9))
            assert Client(f"{url}region/{name}").predict(photo).label == label
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe
            pipe.close()
    assert process.returncode == 0, shown
    assert "Traceback" not in shown


def test_the_table_of_regions_shows_a_percentage_only_for_known_frames() -> None:
    """The probability of a label is not that of the answer "unknown"."""
    rows = {"door": observation("mug"), "shelf": observation(UNKNOWN)}
    text = StringIO()
    Console(file=text, width=120).print(_table_of_regions(rows))
    door, shelf = text.getvalue().splitlines()
    assert ("mug" in door, "%" in door) == (True, True)
    assert (f"{UNKNOWN} (most like " in shelf, "%" in shelf) == (True, False)
