"""The recommendation of a model from a measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from device.errors import MeasurementError
from edgetl.measuring.recommending import Limits, recommend

PHOTOS = 200


def measured(name: str, ms: float, mb: float, right: int, head: str = "exact") -> dict[str, Any]:
    """Return a result and its accuracy: `right` of 200 photos, the first ones."""
    result = {
        "model": {"name": f"{name}.tflite", "sha256": name, "bytes": round(1e6 * mb)},
        "runtime": {"name": "ai-edge-litert", "version": "2.3.0", "threads": 2, "delegate": "cpu"},
        "head": {"name": head, "samples": 200, "labels": 5},
        "footprint": {"peak_ram_bytes": 80_000_000},
        "timings": [{"step": "frame to prediction", "samples": [ms], "p95": ms}],
    }
    share = right / PHOTOS
    scores = [1] * right + [0] * (PHOTOS - right)
    shot = {
        "shots": 0,
        "draws": 1,
        "accuracy": share,
        "interval": [share - 0.05, share + 0.05],
        "right": scores,
    }
    five = {**shot, "shots": 5, "draws": 5, "accuracy": share / 2, "right": [2 * score for score in scores]}
    return {"result": result, "model": {"name": name, "sha256": name, "head": head, "shots": [five, shot]}}


def write(path: Path, *entries: dict[str, Any], **fields: Any) -> Path:
    """Write a measurement."""
    accuracy = {"judged": PHOTOS, "notes": [], "models": [entry["model"] for entry in entries]}
    content = {
        "schema": "edgetl-bench",
        "version": 1,
        "notes": [],
        "machine": {},
        "frames": {},
        "accuracy": accuracy,
        "results": [entry["result"] for entry in entries],
    }
    path.write_text(json.dumps({**content, **fields}), encoding="utf-8")
    return path


@pytest.fixture
def sizes(tmp_path: Path) -> Path:
    """Return a measurement of three models."""
    return write(
        tmp_path / "sizes.json",
        measured("small", 5, 1, 150),
        measured("medium", 20, 4, 181),
        measured("large", 60, 12, 182),
    )


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(), "medium.tflite"),  # a hundredth of accuracy is not worth 40 ms
        (Limits(tolerance=0), "large.tflite"),
        (Limits(tolerance=0, ms=50), "medium.tflite"),
        (Limits(mb=2), "small.tflite"),
        (Limits(tolerance=0.5), "small.tflite"),
        (Limits(accuracy=0.908), "large.tflite"),
        (Limits(ms=50, mb=8, shots=5), "medium.tflite"),
    ],
)
def test_the_fastest_of_the_most_accurate_within_the_limits_is_recommended(
    sizes: Path, limits: Limits, name: str
) -> None:
    """The tolerance decides what counts as equally accurate."""
    assert recommend(sizes, limits).name == name


def test_the_reason_names_what_was_given_up_and_what_the_photos_do_not_show(sizes: Path) -> None:
    """One photo of 200 is no difference; 32 are."""
    reason = recommend(sizes, Limits(ms=50)).reason
    assert "medium.tflite: 90.5% with all photos" in reason
    assert "large.tflite has 91.0%, but 60 ms, the limit is 50" in reason
    # the difference to small.tflite is clear, and large.tflite misses a limit
    assert "not show" not in reason
    assert "200 photos do not show reliably" in recommend(sizes).reason


def test_nothing_within_the_limits_is_an_answer_with_the_reasons(sizes: Path) -> None:
    """Each combination is listed with what it misses."""
    found = recommend(sizes, Limits(ms=1, ram_mb=50))
    assert found.name is None
    assert all(len(candidate.misses) == 2 for candidate in found.candidates)
    assert "5 ms, the limit is 1 and 80 MB of RAM, the limit is 50" in found.reason


def test_each_head_has_its_own_accuracy(tmp_path: Path) -> None:
    """The name shows which."""
    path = write(tmp_path / "a.json", measured("mugs", 5, 1, 150), measured("mugs", 5, 1, 170, head="lda"))
    assert recommend(path).name == "mugs.tflite, lda head"


def test_the_number_of_samples_is_no_choice(tmp_path: Path) -> None:
    """The head that has learned most counts."""
    few, many = measured("mugs", 5, 1, 150), measured("mugs", 8, 1, 150)
    few["result"]["head"]["samples"] = 50
    found = recommend(write(tmp_path / "a.json", few, many))
    assert [(candidate.name, candidate.ms) for candidate in found.candidates] == [("mugs.tflite", 8)]


def test_ram_that_was_not_measured_misses_its_limit(tmp_path: Path) -> None:
    """No figure is not a small figure."""
    entry = measured("mugs", 5, 1, 150)
    entry["result"]["footprint"] = None
    assert recommend(write(tmp_path / "a.json", entry), Limits(ram_mb=500)).name is None


def test_notes_of_the_measurement_are_passed_on(tmp_path: Path) -> None:
    """A busy machine makes its times doubtful."""
    path = write(tmp_path / "a.json", measured("mugs", 5, 1, 150), notes=["busy"], partial=True)
    assert recommend(path).notes == ("busy", "the measurement is partial")


@pytest.mark.parametrize(
    ("fields", "shots", "word"),
    [
        ({"accuracy": None}, 0, "contains no accuracy; measure with: edgetl bench"),
        ({}, 3, "with 3 photos per label, only with all, 5; choose one of these with --shots"),
        ({"accuracy": {"models": 3}}, 0, "damaged"),
        ({"accuracy": {"notes": []}}, 0, "damaged"),
        ({"schema": "other"}, 0, "not a result"),
    ],
)
def test_a_measurement_that_cannot_answer_is_refused(
    tmp_path: Path, fields: dict[str, Any], shots: int, word: str
) -> None:
    """The message contains the next step."""
    path = write(tmp_path / "a.json", measured("mugs", 5, 1, 150), **fields)
    with pytest.raises(MeasurementError, match=word):
        recommend(path, Limits(shots=shots))
