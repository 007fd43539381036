"""The commands `bench` and `bench compare` as a user types them."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device.images import Image, encode_jpeg
from device.system.subject import Subject
from edgetl.cli import main
from tests.tiny import TINY, TINY_TAUGHT, write_photos

SHORT = ("--frames", 3, "--lessons", 2, "--samples", 12, "--warm-up", 1, "--cold-starts", 0, "--no-energy")


def edgetl(*arguments: object) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="edgetl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with two models."""
    (tmp_path / "mugs.tflite").write_bytes(TINY.read_bytes())
    (tmp_path / "colors.tflite").write_bytes(TINY_TAUGHT.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bench_prints_percentiles_machine_and_runtime(folder: Path) -> None:
    """It shows the runtime, its version and the governor."""
    done = edgetl("bench", "mugs.tflite", *SHORT, "--cold-starts", 1)
    assert done.exit_code == 0, done.output
    for word in (
        "p50",
        "p99",
        "governor",
        "threads",
        "backbone",
        "cold start",
        "peak RAM",
        "bare interpreter",
    ):
        assert word in done.stdout


def test_bench_writes_json_of_several_models(folder: Path) -> None:
    """Stdout contains only JSON; options may come before the models."""
    done = edgetl("bench", *SHORT, "mugs.tflite", "colors.tflite", "--json")
    results = json.loads(done.stdout)["results"]
    assert [result["model"]["name"] for result in results] == ["mugs.tflite", "colors.tflite"]
    for result in results:
        assert {timing["step"] for timing in result["timings"]} >= {"preprocessing", "backbone"}


def test_bench_writes_csv(folder: Path) -> None:
    """One row per model and step, with the numbers of runs."""
    rows = list(csv.DictReader(io.StringIO(edgetl("bench", "mugs.tflite", *SHORT, "--csv").stdout)))
    assert {row["model"] for row in rows} == {"mugs.tflite"}
    assert {row["step"]: row["runs"] for row in rows}["frame to prediction"] == "3"
    assert all(float(row["minimum_ms"]) <= float(row["p50_ms"]) for row in rows)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("mugs.tflite", "--samples", 2, "--labels", 3),
        ("mugs.tflite", "--frames", 0),
        ("mugs.tflite", "--seconds", 0),
        ("mugs.tflite", "--csv", "--json"),
        ("mugs.tflite", "--photos", ".", "--camera", "fake"),
        ("mugs.tflite", "--python", "python3"),
        ("mugs.tflite", "--shots", 0),
        ("mugs.tflite", "--clock", "cpu", "--threads", "1,2"),
        ("mugs.tflite", "--threads", "1,,2"),
        ("mugs.tflite", "--threads", "1,x"),
        ("mugs.tflite", "--head", "exact,best"),
        ("mugs.tflite", "--runtime", "onnx"),
        ("compare",),
    ],
)
def test_a_command_line_that_cannot_be_measured_is_a_usage_error(
    folder: Path, words: tuple[object, ...]
) -> None:
    """The exit code is 2."""
    assert edgetl("bench", *words).exit_code == 2


def test_lists_of_values_span_a_grid(folder: Path) -> None:
    """What cannot be measured is named below the tables; the names show what differs."""
    grid = ("--threads", "1,2", "--head", "exact,softmax", "--samples", "12,20", "--labels", 9)
    done = edgetl("bench", "mugs.tflite", *SHORT, *grid)
    assert done.exit_code == 0, done.output
    for name in ("mugs.tflite, 1 thread, 12 samples", "mugs.tflite, 2 threads, 20 samples"):
        assert name in done.stdout
    assert done.stdout.count("room for 8 labels") == 2  # once per number of threads


def test_a_camera_is_timed(folder: Path) -> None:
    """The capture is a step."""
    done = edgetl("bench", "mugs.tflite", *SHORT, "--camera", "fake", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["frames"]["source"] == "fake"
    assert {timing["step"] for timing in found["results"][0]["timings"]} >= {"capture", "button to new head"}


def test_a_camera_that_ends_leaves_a_partial_result(folder: Path) -> None:
    """The exit code is 1, because the measurement failed."""
    done = edgetl("bench", "mugs.tflite", *SHORT, "--camera", "fake:red*2,end", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["partial"] is True
    assert "the result is partial" in done.stderr


@pytest.mark.parametrize(
    "words",
    [("nope.tflite",), ("mugs.tflite", "--photos", "nowhere"), ("mugs.tflite", "--camera", "/dev/video99")],
)
def test_what_is_missing_is_named(folder: Path, words: tuple[str, ...]) -> None:
    """The exit code is 1."""
    done = edgetl("bench", *words)
    assert done.exit_code == 1
    assert words[-1] in done.stderr


def test_a_model_file_named_compare_is_measured_by_its_path(folder: Path) -> None:
    """Without ./ it is the command."""
    (folder / "compare").write_bytes(TINY.read_bytes())
    assert edgetl("bench", "./compare", *SHORT).exit_code == 0


def test_ctrl_c_writes_what_was_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON is complete and marked as partial, and the exit code is that of an interrupted command."""
    real, calls = Subject.time_frame, iter(range(10))

    def stopping(self: Subject, image: Image, capture: float | None = None) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(self, image, capture)

    monkeypatch.setattr(Subject, "time_frame", stopping)
    done = edgetl("bench", "mugs.tflite", *SHORT, "--json")
    assert done.exit_code == 130
    assert json.loads(done.stdout)["partial"] is True
    assert "partial" in done.stderr


def test_a_report_is_written_beside_the_result(folder: Path) -> None:
    """An existing file is kept without --force, and refused before anything is measured."""
    words = ("mugs.tflite", *SHORT, "--report", "speed.html")
    done = edgetl("bench", *words, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["results"]
    page = Path("speed.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    again = edgetl("bench", "mugs.tflite", "--seconds", 80_000, "--report", "speed.html")
    assert again.exit_code == 1
    assert "already exists" in again.stderr
    assert edgetl("bench", *words, "--force").exit_code == 0


def test_a_profile_shows_kinds_of_ops_and_the_most_expensive_layers(folder: Path) -> None:
    """The report has a picture of them."""
    done = edgetl("bench", "mugs.tflite", *SHORT, "--threads", 1, "--profile", "--report", "layers.html")
    assert done.exit_code == 0, done.output
    for word in ("CONV_2D", "most expensive layers", "CPU time"):
        assert word in done.stdout
    assert "cut after each op" in Path("layers.html").read_text(encoding="utf-8")


@pytest.fixture
def photos(folder: Path) -> Path:
    """Return a folder of photos with three labels."""
    write_photos(folder / "photos", 6)
    return folder / "photos"


def test_accuracy_is_measured_beside_the_times_and_a_model_is_recommended(folder: Path, photos: Path) -> None:
    """The two commands of the documentation, one after the other."""
    words = ("mugs.tflite", "colors.tflite", *SHORT, "--accuracy", photos, "--shots", "2,all")
    table = edgetl("bench", *words)
    assert table.exit_code == 0, table.output
    assert "accuracy on" in table.stdout
    done = edgetl("bench", *words, "--json")
    Path("sizes.json").write_text(done.stdout, encoding="utf-8")
    accuracy = json.loads(done.stdout)["accuracy"]
    assert [shot["shots"] for shot in accuracy["models"][0]["shots"]] == [2, 0]
    found = edgetl("recommend", "sizes.json", "--max-ms", 10_000)
    assert found.exit_code == 0, found.output
    assert "recommended: " in found.stdout
    few = json.loads(edgetl("recommend", "sizes.json", "--shots", 2, "--json").stdout)
    assert few["recommended"] in ("mugs.tflite", "colors.tflite")
    assert edgetl("recommend", "sizes.json", "--chart", "sizes.svg").exit_code == 0
    assert ElementTree.parse("sizes.svg").getroot().tag.endswith("svg")
    assert "already exists" in edgetl("recommend", "sizes.json", "--chart", "sizes.svg").stderr
    none = edgetl("recommend", "sizes.json", "--max-mb", 0.001)
    assert none.exit_code == 1
    assert "the limit is 0.001" in none.stdout


def test_ctrl_c_while_accuracy_is_measured_keeps_the_times(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is partial and has no accuracy."""
    from edgetl.measuring import accuracy

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "measure_accuracy", stop)
    done = edgetl("bench", "mugs.tflite", *SHORT, "--accuracy", photos, "--json")
    assert done.exit_code == 130
    found = json.loads(done.stdout)
    assert found["partial"]
    assert found["accuracy"] is None
    assert found["results"]


def test_an_accuracy_that_cannot_be_measured_does_not_lose_the_times(folder: Path, photos: Path) -> None:
    """The softmax head of this model has room for 8 labels, the photos have more."""
    for number in range(7):
        (photos / f"label{number}").mkdir()
        for place in range(4):
            image = np.random.default_rng([number, place]).integers(0, 256, (48, 48, 3), np.uint8)
            (photos / f"label{number}" / f"{place}.jpg").write_bytes(encode_jpeg(image))
    done = edgetl("bench", "mugs.tflite", *SHORT, "--head", "softmax", "--accuracy", photos, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["partial"]
    assert "room for 8 labels" in found["error"]
    assert found["results"]


def test_photos_that_cannot_be_judged_are_refused_before_anything_is_measured(folder: Path) -> None:
    """A wrong folder must not cost the time of the measurement."""
    done = edgetl("bench", "mugs.tflite", "--accuracy", "nowhere", "--seconds", 80_000)
    assert done.exit_code == 1
    assert "nowhere" in done.stderr


def measurement(**times: list[float]) -> dict[str, Any]:
    """Return a result with the steps and times `times`."""
    return {
        "schema": "edgetl-bench",
        "version": 1,
        "partial": False,
        "notes": [],
        "machine": {"board": "Pi 4", "cpu": "A72", "architecture": "aarch64", "cores": 4},
        "frames": {"source": "noise", "width": 640, "height": 480},
        "results": [
            {
                "model": {"name": "mugs.tflite", "sha256": "0"},
                "runtime": {"name": "ai-edge-litert", "version": "2", "threads": 4, "delegate": "cpu"},
                "head": {"name": "exact", "samples": 200, "labels": 5},
                "timings": [{"step": step, "samples": samples} for step, samples in times.items()],
            }
        ],
    }


BEFORE = measurement(same=[1.0, 1.1, 1.2] * 9, slow=[1.0, 1.1, 1.2] * 9, fast=[5.0] * 9, few=[1.0] * 4)
AFTER = measurement(same=[1.2, 1.0, 1.1] * 9, slow=[2.0, 2.2, 2.4] * 9, fast=[4.0] * 9, few=[9.0] * 4)


def write(name: str, content: Any) -> str:
    """Write JSON to the working folder and return its name."""
    Path(name).write_text(json.dumps(content), encoding="utf-8")
    return name


def changed(*keys: Any, value: Any) -> dict[str, Any]:
    """Return `AFTER` with one field changed."""
    result = copy.deepcopy(AFTER)
    part: Any = result
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return result


def test_compare_shows_a_ratio_and_a_verdict_per_step(folder: Path) -> None:
    """Too few runs show nothing, whatever the ratio."""
    done = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", AFTER), "--json")
    assert done.exit_code == 0, done.output
    steps = {step["step"]: step for step in json.loads(done.stdout)["models"][0]["steps"]}
    verdicts = {"same": "can't tell", "slow": "slower", "fast": "faster", "few": "can't tell"}
    assert {name: step["verdict"] for name, step in steps.items()} == verdicts
    assert steps["slow"]["ratio"] == 2.0
    assert steps["fast"]["interval"] == [0.8, 0.8]


@pytest.mark.parametrize(("limit", "code"), [(1.1, 1), (2.5, 0)])
def test_fail_above_decides_the_exit_code(folder: Path, limit: float, code: int) -> None:
    """Only a step that is slower counts, and it is named."""
    done = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", AFTER), "--fail-above", limit)
    assert done.exit_code == code
    assert ("slow: takes 2.00 times as long" in done.stderr) == bool(code)
    assert "few: takes" not in done.stderr


@pytest.mark.parametrize(
    ("keys", "value", "word"),
    [
        (("machine", "cpu"), "A76", "A72 and A76"),
        (("frames", "source"), "photos", "noise and photos"),
        (("results", 0, "head", "samples"), 50, "200 and 50"),
        (("version",), 2, "version 2"),
        (("clock",), "cpu", "elapsed and cpu"),
    ],
)
def test_what_cannot_be_compared_is_refused_unless_anyway(
    folder: Path, keys: tuple[Any, ...], value: Any, word: str
) -> None:
    """The message names the difference."""
    words = ("bench", "compare", write("a.json", BEFORE), write("b.json", changed(*keys, value=value)))
    refused = edgetl(*words)
    assert refused.exit_code == 1
    assert word in refused.stderr
    assert edgetl(*words, "--anyway").exit_code == 0


def test_other_threads_and_a_partial_result_are_shown_not_refused(folder: Path) -> None:
    """They may be what is compared."""
    other = changed("results", 0, "runtime", "threads", value=1) | {"partial": True}
    done = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", other))
    assert done.exit_code == 0
    assert "runtime: threads 4 and 1" in done.stdout
    assert "b.json is partial" in done.stderr


def test_a_result_with_notes_makes_the_comparison_doubtful(folder: Path) -> None:
    """Drift between two commands is no difference between models; a calm machine causes no note."""
    noisy = {**AFTER, "notes": ["other programs used 90% of the CPU meanwhile"]}
    calm = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", AFTER))
    doubtful = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", noisy))
    assert calm.stderr == ""
    assert "b.json: other programs used 90%" in doubtful.stderr
    assert "not steady" in doubtful.stderr


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("no json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a result"),
        ('{"results": []}', "not a result"),
        ('{"timings": [], "machine": {}}', "older edgetl"),
        (json.dumps({**BEFORE, "results": []}), "no model was measured"),
        (json.dumps({**BEFORE, "results": [{}]}), "'model' is missing"),
        (json.dumps(measurement(backbone=[])), "no runs"),
        (json.dumps(measurement(backbone=[1.0, 0.0])), "0.0"),
        (json.dumps(measurement(backbone=[1.0, float("nan")])), "nan"),
        (json.dumps({**BEFORE, "machine": 3}), "machine"),
    ],
)
def test_a_file_that_is_not_a_measurement_is_refused(folder: Path, content: str, word: str) -> None:
    """The message names the file and the next step."""
    Path("b.json").write_text(content, encoding="utf-8")
    done = edgetl("bench", "compare", write("a.json", BEFORE), "b.json")
    assert done.exit_code == 1
    assert word in done.stderr
    assert "b.json" in done.stderr
    assert "edgetl bench MODEL --json" in done.stderr


def test_the_models_of_one_result_are_compared_with_the_first(folder: Path) -> None:
    """One model alone cannot be."""
    both = {**BEFORE, "results": [*BEFORE["results"], *AFTER["results"]]}
    done = edgetl("bench", "compare", write("a.json", both), "--json")
    assert [len(model["steps"]) for model in json.loads(done.stdout)["models"]] == [4]
    alone = edgetl("bench", "compare", write("b.json", BEFORE))
    assert alone.exit_code == 1
    assert "one model" in alone.stderr


def test_the_heads_of_one_result_are_compared(folder: Path) -> None:
    """In one file, another head is what is compared, not an obstacle."""
    other = changed("results", 0, "head", "samples", value=1000)["results"][0]
    both = {**BEFORE, "results": [*BEFORE["results"], other]}
    done = edgetl("bench", "compare", write("a.json", both))
    assert done.exit_code == 0, done.output
    assert "A mugs.tflite, 200 samples, B mugs.tflite, 1000 samples" in done.stdout
    assert "head: samples 200 and 1000" in done.stdout


def test_combinations_of_two_files_are_paired_by_their_threads_and_heads(folder: Path) -> None:
    """The order in the files does not matter; what the other file lacks is left out."""
    one, two = (changed("results", 0, "runtime", "threads", value=count)["results"][0] for count in (1, 2))
    three = changed("results", 0, "runtime", "threads", value=3)["results"][0]
    write("a.json", {**BEFORE, "results": [one, two]})
    write("b.json", {**AFTER, "results": [three, two, one]})
    done = edgetl("bench", "compare", "a.json", "b.json", "--json")
    pairs = [(model["before"], model["after"]) for model in json.loads(done.stdout)["models"]]
    assert pairs == [("mugs.tflite, 1 thread",) * 2, ("mugs.tflite, 2 threads",) * 2]


def test_models_are_paired_by_name(folder: Path) -> None:
    """Files without a common model are refused."""
    other = copy.deepcopy(AFTER["results"][0])
    other["model"]["name"] = "other.tflite"
    two = {**AFTER, "results": [other, *AFTER["results"]]}
    done = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", two), "--json")
    assert [model["after"] for model in json.loads(done.stdout)["models"]] == ["mugs.tflite"]
    none = edgetl(
        "bench", "compare", write("a.json", BEFORE), write("c.json", {**AFTER, "results": [other, other]})
    )
    assert none.exit_code == 1
    assert "no model in common" in none.stderr


def test_results_without_a_common_step_are_refused(folder: Path) -> None:
    """There is nothing to compare."""
    done = edgetl("bench", "compare", write("a.json", BEFORE), write("b.json", measurement(other=[1.0] * 9)))
    assert done.exit_code == 1
    assert "no step in common" in done.stderr


def test_what_bench_writes_can_be_compared(folder: Path) -> None:
    """The measurement of today is read by the comparison of today."""
    Path("a.json").write_text(edgetl("bench", "mugs.tflite", *SHORT, "--json").stdout, encoding="utf-8")
    done = edgetl("bench", "compare", "a.json", "a.json")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("can't tell") == 9 + 1
    assert done.stdout.endswith('with fewer than 5 runs of a step, its verdict is "can\'t tell"\n')
