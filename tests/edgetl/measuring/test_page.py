"""The page of a measurement, and its pictures."""

from __future__ import annotations

import copy
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from device.system.bench import Plan, bench
from device.system.grid import Grid
from edgetl.measuring.axes import Axis
from edgetl.measuring.page import render
from edgetl.measuring.pictures import draw_accuracy, draw_growth, draw_stages
from tests.tiny import TINY, TINY_TAUGHT

ACCURACY = {
    "folder": "photos",
    "labels": 3,
    "taught": 27,
    "judged": 9,
    "views": 9,
    "notes": ["these photos trained <it>"],
}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """Return a measurement of two models with two numbers of samples, and an invented accuracy."""
    plan = Plan(4, lessons=2, warm_up=1, starts=0, energy=False)
    found = bench(
        [TINY, TINY_TAUGHT], plan=plan, grid=Grid(samples=(12, 40), labels=3, threads=(1,))
    ).to_dict()
    shots = [{"shots": count, "accuracy": 0.5 + count / 20, "interval": [0.2, 0.9]} for count in (1, 5)]
    entries = {entry["model"]["sha256"]: entry["model"]["name"] for entry in found["results"]}
    models = [{"name": name, "sha256": sha, "head": "exact", "shots": shots} for sha, name in entries.items()]
    return {**found, "accuracy": {**ACCURACY, "models": models}}


def pictures(page: str) -> list[ElementTree.Element]:
    """Return the pictures of a page, parsed."""
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_the_page_contains_all_pictures_and_no_reference(result: dict[str, Any]) -> None:
    """It can be mailed as one file, and has colors for light and dark screens."""
    page = render(result)
    assert len(pictures(page)) == 5
    assert not re.search(r"(src|href)=|https?://|url\(", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    for picture in pictures(page):
        assert picture.attrib["viewBox"].startswith("0 0 800 ")
        assert picture.attrib["aria-label"]


def test_everything_that_is_drawn_is_inside_the_picture(result: dict[str, Any]) -> None:
    """Nothing is cut off at the left or right edge."""
    for picture in pictures(render(result)):
        for element in picture.iter():
            for name in ("x", "cx"):
                assert 0 <= float(element.attrib.get(name, 0)) <= 800


def test_text_from_outside_is_escaped(result: dict[str, Any]) -> None:
    """A file name may contain markup."""
    evil = copy.deepcopy(result)
    for entry in evil["results"]:
        entry["model"]["name"] = "<script>alert(1)</script>"
    evil["unavailable"] = [
        {"model": "<i>", "runtime": "r", "delegate": "cpu", "head": "exact", "samples": 1, "reason": "<u>"}
    ]
    page = render({**evil, "partial": True, "error": "<b>"})
    assert not re.search(r"<(script|i|u|b|it)>", page)
    assert "This result is partial" in page


def test_a_measurement_without_lessons_and_accuracy_has_fewer_pictures(result: dict[str, Any]) -> None:
    """What was not measured is not drawn."""
    less = copy.deepcopy(result)
    less["accuracy"] = None
    less["results"] = less["results"][:1]
    less["results"][0]["timings"] = [t for t in less["results"][0]["timings"] if "lesson" not in t["step"]]
    page = render(less)
    assert len(pictures(page)) == 2
    assert "Stages of a lesson" not in page


def test_the_bars_add_up_to_the_medians(result: dict[str, Any]) -> None:
    """Each stage is as long as its share."""
    entry = copy.deepcopy(result["results"][0])
    times = {"preprocessing": 1.0, "backbone": 6.0, "head, predict": 3.0}
    entry["timings"] = [{"step": step, "p50": time} for step, time in times.items()]
    picture = ElementTree.fromstring(draw_stages(["mugs"], [entry]))
    bars = [float(bar.attrib["width"]) for bar in picture.iter("rect") if bar.attrib["height"] == "16"]
    assert [round(10 * bar / sum(bars)) for bar in bars] == [1, 6, 3]


def test_accuracy_is_drawn_once_for_all_numbers_of_samples(result: dict[str, Any]) -> None:
    """They share it."""
    names = ["a, 12 samples", "b, 12 samples", "a, 40 samples", "b, 40 samples"]
    picture = draw_accuracy(names, result["results"], result["accuracy"])
    assert picture.count("<circle") == 2 * 2  # two models, two numbers of photos
    assert "12 samples" not in picture


def test_equal_accuracies_share_one_text(result: dict[str, Any]) -> None:
    """Numbers of photos that would be drawn over each other cannot be read."""
    accuracy = copy.deepcopy(result["accuracy"])
    for model in accuracy["models"]:
        for number, shot in enumerate(model["shots"], 1):
            shot.update(accuracy=1.0, shots=number)
    picture = draw_accuracy(["a", "b", "a", "b"], result["results"], accuracy)
    assert picture.count(">1, 2</text>") == 2


def test_growth_needs_two_numbers_of_samples(result: dict[str, Any]) -> None:
    """One point is no line."""
    assert draw_growth(["a, 12 samples", "a, 40 samples"], result["results"][::2]).count("<circle") == 2
    assert draw_growth(["a, 12 samples"], result["results"][:1]) == ""


def test_an_axis_has_round_values_inside() -> None:
    """Both kinds."""
    narrow = Axis.of(0.32, 0.34, logarithmic=True)
    assert len(narrow.ticks()) == 2
    for axis in (
        Axis.of(3, 700, logarithmic=True),
        Axis.of(0, 0.37),
        Axis.of(5, 5, logarithmic=True),
        narrow,
    ):
        ticks = axis.ticks()
        assert all(axis.low <= tick <= axis.high for tick in ticks)
        assert 1 <= len(ticks) <= 10
        places = [axis.place(tick) for tick in ticks]
        assert places == sorted(places)
