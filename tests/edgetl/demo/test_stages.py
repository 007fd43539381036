"""The demo on a small scale: made-up photos, a tiny model, the real device process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgetl.demo import data, host, stages
from edgetl.demo.field import refuse_tensorflow, score, times
from edgetl.demo.host import Recipe
from edgetl.demo.results import DemoResult
from edgetl.demo.stages import Demo
from edgetl.errors import TrainingError
from tests.edgetl.demo import fake


@pytest.fixture
def elpv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of made-up photos, and replace the host stage by one that needs no TensorFlow."""
    monkeypatch.setattr(host, "train_and_convert", fake.train_and_convert)
    folder = fake.elpv(tmp_path / "elpv")
    monkeypatch.setattr(stages, "elpv_folder", lambda: folder)
    return folder


def _run(cache: Path, elpv: Path, *, fresh: bool = False) -> tuple[DemoResult, list[tuple[str, str]]]:
    tasks: list[str] = []
    demo = Demo(cache, Recipe(), source=elpv, steps=(2, 5), fresh=fresh)
    result = demo.run(lambda task, done, total: tasks.append(task))
    return result, tasks


def test_the_demo_runs_and_then_runs_from_the_cache(tmp_path: Path, elpv: Path) -> None:
    """Every step is there, the device learned its cells, and a second run does no work."""
    result, tasks = _run(tmp_path / "cache", elpv)
    field = result["field"]
    assert [step["taught"] for step in field["steps"]] == [0, 2, 5, 11]
    assert field["steps"][0]["field"]["accuracy"] == 0  # it knows colors only
    assert field["steps"][-1]["field"]["accuracy"] == 1
    assert sum(field["taught"].values()) == 11
    assert set(field["labels"]) == {"blue", "green", "red", "intact", "defective"}
    assert [row["taught"] for row in field["spread"]] == [2, 5]
    assert "device: teaching the field's cells" in tasks
    assert Path(result["report"]).read_text().startswith("<!DOCTYPE html>")
    again, no_tasks = _run(tmp_path / "cache", elpv)
    assert no_tasks == []
    assert again["reused"] == ["photos", "host", "field"]
    assert again["field"] == field


def test_changed_photos_do_not_use_the_cache(tmp_path: Path, elpv: Path) -> None:
    """The key depends on the content of the photos."""
    _run(tmp_path / "cache", elpv)
    path = elpv / "images" / "cell0001.png"
    path.write_bytes(path.read_bytes() + b" ")
    assert _run(tmp_path / "cache", elpv)[0]["reused"] == []


def test_the_device_process_imports_no_tensorflow() -> None:
    """Its imports include neither TensorFlow nor Keras nor the converters."""
    code = (
        "import sys, edgetl.demo.field\n"
        "print(sorted({'tensorflow', 'keras', 'converters', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_device_process_with_tensorflow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If anything imports TensorFlow, the demo fails instead of showing a false result."""
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(TrainingError, match="tensorflow"):
        refuse_tensorflow()


def test_an_error_of_the_device_process_reaches_the_user(tmp_path: Path, elpv: Path) -> None:
    """The parent raises an error with the child's message."""
    _run(tmp_path / "cache", elpv)
    plan = next((tmp_path / "cache").glob("field-*")) / "plan.json"
    fields = json.loads(plan.read_text())
    plan.write_text(json.dumps(fields | {"model": str(elpv / "labels.csv")}))
    with pytest.raises(TrainingError, match=r"labels\.csv"):
        stages.run_field_process(plan, lambda *event: None)


def test_balanced_accuracy_weights_every_label_equally() -> None:
    """With two labels, always answering the more frequent one scores one half."""
    from device.heads import Prediction

    said = [Prediction("a", 1.0, True, {"a": 1.0})] * 4
    assert score(["a", "a", "a", "b"], said) == {
        "cells": 4,
        "accuracy": 0.75,
        "balanced": 0.5,
        "unknown": 0.0,
    }


def test_times_of_nothing_have_a_count_of_zero() -> None:
    """A demo too small to time the head still has a result."""
    assert times([])["count"] == 0


def test_the_command_prints_a_table_and_writes_report_and_chart(
    tmp_path: Path, elpv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result goes to stdout, license and progress to stderr, report and chart to the given files."""
    from edgetl.cli import main

    report, chart = tmp_path / "mine.html", tmp_path / "curve.svg"
    typed = ["demo", "--cache", str(tmp_path / "c"), "--report", str(report), "--chart", str(chart)]
    done = CliRunner().invoke(main, typed)
    assert done.exit_code == 0, done.output
    assert data.LICENSE in done.stderr
    assert "teaching the field's cells" in done.stderr
    assert re.search(r"none +0\.0 %", done.stdout)
    assert str(report) in done.stdout
    assert report.is_file()
    assert chart.read_text().startswith("<svg")
    refused = CliRunner().invoke(main, typed)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    shown = CliRunner().invoke(main, [*typed[:3], "--json"])
    assert json.loads(shown.stdout)["reused"] == ["photos", "host", "field"]


def test_help_shows_the_license_and_an_example() -> None:
    """A user can read the license before the photos are installed."""
    from edgetl.cli import main

    text = CliRunner().invoke(main, ["demo", "--help"]).output
    assert "CC BY-NC-SA 4.0" in text
    assert "edgetl demo --blocks 0" in text
