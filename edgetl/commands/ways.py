"""``edgetl finetune --compare``: the table of the ways to train."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from device.printable import printable

from .options import emit
from .progress import stages
from .session import WIDTH, warn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..ways import WayComparison

LABELS = 12  # rows of the table of recalls; the page has all


def compare_ways(photos: Path, out: Path, options: dict[str, Any], as_json: bool) -> None:
    """Run a comparison with the options of ``finetune`` and write its result."""
    from ..ways import compare

    accepted = inspect.signature(compare).parameters
    _refuse_others(set(accepted))
    with stages() as progress:
        chosen = {name: value for name, value in options.items() if name in accepted}
        result = compare(photos, out, **chosen, progress=progress)
    for warning in result.warnings:
        warn(warning)
    if result.partial:
        warn(
            "interrupted: the figures are those of the ways that are done; run the same command again to continue"
        )
    emit(result.to_dict(), as_json, lambda: _drawn(result))


def _refuse_others(accepted: set[str]) -> None:
    """Raise where the command line has an option that the comparison decides itself."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and name not in accepted | {"comparing", "as_json"}:
            raise click.UsageError(
                f"--compare trains in every way, each with its own settings; leave out {parameter.opts[0]}"
            )


def _drawn(result: WayComparison) -> str:
    from rich.console import Console

    console = Console(width=WIDTH, highlight=False)
    with console.capture() as captured:
        for part in _parts(result):
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _parts(result: WayComparison) -> Iterator[RenderableType]:
    from rich.text import Text

    counts = ", ".join(f"{count} {part} photos" for part, count in result.photos.items())
    yield Text(f"{counts}; judged on the {result.part} photos by the int8 file with the exact head\n")
    yield _way_table(result)
    for way in result.ways:
        if way.note:
            yield Text(f"{way.name}: {printable(way.note)}", overflow="fold")
    if result.trained:
        yield Text("")
        yield _recall_table(result)
    if result.recommended is None:
        return
    partial = " so far" if result.partial else ""
    yield Text(f"\nRecommended{partial}: {result.recommended}", style="bold")
    yield Text(f"{result.reason}.", overflow="fold")
    if not result.partial:
        file = result.out / f"{result.recommended}.tflite"
        yield Text(
            f"Written to {result.out}: a folder and a model file per way, comparison.html", overflow="fold"
        )
        yield Text(f"Next: edgetl check {file}", overflow="fold")


def _way_table(result: WayComparison) -> RenderableType:
    from rich.table import Table

    from ..ways.picture import describe_time

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Trained", no_wrap=True)
    for title in ("Accuracy", "95 % interval", "Balanced", "Epochs", "Time", "File"):
        table.add_column(title, justify="right", no_wrap=True)
    for way in result.ways:
        if not way.trained:
            table.add_row(way.name, *["–"] * 6)
            continue
        figures, (low, high) = way.evaluation, way.interval
        table.add_row(
            way.name,
            f"{figures.accuracy:.1%}",
            f"{low:.0%} to {high:.0%}",
            f"{figures.balanced_accuracy:.1%}",
            str(way.epochs),
            describe_time(way.seconds),
            f"{way.bytes / 1e6:.1f} MB",
            style="bold" if way.way == result.recommended else None,
        )
    return table


def _recall_table(result: WayComparison) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Recall", max_width=40, overflow="ellipsis", no_wrap=True)
    table.add_column("Photos", justify="right")
    for way in result.trained:
        table.add_column(way.name, justify="right", no_wrap=True)
    recalls = [way.evaluation.recall for way in result.trained]
    judged = result.trained[0].evaluation.judged
    for label, (_, count) in list(judged.items())[:LABELS]:
        table.add_row(Text(printable(label)), str(count), *(f"{recall[label]:.0%}" for recall in recalls))
    if len(judged) > LABELS:
        table.add_row(f"and {len(judged) - LABELS} more in comparison.html")
    return table
