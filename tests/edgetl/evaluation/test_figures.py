"""Figures are shown with their number of photos, their interval, and what was not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.heads.intervals import wilson
from edgetl.evaluation.figures import Mistake, similar_label, tabulate
from edgetl.evaluation.page import render


def test_each_figure_has_its_number_of_photos_and_interval() -> None:
    """This holds for all photos and per label."""
    result = tabulate(["a", "a", "b", "b"], ["a", "b", "b", "b"], known=["a", "b"])
    fields = json.loads(json.dumps(result.to_dict()))
    assert (fields["photos"], fields["correct"], fields["accuracy"]) == (4, 3, 0.75)
    assert fields["interval"] == list(wilson(3, 4))
    assert fields["per_label"]["a"] == {"photos": 2, "correct": 1, "interval": list(wilson(1, 2))}
    assert fields["confused"] == [["a", "b", 1]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Daisy", "daisy"),
        ("rose", "roses"),
        ("sun-flower", "sunflowers"),
        ("tulipps", "tulips"),
        ("oak", None),
    ],
)
def test_a_similar_known_label_is_suggested(given: str, expected: str | None) -> None:
    """It differs in case, number, punctuation, or by a typing mistake."""
    assert similar_label(given, ["daisy", "roses", "sunflowers", "tulips"]) == expected


def test_unknown_labels_are_named_with_the_accuracy_on_the_others() -> None:
    """Predictions for their photos are always wrong."""
    result = tabulate(["Daisy"] * 3 + ["roses"] * 4, ["daisy"] * 3 + ["roses"] * 4, known=["daisy", "roses"])
    assert result.not_known == {"Daisy": "daisy"}
    assert result.on_known == (4, 4)
    assert any(
        "Daisy (did you mean daisy?)" in line and "3 photos can only be wrong" in line
        for line in result.warnings
    )


def test_the_page_is_self_contained_and_escapes_text_from_outside(tmp_path: Path) -> None:
    """Labels and file names may contain markup; a missing photo only removes its picture."""
    from dataclasses import replace

    label = "<img src=x onerror=alert(1)>"
    result = replace(
        tabulate([label, "b"], ["b", "b"], known=[label, "b"]),
        root=tmp_path,
        mistakes=(Mistake(tmp_path / "<b>.jpg", label, "b", 0.9),),
    )
    page = render(result, "mugs.tflite")
    assert "<img src=x" not in page
    assert "&lt;b&gt;.jpg" in page
    assert "http://" not in page
    assert "https://" not in page
