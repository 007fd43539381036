"""The report of an evaluation as one self-contained HTML file: figures, confusion matrix, worst mistakes."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from html import escape as escape_markup
from pathlib import Path

from device.errors import PhotoError
from device.files import shown
from device.heads.intervals import wilson
from device.images import read_photo, thumbnail
from device.printable import printable

from .figures import Evaluation, Mistake

MISTAKES = 24
_DENSE = 20  # labels from which the cells of the matrix are smaller
_SIDE = 160  # pixels of a mistake's picture
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --good: 46 125 50; --bad: 198 40 40 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d; --good: 86 190 100; --bad: 255 110 100 }
}
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere }
.figure { font-size: 1.4rem; margin: .2rem 0 } .scroll { overflow-x: auto }
table { border-collapse: collapse } th { font-weight: 600; text-align: left }
.labels td, .labels th { padding: .15rem .9rem .15rem 0; border-bottom: 1px solid var(--line) }
.labels td, .labels th + th { text-align: right; white-space: nowrap }
.matrix td { min-width: 1.9rem; height: 1.7rem; text-align: center; font-size: .8rem; border: 1px solid var(--line) }
.matrix th { font-size: .8rem; padding: .1rem .5rem; white-space: nowrap; max-width: 16rem; overflow: hidden;
  text-overflow: ellipsis }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); padding: .5rem .1rem; max-height: 16rem }
.matrix tbody th { text-align: right }
.dense td { min-width: 1.15rem; height: 1.15rem; padding: 0; font-size: .65rem }
.dense th { font-size: .65rem; max-width: 12rem }
.mistakes { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 160px; font-size: .85rem }
figure img { display: block; width: 160px; height: 160px; object-fit: contain; background: var(--line) }
"""


def render(result: Evaluation, model: str) -> str:
    """Return the page.

    Args:
        result: The evaluation.
        model: The model's name, for the title.

    Returns:
        HTML without any reference to another file; thumbnails of the worst mistakes are embedded.
    """
    title = escape(f"{shown(Path(model).name)} on {shown(result.root or 'photos')}")
    parts = [*_figures(result), *_label_table(result), *_matrix(result), *_mistakes(result)]
    return html_page(title, _STYLE, parts, allowed="img-src data:; ")


def html_page(title: str, style: str, parts: Iterable[str], *, allowed: str = "") -> str:
    """Return a page that contains everything it shows and runs no script.

    Args:
        title: The title and first heading, escaped.
        style: The style sheet.
        parts: HTML below the heading.
        allowed: What the content security policy allows besides styles, such as ``img-src data:; ``.
    """
    policy = f"default-src 'none'; {allowed}style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{style}</style></head><body>",
            f"<h1>{title}</h1>",
            *parts,
            "</body></html>",
            "",
        ]
    )


def escape(text: str) -> str:
    """Return text from outside for the page, without markup and without characters that hide or reorder other text."""
    return escape_markup(printable(text))


def list_warnings(warnings: Sequence[str]) -> Iterator[str]:
    """Yield the warnings as a section of a page; nothing if there are none."""
    if warnings:
        yield "<h2>Read this first</h2><ul>"
        yield from (f"<li>{escape(warning)}</li>" for warning in warnings)
        yield "</ul>"


def _figures(result: Evaluation) -> Iterator[str]:
    low, high = result.interval
    part = f" of the {escape(result.part)} part" if result.part else ""
    yield (
        f'<p class="figure"><b>Accuracy {result.accuracy:.1%}</b> (95 % interval {low:.0%} to {high:.0%}): '
        f"{result.correct} of {result.photos} photos{part} correct</p>"
    )
    if len(result.judged) > 1:
        yield f"<p>Balanced accuracy {result.balanced_accuracy:.1%}, the mean recall of {len(result.judged)} labels.</p>"
    yield from list_warnings(result.warnings)


def _label_table(result: Evaluation) -> Iterator[str]:
    yield '<h2>Labels</h2><div class="scroll"><table class="labels">'
    yield (
        "<thead><tr><th>Label</th><th>Photos</th><th>Correct</th><th>Recall</th><th>95 % interval</th></tr></thead>"
    )
    for label, (right, count) in result.judged.items():
        low, high = wilson(right, count)
        yield (
            f"<tr><th>{escape(label)}</th><td>{count}</td><td>{right}</td><td>{right / count:.0%}</td>"
            f"<td>{low:.0%} to {high:.0%}</td></tr>"
        )
    yield "</table></div>"


def _matrix(result: Evaluation) -> Iterator[str]:
    yield "<h2>Confusion matrix</h2><p>Rows are the labels of the photos, columns the predictions.</p>"
    dense = " dense" if len(result.labels) > _DENSE else ""
    yield f'<div class="scroll"><table class="matrix{dense}"><thead><tr><td></td>'
    yield from (f'<th title="{escape(label)}">{escape(label)}</th>' for label in result.labels)
    yield "</tr></thead><tbody>"
    for row, label in enumerate(result.labels):
        counts = result.confusion[row].tolist()
        cells = "".join(
            _cell(count, sum(counts), row == column, f"{label} as {result.labels[column]}")
            for column, count in enumerate(counts)
        )
        yield f'<tr><th title="{escape(label)}">{escape(label)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _cell(count: int, photos: int, right: bool, meaning: str) -> str:
    if not count:
        return "<td></td>"
    strength = 0.15 + 0.75 * count / photos
    color = f"rgb(var(--{'good' if right else 'bad'}) / {strength:.2f})"
    return f'<td style="background: {color}" title="{escape(meaning)}: {count}">{count}</td>'


def _mistakes(result: Evaluation) -> Iterator[str]:
    if not result.mistakes:
        return
    shown_ones = result.mistakes[:MISTAKES]
    yield (
        f"<h2>Mistakes</h2><p>{len(shown_ones)} of {len(result.mistakes)}, the most confident first: look for photos "
        'under the wrong label.</p><div class="mistakes">'
    )
    yield from (_mistake(mistake, result.root or Path()) for mistake in shown_ones)
    yield "</div>"


def _mistake(mistake: Mistake, root: Path) -> str:
    path = mistake.path.relative_to(root) if mistake.path.is_relative_to(root) else mistake.path
    picture = ""
    with contextlib.suppress(PhotoError):  # it was readable a moment ago; the text stays if it is not now
        data = base64.b64encode(thumbnail(read_photo(mistake.path), _SIDE)).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    return (
        f"<figure>{picture}<figcaption>{escape(mistake.label)}, predicted as <b>{escape(mistake.predicted)}</b> "
        f"({mistake.probability:.0%})<br>{escape(shown(path))}</figcaption></figure>"
    )
