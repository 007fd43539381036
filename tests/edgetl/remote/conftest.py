"""A folder that stands for the deployment on a device, and a fast way to run the steps in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from device.cameras.fake import draw
from device.learner import Learner
from device.learner.learner import identity_of
from device.model.modelfile import ModelFile
from device.store import Store
from edgetl.cli import main
from edgetl.remote.agent import programs, staging, steps, unit
from tests.tiny import TINY_TAUGHT

HERE = ("here", "-m", "edgetl")
"""Words that run edgetl in this process instead of a new one; see `quick`."""
real_run = programs.run


def teach(model: Path, label: str, first: int = 0, count: int = 4) -> None:
    """Teach scenes of the fake camera to a model file, whose state file is beside it."""
    with Learner.open(model, model.with_suffix(".db")) as learner:
        learner.learn_many([draw(label, first + number) for number in range(count)], [label] * count)


def by_hand(folder: Path, name: str = "mugs") -> Path:
    """Copy a model into a folder as a user would, and teach it; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Path(shutil.copy(TINY_TAUGHT, folder / f"{name}.tflite"))
    teach(model, "red")
    return model


def taught(folder: Path, name: str = "mugs") -> dict[str, int]:
    """Return what the state file was taught; it must belong to the model file beside it."""
    model = ModelFile.open(folder / f"{name}.tflite")
    with Store.open(folder / f"{name}.db", identity_of(model), read_only=True) as store:
        store.verify()
        return store.counts()


def exported(tmp_path: Path) -> Path:
    """Return another model file with the backbone of `TINY_TAUGHT`."""
    with Learner.open(TINY_TAUGHT, None) as learner:
        learner.learn_one(draw("white", 1), "white")
        return learner.export(tmp_path / "mugs.tflite", force=True).path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run the commands of `HERE` in this process; return the list of those that ran."""
    ran: list[list[str]] = []

    def run(words: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        if tuple(words[:3]) != HERE:
            return real_run(words, folder)
        ran.append(list(words[3:]))
        done = CliRunner().invoke(main, list(words[3:]))
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    for module in (programs, staging, unit):
        monkeypatch.setattr(module, "run", run)
    return ran


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a systemctl in the path that has one active unit; return the log of its arguments."""
    log, state = tmp_path / "systemctl.log", tmp_path / "unit-state"
    state.write_text("LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = show ] && exec cat {state}\necho "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    log.touch()
    return log


def stage_and_activate(folder: Path, model: Path, **options: Any) -> dict[str, Any]:
    """Do the steps of a deployment here, without ssh."""
    staged = stage(folder, model)
    return activate(folder, staged, **options)


def stage(folder: Path, model: Path) -> dict[str, Any]:
    """Do the steps before the switch; return the result with the release that is in use."""
    before = steps.survey(str(folder), "edgetl")
    digest = programs_sha256(model)
    ready = steps.prepare(str(folder), [digest])
    shutil.copy(model, Path(ready["incoming"]) / digest)
    staged = steps.stage(str(folder), model.stem, digest, HERE, "")
    return staged | {"expected": before["release"]}


def activate(folder: Path, staged: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Do the switch."""
    chosen = {"edgetl": HERE, "unit": "edgetl", "service": (), "watch": 0.0} | options
    return steps.activate(str(folder), staged["release"], staged["expected"], **chosen)


def programs_sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    return steps.sha256(path)
