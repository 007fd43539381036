"""``edgetl evaluate``: measure the accuracy of a model on labeled photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device.printable import printable

from .options import emit, force_option, head_option, json_option, priors_option, skip_empty_option
from .progress import stages
from .session import WIDTH, plural, warn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..evaluation import Evaluation

MATRIX_UP_TO = 8  # labels; --report and --json have larger matrices
CONFUSED = 10  # pairs listed


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="State file with what a device learned.",
)
@head_option
@priors_option
@skip_empty_option
@click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a web page with the whole confusion matrix and the worst mistakes.",
)
@force_option
@json_option
def command(
    model: Path,
    photos: Path,
    state: Path | None,
    head: str,
    priors: str | None,
    skip_empty: bool,
    report: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of MODEL on PHOTOS, a folder with one folder of photos per label.

    MODEL is a model file (.tflite), which runs as on a device, or the folder of a trained model. If PHOTOS
    contains a test folder, or else a val folder, only that part is used.
    Photos that MODEL was taught are recognized and not judged.

    \b
    Example:
      edgetl evaluate mugs.tflite new-photos
      edgetl evaluate mugs.tflite new-photos --report mugs.html
    """
    from device.files import refuse_existing

    from ..evaluation import evaluate

    if report:
        refuse_existing(report, force)
    with stages() as progress:
        result = evaluate(
            model,
            photos,
            state=state,
            head=head,
            priors=priors,
            skip_empty=skip_empty,
            progress=progress,
        )
    if report:
        _write(report, result, str(model), force)
    for warning in result.warnings:
        warn(warning)
    fields = {"model": str(model), **result.to_dict(), "report": str(report) if report else None}
    emit(fields, as_json, lambda: _drawn(result, report))


def _write(path: Path, result: Evaluation, model: str, force: bool) -> None:
    from device.files import atomic_output

    from ..evaluation.page import render

    with atomic_output(path, force=force) as temporary:
        temporary.write_text(render(result, model), encoding="utf-8")


def _drawn(result: Evaluation, report: Path | None) -> str:
    from rich.console import Console

    console = Console(width=WIDTH, highlight=False)
    with console.capture() as captured:
        for part in _parts(result, report):
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _parts(result: Evaluation, report: Path | None) -> Iterator[RenderableType]:
    from rich.text import Text

    yield _label_table(result)
    yield Text(f"\n{_accuracy(result)}", style="bold")
    pairs = result.confused
    if pairs and len(result.labels) <= MATRIX_UP_TO:
        yield Text("\nLabels (rows) against predictions (columns):")
        yield _matrix(result)
    for label, predicted, count in pairs[:CONFUSED]:
        yield Text(printable(f"  {label} predicted as {predicted}: {count}"), overflow="fold")
    if len(pairs) > CONFUSED:
        yield Text(f"  and {plural(len(pairs) - CONFUSED, 'other pair')}; --report and --json show all")
    if report:
        yield Text(f"Report   {report}", overflow="fold")


def _accuracy(result: Evaluation) -> str:
    low, high = result.interval
    balanced = f"; balanced accuracy {result.balanced_accuracy:.1%}" if len(result.judged) > 1 else ""
    part = f" of the {result.part} part" if result.part else ""
    rejected = (
        f"; {plural(result.rejected, 'photo')} unknown by negatives or background" if result.rejected else ""
    )
    return (
        f"Accuracy {result.accuracy:.1%} (95 % interval {low:.0%} to {high:.0%}): "
        f"{result.correct} of {plural(result.photos, 'photo')}{part} correct{balanced}{rejected}"
    )


def _label_table(result: Evaluation) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from device.heads.intervals import wilson

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Label", max_width=50, overflow="ellipsis", no_wrap=True)
    for title in ("Photos", "Correct", "Recall", "95 % interval"):
        table.add_column(title, justify="right", no_wrap=True)
    for label, (right, count) in result.judged.items():
        low, high = wilson(right, count)
        recall = [f"{right / count:.0%}", f"{low:.0%} to {high:.0%}"]
        if label in result.not_known:
            recall = ["–", "unknown to the model"]
        table.add_row(Text(printable(label)), str(count), str(right), *recall)
    return table


def _matrix(result: Evaluation) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("", max_width=20, overflow="ellipsis", no_wrap=True)
    for label in result.labels:
        table.add_column(
            Text(printable(label)), justify="right", max_width=8, overflow="ellipsis", no_wrap=True
        )
    for row, label in enumerate(result.labels):
        cells = [
            Text(str(count) if count else "·", style="bold" if column == row else "red" if count else "dim")
            for column, count in enumerate(result.confusion[row].tolist())
        ]
        table.add_row(Text(printable(label)), *cells)
    return table
