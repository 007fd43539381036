"""The demo in small: made-up photos, a tiny model, the real device process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgetl.demo import data, host, story
from edgetl.demo.field import refuse_tensorflow, score, times
from edgetl.demo.host import Recipe
from edgetl.demo.results import DemoResult
from edgetl.demo.story import Story
from edgetl.errors import TrainingError
from tests.edgetl.demo import fake


@pytest.fixture
def elpv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up photos, and a laptop that needs no TensorFlow."""
    monkeypatch.setattr(host, "train_and_convert", fake.laptop)
    folder = fake.elpv(tmp_path / "elpv")
    monkeypatch.setattr(story, "elpv_folder", lambda: folder)
    return folder


def _tell(cache: Path, elpv: Path, *, fresh: bool = False) -> tuple[DemoResult, list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    play = Story(cache, Recipe(), source=elpv, steps=(2, 5), fresh=fresh)
    result = play.tell(lambda task, done, total: heard.append(tuple(task.split(" ", 1))))
    return result, heard


def test_the_whole_demo_runs_in_small_and_again_from_the_cache(tmp_path: Path, elpv: Path) -> None:
    """Every step is there, the device learned what it was taught, and a second run does no work."""
    result, heard = _tell(tmp_path / "cache", elpv)
    field = result["field"]
    assert [step["taught"] for step in field["steps"]] == [0, 2, 5, 11]
    assert field["steps"][0]["field"]["accuracy"] == 0  # it knows colors only
    assert field["steps"][-1]["field"]["accuracy"] == 1
    assert sum(field["taught"].values()) == 11
    assert set(field["labels"]) == {"blue", "green", "red", "intact", "defective"}
    assert [row["taught"] for row in field["spread"]] == [2, 5]
    assert ("device", "is taught in the field") in heard
    assert Path(result["report"]).read_text().startswith("<!DOCTYPE html>")
    again, silence = _tell(tmp_path / "cache", elpv)
    assert silence == []
    assert again["reused"] == ["photos", "laptop", "field"]
    assert again["field"] == field


def test_other_photos_are_not_answered_from_the_cache(tmp_path: Path, elpv: Path) -> None:
    """The key holds the photos' content."""
    _tell(tmp_path / "cache", elpv)
    path = elpv / "images" / "cell0001.png"
    path.write_bytes(path.read_bytes() + b" ")
    assert _tell(tmp_path / "cache", elpv)[0]["reused"] == []


def test_the_device_process_imports_no_tensorflow() -> None:
    """Importing all it needs brings neither TensorFlow nor Keras, nor the converters."""
    code = (
        "import sys, edgetl.demo.field\n"
        "print(sorted({'tensorflow', 'keras', 'converters', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_device_process_with_tensorflow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should anything ever import it, the demo fails instead of telling a false story."""
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(TrainingError, match="tensorflow"):
        refuse_tensorflow()


def test_what_the_device_process_says_reaches_the_user(tmp_path: Path, elpv: Path) -> None:
    """An error of the child is the parent's message, and nothing is kept as if it were whole."""
    _tell(tmp_path / "cache", elpv)
    plan = next((tmp_path / "cache").glob("field-*")) / "plan.json"
    fields = json.loads(plan.read_text())
    plan.write_text(json.dumps(fields | {"model": str(elpv / "labels.csv")}))
    with pytest.raises(TrainingError, match=r"labels\.csv"):
        story.run_field_process(plan, lambda *told: None)


def test_balanced_accuracy_weighs_every_label_alike() -> None:
    """Always giving the commonest answer is worth one half of two labels."""
    from device.heads import Prediction

    said = [Prediction("a", 1.0, True, {"a": 1.0})] * 4
    assert score(["a", "a", "a", "b"], said) == {
        "cells": 4,
        "accuracy": 0.75,
        "balanced": 0.5,
        "unknown": 0.0,
    }


def test_no_times_are_no_error() -> None:
    """A demo too small to time the head says so with a count of none."""
    assert times([])["count"] == 0


def test_the_command_prints_a_table_and_writes_what_was_asked(
    tmp_path: Path, elpv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Result on stdout, license and progress on stderr, report and chart where they were asked for."""
    from edgetl.cli import main

    report, chart = tmp_path / "mine.html", tmp_path / "curve.svg"
    typed = ["demo", "--cache", str(tmp_path / "c"), "--report", str(report), "--chart", str(chart)]
    done = CliRunner().invoke(main, typed)
    assert done.exit_code == 0, done.output
    assert data.LICENSE in done.stderr
    assert "is taught in the field" in done.stderr
    assert re.search(r"none +0\.0 %", done.stdout)
    assert str(report) in done.stdout
    assert report.is_file()
    assert chart.read_text().startswith("<svg")
    refused = CliRunner().invoke(main, typed)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    told = CliRunner().invoke(main, [*typed[:3], "--json"])
    assert json.loads(told.stdout)["reused"] == ["photos", "laptop", "field"]


def test_help_tells_the_license_and_ends_in_an_example() -> None:
    """Before anything is installed."""
    from edgetl.cli import main

    text = CliRunner().invoke(main, ["demo", "--help"]).output
    assert "CC BY-NC-SA 4.0" in text
    assert "edgetl demo --blocks 0" in text
