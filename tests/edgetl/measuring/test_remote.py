"""Measuring on another machine: a real sshd, and the command line as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgetl import __version__
from edgetl.cli import main
from tests.sshd import Sshd
from tests.tiny import TINY, TINY_TAUGHT, write_photos

REPOSITORY = Path(__file__).parents[3]
SHORT = ("--frames", 3, "--lessons", 1, "--samples", 12, "--warm-up", 1, "--cold-starts", 0, "--no-energy")


@pytest.fixture
def python(sshd: Sshd) -> Path:
    """Return a Python on the device that has this edgetl."""
    path = sshd.home / "edgetl" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file with a space in its name."""
    path = tmp_path / "my mugs.tflite"
    path.write_bytes(TINY.read_bytes())
    return path


def bench(sshd: Sshd, *words: object) -> Result:
    """Run `edgetl bench` on the device."""
    arguments = ["bench", *words, *SHORT, "--host", sshd.alias, "--ssh-config", sshd.config]
    return CliRunner().invoke(main, [str(word) for word in arguments], prog_name="edgetl")


def test_a_measurement_there_comes_back(sshd: Sshd, python: Path, model: Path, tmp_path: Path) -> None:
    """The options, models and photos are those of here; nothing is left there."""
    write_photos(tmp_path / "flower photos", 6)
    words = (
        "--threads",
        "1,2",
        "--photos",
        tmp_path / "flower photos",
        "--accuracy",
        tmp_path / "flower photos",
    )
    done = bench(sshd, model, TINY_TAUGHT, *words, "--shots", "1,all", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    measured = [(entry["model"]["name"], entry["runtime"]["threads"]) for entry in found["results"]]
    names = (model.name, TINY_TAUGHT.name)
    assert measured == [(name, threads) for threads in (1, 2) for name in names]
    assert found["host"] == sshd.alias
    assert found["frames"]["source"] == "photos"
    assert [shot["shots"] for shot in found["accuracy"]["models"][0]["shots"]] == [1, 0]
    assert found["accuracy"]["folder"] == "flower photos"
    assert [path.name for path in sshd.home.iterdir()] == ["edgetl"]


def test_a_table_and_a_page_are_written_here(sshd: Sshd, python: Path, model: Path, tmp_path: Path) -> None:
    """As for a measurement on this machine."""
    done = bench(sshd, model, "--report", tmp_path / "speed.html")
    assert done.exit_code == 0, done.output
    assert "frame to prediction" in done.stdout
    assert (tmp_path / "speed.html").stat().st_size > 5000


def test_a_measurement_that_fails_there_is_an_error_with_its_message(
    sshd: Sshd, python: Path, model: Path
) -> None:
    """A camera that is not there is an example; the folder is removed."""
    done = bench(sshd, model, "--camera", "/dev/video99", "--json")
    assert done.exit_code == 1
    assert "device: " in done.stderr
    assert "/dev/video99" in done.stderr
    assert [path.name for path in sshd.home.iterdir()] == ["edgetl"]


def test_a_partial_result_of_there_is_partial_here(sshd: Sshd, python: Path, model: Path) -> None:
    """The camera ends; what was measured comes back."""
    done = bench(sshd, model, "--camera", "fake:red*2,end", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["partial"] is True


def test_ctrl_c_here_interrupts_there_and_brings_back_what_was_measured(
    sshd: Sshd, python: Path, model: Path
) -> None:
    """The process there has ended, and its folder is gone."""
    frame = note_frames(sshd, python)
    words = [
        "bench",
        str(model),
        "--frames",
        "100000",
        "--warm-up",
        "1",
        "--samples",
        "12",
        "--no-energy",
        "--json",
    ]
    command = [sys.executable, "-m", "edgetl", *words, "--host", sshd.alias, "--ssh-config", str(sshd.config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        wait_for(frame, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    found = json.loads(stdout)
    assert found["partial"] is True
    assert found["results"][0]["timings"]
    assert [path.name for path in sshd.home.iterdir()] == ["edgetl"]


NOTE_FRAMES = """
from pathlib import Path
from device.system.subject import Subject

real = Subject.time_frame

def time_frame(self, *arguments):
    real(self, *arguments)
    Path({path!r}).touch()

Subject.time_frame = time_frame
"""


def note_frames(sshd: Sshd, python: Path) -> Path:
    """Let the program there make a file after a frame, and return its path."""
    folder = sshd.control / "patched"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        NOTE_FRAMES.format(path=str(sshd.control / "frame")), encoding="utf-8"
    )
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={folder}:{REPOSITORY} exec {sys.executable} "$@"\n', encoding="utf-8"
    )
    return sshd.control / "frame"


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Return once a file is there."""
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_device_without_edgetl_gets_the_next_step(sshd: Sshd, model: Path) -> None:
    """There is Python, but no edgetl."""
    bare = sshd.home / "edgetl" / "bin" / "python"
    bare.parent.mkdir(parents=True)
    bare.write_text(f'#!/bin/sh\ncd / && exec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    done = bench(sshd, model, "--python", bare)
    assert done.exit_code == 1
    assert "has no edgetl" in done.stderr


def test_another_version_there_is_refused_with_the_command_that_helps(
    sshd: Sshd, python: Path, model: Path
) -> None:
    """Figures of two versions may mean different things."""
    python.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo "edgetl, version 0.0.9";; *) exec '
        f'{sys.executable} "$@";; esac\n',
        encoding="utf-8",
    )
    done = bench(sshd, model)
    assert done.exit_code == 1
    assert f"has edgetl 0.0.9, this machine has {__version__}" in done.stderr
    assert f"edgetl[device]=={__version__}" in done.stderr


def test_a_host_that_does_not_answer_is_named(sshd: Sshd, model: Path, tmp_path: Path) -> None:
    """Nothing listens on the port."""
    config = tmp_path / "config"
    config.write_text("Host device\n    HostName 127.0.0.1\n    Port 9\n", encoding="utf-8")
    arguments = ["bench", str(model), "--host", "device", "--ssh-config", str(config)]
    done = CliRunner().invoke(main, arguments, prog_name="edgetl")
    assert done.exit_code == 1
    assert "device: " in done.stderr
    assert "refused" in done.stderr.lower()


def test_a_result_that_is_no_measurement_is_refused(sshd: Sshd, python: Path, model: Path) -> None:
    """A program there may write anything."""
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo "edgetl, version {__version__}";; *" bench "*) echo \'{{}}\';; *) exec '
        f'{sys.executable} "$@";; esac\n',
        encoding="utf-8",
    )
    done = bench(sshd, model)
    assert done.exit_code == 1
    assert "not a result" in done.stderr
