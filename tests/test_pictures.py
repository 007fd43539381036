"""The pictures of README and the documents: light and dark, readable at 800 pixels, small, and each is used."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgetl import charts
from scripts import pictures, png, terminal

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


def test_a_terminal_shows_what_was_not_erased() -> None:
    """A progress bar that is drawn again and removed leaves nothing behind."""
    progress = "\x1b[?25l\r\x1b[2K10 %\r\x1b[2K100 %\r\n\x1b[?25h\r\x1b[1A\x1b[2Ksaved\r\nnext\r\n"
    assert terminal.final_screen(progress) == "saved\nnext"
    table = "first\r\n second\r\x1b[2K\x1b[1A\x1b[2Kfirst again\r\n second again\r\n"
    assert terminal.final_screen(table) == "first again\n second again"


def test_a_terminal_picture_contains_the_text_in_two_color_schemes() -> None:
    """Markup is text, and a red word has the red of each scheme."""
    drawn = terminal.to_svg("\x1b[1m$ edgetl\x1b[0m <status>\n\x1b[31mred\x1b[0m", "a label")
    root = ET.fromstring(drawn)
    shown = " ".join(node.text or "" for node in root.iter() if node.tag.endswith("text"))
    assert shown.replace("\xa0", " ").split() == ["$", "edgetl", "<status>", "red"]
    light, dark = drawn.split("prefers-color-scheme: dark")
    assert ("#cf222e" in light, "#ff7b72" in dark) == (True, True)
    assert root.attrib["aria-label"] == "a label"


def test_a_command_in_a_terminal_prints_its_colors_and_a_failure_is_raised(tmp_path: Path) -> None:
    """The commands of the pictures must not fail silently."""
    with pytest.raises(RuntimeError, match=r"exit code 1.*there is no model file"):
        terminal.run("edgetl status nowhere.tflite", tmp_path)


def test_a_small_palette_keeps_a_picture_of_few_colors_as_it_is() -> None:
    """And the file is not larger than before."""
    image = np.full((64, 64, 3), 255, np.uint8)
    image[8:40, 8:40] = (30, 120, 200)
    before = bytes(cv2.imencode(".png", image)[1])
    after = png.shrink(before)
    assert len(after) <= len(before)
    assert np.array_equal(cv2.imdecode(np.frombuffer(after, np.uint8), cv2.IMREAD_COLOR), image)


def test_pictures_lists_what_it_makes_and_refuses_other_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind is in the table of its help; a wrong name makes nothing."""
    listed = re.findall(r"^([a-z]+) +\S", pictures.__doc__ or "", re.MULTILINE)
    assert set(pictures.KINDS) <= set(listed)
    monkeypatch.setattr("sys.argv", ["pictures", "terminal", "movies"])
    with pytest.raises(SystemExit):
        pictures.main()
    assert "there are no pictures named movies; there are terminal, page" in capsys.readouterr().err


def test_dithering_keeps_a_soft_shadow_soft() -> None:
    """With 8 colors, the mean of each part of a gradient stays near the original, which steps would not."""
    noise = np.random.default_rng(0).integers(-3, 4, (256, 64, 1))
    ramp = np.clip(np.arange(256)[:, None, None] + noise, 0, 255).astype(np.uint8).repeat(3, axis=2)
    small = png.shrink(bytes(cv2.imencode(".png", ramp)[1]), colors=8, dither=True)
    found = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR)
    assert len(np.unique(found)) <= 8
    parts = [image.reshape(16, -1).mean(axis=1) for image in (ramp, found)]
    assert np.abs(parts[0] - parts[1])[2:-2].max() < 3
