"""The report is one file that needs nothing else, and the picture can stand alone."""

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
    """Checks that every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an opened tag."""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Expect the tag that was opened last."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect what is read."""
        self.text += data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with the one photo that the made-up result shows."""
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "b.png"), np.full((30, 30), 90, np.uint8))
    return tmp_path


def _parsed(page: str) -> Balance:
    balance = Balance()
    balance.feed(page)
    balance.close()
    return balance


def test_the_page_is_well_formed_and_self_contained(photos: Path) -> None:
    """No address, no script, no file beside it; every tag is closed."""
    page = render(demo_result(), photos)
    assert _parsed(page).open == []
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", page)
    assert set(re.findall(r'src="([^,"]+),', page)) == {"data:image/jpeg;base64"}
    assert "$" not in page


def test_the_page_tells_the_figures_and_the_license(photos: Path) -> None:
    """Accuracy before and after, the runtime, that TensorFlow was not there, and whose the photos are."""
    text = " ".join(_parsed(render(demo_result(), photos, command="edgetl demo --seed 4")).text.split())
    for told in (
        "32 % right",
        "After 40 cells it gets 90 % right",
        "ai-edge-litert 2.3.0",
        "TensorFlow was not imported",
        "CC BY-NC-SA 4.0",
        "edgetl demo --seed 4",
        "4.8 MB",
        "the device says 87 %",
        "p50 4.0 ms, p95 5.0 ms",
        "cosine mean 0.98",
    ):
        assert told in text


def test_the_page_says_what_became_of_fine_tuning(photos: Path) -> None:
    """Fine-tuned, tried in vain, or never asked for: each is told."""
    told = []
    for blocks, kept in ((2, True), (2, False), (0, False)):
        result = demo_result()
        result["host"]["last_blocks"], result["host"]["fine_tuned"] = blocks, kept
        told.append(_parsed(render(result, photos)).text)
    assert "its last 2 blocks fine-tuned" in told[0]
    assert "fine-tuning its last 2 blocks did not help" in told[1]
    assert "frozen; a head trained" in told[2]


def test_names_are_escaped(photos: Path) -> None:
    """A label or a processor with markup in its name is shown, not obeyed."""
    field = field_result(labels=('<b onload="x">', "b & c"))
    page = render(demo_result(field), photos)
    assert _parsed(page).open == []
    assert "<b onload" not in page
    assert "&lt;b onload=&quot;x&quot;&gt;" in page
    assert "A &lt;fast&gt; &amp; cheap one" in page


def test_the_page_keeps_its_form_without_other_orders_and_with_one_step(photos: Path) -> None:
    """A demo with a single step, or so few cells that nothing lies between, still gives a page."""
    field = field_result()
    field["spread"], field["steps"] = [], [step(0, 0.05), step(3, 0.5)]
    assert _parsed(render(demo_result(field), photos)).open == []


def test_the_picture_stands_alone_without_photos() -> None:
    """It is well-formed SVG in light and dark, and holds no picture of a cell."""
    picture = standalone_curve(field_result())
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in picture
    assert "<image" not in picture
    assert "base64" not in picture


@pytest.mark.parametrize("worst", [0.0, 0.05, 0.32, 1.0])
def test_every_point_of_the_curve_lies_on_the_paper(worst: float) -> None:
    """However bad the first answer is, the axis reaches it."""
    field: FieldResult = field_result()
    field["steps"] = [step(0, worst), step(20, 0.79)]
    picture = standalone_curve(field)
    box = [float(part) for part in re.search(r'viewBox="([^"]+)"', picture)[1].split()]  # type: ignore[index]
    centers = re.findall(r'<circle [^>]*cx="([\d.-]+)" cy="([\d.-]+)"', picture)
    assert len(centers) == 4
    assert all(0 <= float(x) <= box[0] + box[2] and 0 <= float(y) <= box[1] + box[3] for x, y in centers)


def test_the_reference_line_is_the_commonest_label_of_the_field() -> None:
    """Always answering it is right as often as it occurs."""
    assert always_share(field_result()) == ("intact", 0.75)
