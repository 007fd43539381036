"""The pictures of README and the documents: light and dark, readable at 800 pixels, small, and each is used."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgetl import charts

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
DRAWN = sorted([*IMAGES.glob("*.svg"), *(ROOT / "benchmarks" / "results").glob("*.svg")])
SMALLEST = 12  # pixels of text where a picture is 800 pixels wide
LARGEST = 400_000  # bytes


def font_sizes(text: str) -> list[float]:
    """Return the sizes of text in an SVG, in its own units."""
    found = re.findall(r"""font-size[:=]\s*["']?([\d.]+)|font:\s*([\d.]+)px""", text)
    return [float(size or short) for size, short in found]


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.name)
def test_a_drawn_picture_is_readable_at_800_pixels_in_light_and_dark(path: Path) -> None:
    """It has colors for both, its text scales to at least 12 pixels, and it loads nothing from elsewhere."""
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    width = float(root.attrib["viewBox"].split()[2])
    sizes = font_sizes(text)
    assert sizes
    assert min(sizes) * 800 / width >= SMALLEST
    assert "prefers-color-scheme" in text
    assert not re.findall(r"(?:href|src)=|url\((?!#)", text)


@pytest.mark.parametrize("path", sorted(IMAGES.iterdir()), ids=lambda path: path.name)
def test_a_picture_is_small_and_used(path: Path) -> None:
    """A page shows it."""
    assert path.stat().st_size <= LARGEST
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"images/{path.name}" in page.read_text(encoding="utf-8") for page in pages), path.name


def test_a_chart_becomes_a_file_with_a_title_and_both_color_schemes() -> None:
    """Markup in the title is text, and the card surrounds chart and title."""
    chart = "\n".join([charts.opening(100, 50, 'a "chart"'), '<path d="M0 0"/>', "</svg>"])
    root = ET.fromstring(charts.standalone(chart, title="1 < 2", notes=("from a test",)))
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert texts == ["1 < 2", "from a test"]
    left, top, width, height = (float(part) for part in root.attrib["viewBox"].split())
    assert max(left, top) < 0
    assert (left + width > 100, top + height > 50) == (True, True)
    assert charts.DARK in ET.tostring(root, encoding="unicode")


def test_what_is_not_a_chart_is_refused() -> None:
    """Instead of writing a file without colors."""
    with pytest.raises(ValueError, match=r"starts with the tag of charts\.opening"):
        charts.standalone("<svg></svg>")
