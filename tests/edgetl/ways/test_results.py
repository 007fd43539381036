"""Which way is recommended, and how the comparison is shown: without training."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgetl.commands.ways import _drawn
from edgetl.ways import WayComparison, WayResult
from edgetl.ways.page import render
from edgetl.ways.picture import standalone_picture
from edgetl.ways.results import mcnemar

TRUTH = ("cup",) * 60 + ("<pen>",) * 40


def way(name: str, correct: int, note: str = "") -> WayResult:
    """Return a way that recognizes the first photos."""
    predicted = tuple(label if place < correct else "other" for place, label in enumerate(TRUTH))
    return WayResult(name, TRUTH, predicted, 100.0, 90.0, 4_300_000, 5, note)


def comparison(*ways: WayResult, partial: bool = False) -> WayComparison:
    """Return a comparison of some ways."""
    return WayComparison(Path("out"), "validation", {"training": 400, "validation": 100}, ways, partial)


@pytest.mark.parametrize(
    ("counts", "best"),
    [
        ({"frozen": 90, "blocks": 91, "all": 95}, "all"),
        ({"scratch": 40, "frozen": 90, "all": 90}, "frozen"),
        ({"scratch": 91, "blocks": 91}, "blocks"),
        ({}, None),
    ],
)
def test_the_way_with_the_most_photos_is_recommended(counts: dict[str, int], best: str | None) -> None:
    """Of equally good ones the one that trains least."""
    assert comparison(*(way(name, count) for name, count in counts.items())).recommended == best


def test_the_reason_has_the_photos_that_changed_and_their_chance() -> None:
    """Five photos more, none less: one in sixteen by chance; ten more: one in 512."""
    reason = comparison(way("frozen", 90), way("all", 95)).reason
    assert "95 of 100" in reason
    assert "5 that frozen does not" in reason
    assert "p = 0.062), so the gain may be chance" in reason
    assert "hardly chance" in comparison(way("frozen", 85), way("all", 95)).reason
    assert "least training" in comparison(way("frozen", 90), way("all", 90)).reason
    assert "no other way" in comparison(way("frozen", 90)).reason


def test_mcnemar_equals_the_binomial_test() -> None:
    """Of scipy."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed: pip install scipy")
    for first, second in ((0, 0), (1, 0), (7, 2), (12, 12), (30, 11)):
        expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert mcnemar(first, second) == pytest.approx(expected)


def test_the_picture_is_valid_and_has_light_and_dark_colors() -> None:
    """With a way that was not trained, and with none."""
    untrained = WayResult("scratch", (), note="not trained: interrupted")
    for shown in (comparison(untrained, way("frozen", 90), way("all", 95)), comparison(untrained)):
        picture = standalone_picture(shown)
        ET.fromstring(picture)
        assert "prefers-color-scheme: dark" in picture
        assert "not trained" in picture
    circles = standalone_picture(comparison(way("frozen", 0), way("all", 100))).split("<circle")[1:]
    places = [float(circle.split('cx="')[1].split('"')[0]) for circle in circles]
    assert places[0] < places[1] <= 860 - 150


def test_the_page_escapes_labels_and_loads_nothing() -> None:
    """Each way has its recall per label; a partial comparison is marked."""
    page = render(comparison(way("frozen", 90, "note"), partial=True), "<photos>")
    assert "<pen>" not in page
    assert "&lt;pen&gt;" in page
    assert "Partial" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "75%" in page  # 30 of 40 pens


def test_the_table_for_the_terminal_has_every_figure() -> None:
    """Accuracy, interval, balanced accuracy, epochs, time, size, recall per label, and what is recommended."""
    text = _drawn(
        comparison(WayResult("scratch", (), note="not trained: x"), way("frozen", 90), way("all", 95))
    )
    for figure in (
        "95.0%",
        "89% to 98%",
        "93.8%",
        "90 s",
        "4.3 MB",
        "<pen>",
        "88%",
        "Recommended: all",
        "not trained: x",
    ):
        assert figure in text, (figure, text)
    assert "so far" in _drawn(comparison(way("frozen", 90), partial=True))
