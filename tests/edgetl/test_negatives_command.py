"""Negatives and background with the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner, Result

from device.cameras.fake import draw
from device.learner import Learner
from edgetl.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "data" / "tiny.tflite"


def run(*arguments: object) -> Result:
    """Run a command and check that it raises no unexpected error."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert "This is a bug" not in result.output
    return result


def answer(*arguments: object) -> Any:
    """Run a command with ``--json`` that must succeed, and return its result."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file with two labels taught in its state file."""
    path = tmp_path / "mugs.tflite"
    shutil.copy(MODEL, path)
    with Learner.open(path, threads=1) as learner:
        for scene, label in (("red", "mug"), ("blue", "plant")):
            learner.learn_many([draw(scene, at) for at in range(5)], [label] * 5)
    return path


def test_a_burst_of_negatives_is_taught_shown_and_forgotten(model: Path) -> None:
    """The counts are in every result; the labels stay as they were."""
    burst = ("--camera", "fake:yellow", "--frames", 3, "--every", 0, "--countdown", 0)
    result = run("teach", model, "--not", "mug", *burst)
    assert result.exit_code == 0, result.output
    assert "not mug 3 (samples 11-13)" in result.output
    assert "Taught in total: mug 5, plant 5, not mug 3." in result.output
    taught = answer("teach", model, "--background", *burst)
    assert (taught["taught"], taught["taught_background"]) == ({}, 3)
    assert (taught["samples"], taught["negatives"], taught["background"]) == (
        {"mug": 5, "plant": 5}, {"mug": 3}, 3,
    )  # fmt: skip
    status = answer("status", model)
    assert (status["negatives"], status["background"]) == ({"mug": 3}, 3)
    assert set(status["rejected"]) == {"mug", ""}
    shown = run("status", model).output
    assert "not mug" in shown
    assert "% rejected" in shown
    listed = answer("status", model, "--samples", 20, "--not", "mug")
    assert [(one["id"], one["label"], one["not_label"]) for one in listed] == [
        (13, None, "mug"), (12, None, "mug"), (11, None, "mug"),
    ]  # fmt: skip
    assert "background" in run("status", model, "--samples", 1).output
    assert answer("forget", model, "--last")["forgotten"] == [14, 15, 16]
    assert answer("forget", model, "--not", "mug")["negatives"] == {}
    assert "not mug 3" in run("forget", model, "--undo").output


def test_a_folder_of_photos_is_taught_as_background_once(model: Path, tmp_path: Path) -> None:
    """Its folders are no labels, and photos that were taught are skipped the second time."""
    (tmp_path / "desk" / "left").mkdir(parents=True)
    for at, place in enumerate(("desk", "desk/left")):
        cv2.imwrite(str(tmp_path / place / "a.png"), draw("yellow", at)[:, :, ::-1])
    first = answer("teach", model, "--background", "--photos", tmp_path / "desk")
    assert (first["taught_background"], first["known_already"]) == (2, 0)
    again = answer("teach", model, "--background", "--photos", tmp_path / "desk")
    assert (again["taught_background"], again["known_already"], again["background"]) == (0, 2, 2)
    assert answer("teach", model, "--not", "mug", "--photos", tmp_path / "desk")["negatives"] == {"mug": 2}


def test_an_exported_file_shows_its_negatives(model: Path, tmp_path: Path) -> None:
    """In `inspect`, and as taught on the host in `status`."""
    answer("label", "set", model, 1, 2, "--not", "mug")
    answer("label", "set", model, 3, "--background")
    out = tmp_path / "personal.tflite"
    answer("export", model, "--out", out)
    assert "3 negatives and background samples" in answer("inspect", out)["memory"]
    status = answer("status", out)
    assert (status["host_negatives"], status["host_background"]) == ({"mug": 2}, 1)
    assert "background" in run("status", out).output


def test_a_recovered_state_keeps_negatives(model: Path, tmp_path: Path) -> None:
    """They are counted in the text and in the result."""
    answer("label", "set", model, 1, 2, "--not", "mug")
    answer("label", "set", model, 3, "--background")
    state, out = model.with_suffix(".db"), tmp_path / "saved.db"
    text = run("recover", state, "--out", out).output
    assert "Wrote" in text
    assert "10 samples (background 1, mug 2, not mug 2, plant 5)" in " ".join(text.split())
    assert answer("status", model, "--state", out)["negatives"] == {"mug": 2}
    backup = answer("backup", state, "--out", tmp_path / "copy.db")
    assert (backup["samples"], backup["background"]) == ({"mug": 2, "plant": 5}, 1)


def test_an_evaluation_counts_the_photos_that_are_rejected(model: Path, tmp_path: Path) -> None:
    """They keep their most probable label, and the number is in the result."""
    for label, scene in (("mug", "red"), ("plant", "blue")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for at in range(40, 43):
            cv2.imwrite(str(tmp_path / "photos" / label / f"{at}.png"), draw(scene, at)[:, :, ::-1])
    ask = ("evaluate", model, tmp_path / "photos", "--state", model.with_suffix(".db"))
    assert answer(*ask)["rejected"] == 0
    with Learner.open(model, threads=1) as learner:
        learner.learn_many([draw("red", at) for at in range(20, 40)], [None] * 20)
    result = answer(*ask)
    assert 1 <= result["rejected"] <= result["photos"] == 6
    assert "unknown by negatives or background" in run(*ask).output


def test_samples_are_relabeled_as_negatives_and_back(model: Path) -> None:
    """Renaming and deleting a label carries its negatives along."""
    changed = answer("label", "set", model, 1, 2, "--not", "mug")
    assert (changed["samples"], changed["negatives"]) == ({"mug": 3, "plant": 5}, {"mug": 2})
    assert answer("label", "rename", model, "mug", "cup")["negatives"] == {"cup": 2}
    assert answer("label", "set", model, 1, "--background")["background"] == 1
    assert answer("label", "set", model, 1, "cup")["samples"] == {"cup": 4, "plant": 5}
    assert answer("label", "delete", model, "cup")["negatives"] == {}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["teach", "MODEL", "--not", "cup", "--camera", "fake:red"], "labels are: mug, plant"),
        (["teach", "MODEL", "mug", "--background"], "expected one of"),
        (["teach", "MODEL", "--not", "mug", "--background"], "expected one of"),
        (["teach", "MODEL", "--not", "mug", "--keys", "a,b"], "expected one of"),
        (["label", "set", "MODEL", "x", "--background"], "ids are numbers"),
        (["label", "set", "MODEL", "mug"], "expected ids"),
        (["forget", "MODEL", "--background", "--last"], "exactly one of"),
        (
            ["forget", "MODEL", "--not", "cup"],
            "no sample was taught as not 'cup'; negatives exist for: no label",
        ),
    ],
)
def test_wrong_use_is_explained(model: Path, arguments: list[str], named: str) -> None:
    """Nothing is taught."""
    result = run(*[str(model) if word == "MODEL" else word for word in arguments])
    assert result.exit_code != 0
    assert named in result.output
    assert answer("status", model)["negatives"] == {}


def test_keys_teach_background_and_deny_the_prediction(model: Path) -> None:
    """0 and x, beside the digits of the labels."""
    command = [sys.executable, "-m", "edgetl", "teach", str(model), "--keys", "mug,plant", "--json"]
    done = subprocess.run(
        [*command, "--camera", "fake:red"],
        cwd=ROOT,
        input="x0q",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "taught not mug" in done.stderr
    assert "taught background" in done.stderr
    assert json.loads(done.stdout)["negatives"] == {"mug": 1}
