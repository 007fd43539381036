"""The report is a self-contained file, and the learning curve can be a separate one."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgetl.demo.curve import always_share, standalone_curve
from edgetl.demo.report import render
from edgetl.demo.results import FieldResult
from tests.edgetl.demo.fake import demo_result, field_result, step

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Balance(HTMLParser):
    """A parser that checks that every opened tag is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an opened tag."""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore a tag that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Expect the tag that was opened last."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with the photo that the made-up result shows."""
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "b.png"), np.full((30, 30), 90, np.uint8))
    return tmp_path


def _parsed(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    balance.close()
    return balance


def test_the_page_is_well_formed_and_self_contained(photos: Path) -> None:
    """It has no address, no script and no other file, and every tag is closed."""
    page = render(demo_result(), photos)
    assert _parsed(page).open == []
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", page)
    assert set(re.findall(r'src="([^,"]+),', page)) == {"data:image/jpeg;base64"}
    assert "$" not in page


def test_the_page_shows_the_figures_and_the_license(photos: Path) -> None:
    """It shows the accuracy before and after, the runtime, and that TensorFlow was not imported."""
    text = " ".join(_parsed(render(demo_result(), photos, command="edgetl demo --seed 4")).text.split())
    for expected in (
        "at first its accuracy on them is 32 %",
        "After 40 cells its accuracy is 90 %",
        "ai-edge-litert 2.3.0",
        "TensorFlow was not imported",
        "CC BY-NC-SA 4.0",
        "edgetl demo --seed 4",
        "4.8 MB",
        "own accuracy is 87 %",
        "p50 4.0 ms, p95 5.0 ms",
        "cosine mean 0.98",
    ):
        assert expected in text


def test_the_page_shows_the_outcome_of_fine_tuning(photos: Path) -> None:
    """It distinguishes fine-tuned, tried without success, and not requested."""
    texts = []
    for blocks, kept in ((2, True), (2, False), (0, False)):
        result = demo_result()
        result["host"]["last_blocks"], result["host"]["fine_tuned"] = blocks, kept
        texts.append(_parsed(render(result, photos)).text)
    assert "its last 2 blocks fine-tuned" in texts[0]
    assert "fine-tuning its last 2 blocks did not help" in texts[1]
    assert "frozen; a head trained" in texts[2]


def test_names_are_escaped(photos: Path) -> None:
    """Markup in the name of a label or a processor is shown as text."""
    field = field_result(labels=('<b onload="x">', "b & c"))
    page = render(demo_result(field), photos)
    assert _parsed(page).open == []
    assert "<b onload" not in page
    assert "&lt;b onload=&quot;x&quot;&gt;" in page
    assert "A &lt;fast&gt; &amp; cheap one" in page


def test_the_page_is_well_formed_without_other_orders(photos: Path) -> None:
    """A demo with one step, or with too few cells for other orders, still has a report."""
    field = field_result()
    field["spread"], field["steps"] = [], [step(0, 0.05), step(3, 0.5)]
    assert _parsed(render(demo_result(field), photos)).open == []


def test_the_curve_is_an_svg_file_without_photos() -> None:
    """It is well-formed SVG for light and dark mode, and contains no photo."""
    picture = standalone_curve(field_result())
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in picture
    assert "<image" not in picture
    assert "base64" not in picture


@pytest.mark.parametrize("worst", [0.0, 0.05, 0.32, 1.0])
def test_every_point_of_the_curve_is_inside_the_picture(worst: float) -> None:
    """The vertical axis reaches even the lowest accuracy."""
    field: FieldResult = field_result()
    field["steps"] = [step(0, worst), step(20, 0.79)]
    picture = standalone_curve(field)
    box = [float(part) for part in re.search(r'viewBox="([^"]+)"', picture)[1].split()]  # type: ignore[index]
    centers = re.findall(r'<circle [^>]*cx="([\d.-]+)" cy="([\d.-]+)"', picture)
    assert len(centers) == 4
    assert all(0 <= float(x) <= box[0] + box[2] and 0 <= float(y) <= box[1] + box[3] for x, y in centers)


def test_the_reference_line_is_the_most_frequent_label_of_the_field() -> None:
    """Its accuracy is the share of that label."""
    assert always_share(field_result()) == ("intact", 0.75)
