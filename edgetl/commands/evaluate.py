"""``edgetl evaluate``: how good a model is on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, head_option, json_option
from .progress import stages

if TYPE_CHECKING:
    from ..evaluate import Evaluation


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Judge with what a device learned, from its state file.",
)
@head_option
@json_option
def command(model: Path, photos: Path, state: Path | None, head: str, as_json: bool) -> None:
    """Judge MODEL on PHOTOS, a folder with one folder of photos a class.

    MODEL is a model file (.tflite), judged through the runtime of the device with what it was taught,
    or the folder of a trained model. Where PHOTOS has a test folder, or else a val folder, that part is used.

    \b
    Example:
      edgetl evaluate mugs.tflite new-photos
    """
    from ..evaluate import evaluate

    with stages() as progress:
        result = evaluate(
            model,
            photos,
            state=state,
            head=head,
            progress=lambda done, total: progress("photos", done, total, ""),
        )
    for problem in result.skipped:
        click.echo(f"Warning: left out: {problem}", err=True)
    emit({"model": str(model), **result.to_dict()}, as_json, lambda: _table(result))


def _table(result: Evaluation) -> str:
    rows: list[list[Any]] = [["was \\ said", *result.labels, "recall"]]
    recall = result.recall
    for label, counts in zip(result.labels, result.confusion.tolist(), strict=True):
        rows.append([label, *counts, f"{recall[label]:.3f}" if label in recall else "-"])
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    lines.append(
        f"accuracy {result.accuracy:.3f}, balanced accuracy {result.balanced_accuracy:.3f} on {result.photos} photos"
    )
    return "\n".join(lines)
