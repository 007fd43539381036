"""The comparison of the ways as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator

from .. import charts
from ..evaluation.page import escape, html_page, list_warnings
from .picture import STYLE, describe_time, inline_picture
from .results import WayComparison

_STYLE = f"""
:root {{ color-scheme: light dark; {charts.LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {charts.DARK} }} }}
body {{ margin: 2rem auto; max-width: 62rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--card); overflow-wrap: anywhere }}
.figure {{ font-size: 1.2rem }} .scroll {{ overflow-x: auto }} svg {{ width: 100%; min-width: 34rem }}
table {{ border-collapse: collapse }} th {{ text-align: left; font-weight: 600 }}
td, th {{ padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line) }}
td, th + th {{ text-align: right; white-space: nowrap }} td.note {{ text-align: left; white-space: normal }}
{charts.STYLE}{STYLE}
"""


def render(comparison: WayComparison, name: str) -> str:
    """Return the page.

    Args:
        comparison: The ways.
        name: Name of the photos, for the title.

    Returns:
        HTML without any reference to another file.
    """
    title = escape(f"Four ways to train on {name}")
    parts = [
        *_summary(comparison),
        f'<div class="scroll">{inline_picture(comparison)}</div>',
        *_table(comparison),
        *_recalls(comparison),
    ]
    return html_page(title, _STYLE, parts)


def _summary(comparison: WayComparison) -> Iterator[str]:
    if comparison.partial:
        yield "<p><b>Partial: the comparison was interrupted.</b></p>"
    if comparison.recommended:
        yield f'<p class="figure"><b>Recommended: {escape(comparison.recommended)}.</b> {escape(comparison.reason)}.</p>'
    photos = ", ".join(f"{count} {part} photos" for part, count in comparison.photos.items())
    yield (
        f"<p>{escape(photos)}; judged on the {escape(comparison.part)} photos, by the int8 model file of each way with the "
        "exact head, which learned the other photos.</p>"
    )
    yield from list_warnings(comparison.warnings)


def _table(comparison: WayComparison) -> Iterator[str]:
    yield '<h2>Ways</h2><div class="scroll"><table><thead><tr><th>Trained</th><th>Accuracy</th><th>95 % interval</th>'
    yield "<th>Balanced</th><th>Epochs</th><th>Time</th><th>File</th><th></th></tr></thead><tbody>"
    for way in comparison.ways:
        note = f'<td class="note">{escape(way.note)}</td>'
        if not way.trained:
            yield f"<tr><th>{escape(way.name)}</th>{'<td>–</td>' * 6}{note}</tr>"
            continue
        figures, (low, high) = way.evaluation, way.interval
        yield (
            f"<tr><th>{escape(way.name)}</th><td>{figures.accuracy:.1%}</td><td>{low:.0%} to {high:.0%}</td>"
            f"<td>{figures.balanced_accuracy:.1%}</td><td>{way.epochs}</td><td>{describe_time(way.seconds)}</td>"
            f"<td>{way.bytes / 1e6:.1f} MB</td>{note}</tr>"
        )
    yield "</tbody></table></div>"


def _recalls(comparison: WayComparison) -> Iterator[str]:
    ways = comparison.trained
    if not ways:
        return
    yield '<h2>Recall per label</h2><div class="scroll"><table><thead><tr><th>Label</th><th>Photos</th>'
    yield from (f"<th>{escape(way.name)}</th>" for way in ways)
    yield "</tr></thead><tbody>"
    recalls = [way.evaluation.recall for way in ways]
    for label, (_, count) in ways[0].evaluation.judged.items():
        cells = "".join(f"<td>{recall[label]:.0%}</td>" for recall in recalls)
        yield f"<tr><th>{escape(label)}</th><td>{count}</td>{cells}</tr>"
    yield "</tbody></table></div>"
