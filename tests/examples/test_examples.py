"""The scripts in examples/: each runs as its first line shows, with the fake camera, and is short."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from device.learner import Learner
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *words: object, path: Path | None = None) -> str:
    """Run a script and return what it prints; programs in the folder `path` come first."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GPIOZERO_PIN_FACTORY": "mock"}
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """Return a model file with the labels red and blue in its state file."""
    model = tmp_path / "taught.tflite"
    model.write_bytes(tiny.TINY.read_bytes())
    with Learner.open(model) as learner:
        for label in ("red", "blue"):
            learner.learn_many([tiny.photo(label, seed) for seed in range(8)], [label] * 8)
    return model


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of photos, which is a camera: four of red, then six of blue."""
    folder = tmp_path / "shown"
    folder.mkdir()
    for number, label in enumerate(["red"] * 4 + ["blue"] * 6):
        picture = cv2.cvtColor(tiny.photo(label, 100 + number), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / f"{number:02}.png"), picture)
    return folder


def test_the_first_example_recognizes_what_it_taught() -> None:
    """With the fake camera."""
    printed = run("hello.py", tiny.TINY)
    assert "bowl: recognized as bowl" in printed
    assert "mug: recognized as mug" in printed


def test_the_flap_opens_once_when_three_frames_agree(taught: Path, show: Path) -> None:
    """In the third of six blue frames."""
    printed = run("sort_fruit.py", taught, "--camera", show, "--bad", "blue")
    assert "frame 7: blue, flap open" in printed
    assert "10 frames, 1 sorted out" in printed


def test_the_cat_flap_opens_for_the_named_cat_only(taught: Path, show: Path) -> None:
    """It is locked again at the end, and stays locked for a cat that never comes."""
    assert run("cat_flap.py", taught, "--camera", show, "--cat", "blue").split() == [
        "locked",
        "unlocked",
        "locked",
    ]
    assert run("cat_flap.py", taught, "--camera", show, "--cat", "green").split() == ["locked", "locked"]


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """Return a folder of photos, which is a camera: the left half is red and then green, the right half stays blue."""
    folder = tmp_path / "halves"
    folder.mkdir()
    for number, left in enumerate(["red"] * 12 + ["green"] * 12):
        picture = np.hstack([tiny.photo(left, number), tiny.photo("blue", number)])
        assert cv2.imwrite(str(folder / f"{number:02}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def test_each_region_of_a_picture_has_labels_of_its_own(tmp_path: Path, halves: Path) -> None:
    """The left one changes, and the right one does not; what each was taught is in a file of its own."""
    model = Path(shutil.copy(tiny.TINY, tmp_path / "shelf.tflite"))
    for region, label, color in (
        ("left", "empty", "green"),
        ("right", "full", "blue"),
        ("right", "empty", "red"),
    ):
        with Learner.open(model, model.with_suffix(f".{region}.db")) as learner:
            learner.learn_many([tiny.photo(color, seed) for seed in range(50, 60)], [label] * 10)
    printed = run("several_regions.py", model, "--camera", halves, "--teach", "left=full")
    assert printed == "left: taught full, 10 frames\n"
    printed = run("several_regions.py", model, "--camera", halves)
    changes = [line.partition(", ")[0] for line in printed.splitlines()]
    assert changes == ["frame 1: left is full", "frame 1: right is full", "frame 13: left is empty"]
    with Learner.open(model, model.with_suffix(".left.db"), read_only=True) as left:
        assert left.status().samples == {"empty": 10, "full": 10}


def test_three_devices_of_a_fleet_know_everything_and_their_sum_is_that_of_one_device() -> None:
    """Each was taught one color, and received sums of the others, bit for bit."""
    printed = run("fleet_of_three.py", tiny.TINY)
    for place, color in (("kitchen", "red"), ("garage", "green"), ("shed", "blue")):
        assert f"{place}: knows {color}\n" in printed
        assert f"{place}: now knows blue, green, red, 15 of 15 frames correct" in printed
    assert "one device that was taught everything has the same head" in printed


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it receives."""

    received: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Keep the label."""
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["label"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_home_assistant_gets_each_change_of_the_label(taught: Path, show: Path) -> None:
    """And the script goes on when nothing answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/webhook/mug-seen"
        run("home_assistant.py", taught, address, "--camera", show)
        server.shutdown()
    assert Hook.received == ["red", "blue"]
    assert "not sent" in run("home_assistant.py", taught, address, "--camera", show)


def test_a_server_is_taught_and_asked(tmp_path: Path, show: Path) -> None:
    """A file that is no photo gets the reason, and the others continue."""
    pytest.importorskip("starlette", reason="the server needs the extra serve")
    from device.page.server import PageServer

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with Learner.open(tiny.TINY, None, threads=1) as learner, PageServer(learner, None, port=0) as server:
        run(
            "http_service.py", server.url, "--label", "red", *(show / f"0{number}.png" for number in range(4))
        )
        run(
            "http_service.py",
            server.url,
            "--label",
            "blue",
            *(show / f"0{number}.png" for number in range(4, 9)),
        )
        printed = run("http_service.py", server.url, broken, show / "09.png")
    assert f"{broken}: " in printed
    assert "09.png: blue" in printed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_is_short_and_listed(script: Path) -> None:
    """At most 60 lines; README.md of the folder names it."""
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
    assert f"({script.name})" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
