"""``edgetl backbones``: list the backbones that a model can start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import emit, json_option

if TYPE_CHECKING:
    from ..backbones.catalog import Entry


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the backbones for finetune --backbone and for convert.

    For each backbone: its family, its input (height x width x channels), its number of parameters, D (the numbers
    in an embedding), the license of its weights, where the weights come from and whether they are on this
    machine, and the published ImageNet accuracy with its source. Nothing is downloaded.

    \b
    Examples:
      edgetl backbones
      edgetl finetune photos --backbone efficientnet-lite1 --out mugs
      edgetl convert keras:MobileNetV2 --out base.tflite
    """
    from ..backbones.catalog import list_backbones

    entries = list_backbones()
    emit({"backbones": [entry.to_dict() for entry in entries]}, as_json, lambda: _text(entries))


def _text(entries: list[Entry]) -> str:
    header = ("Name", "Family", "Input", "Parameters", "D", "License", "ImageNet", "Weights")
    rows = [header, *map(_row, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [_aligned(row, widths) for row in rows]
    lines += ["", *(f"{entry.name}: {_source(entry)}" for entry in entries)]
    return "\n".join(lines)


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.name,
        entry.family,
        entry.input,
        f"{entry.parameters:,}",
        str(entry.dimensions),
        entry.license,
        "-" if entry.top1 is None else f"{entry.top1:.1f} %",
        _weights(entry),
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = (3, 4, 6)
    cells = [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _weights(entry: Entry) -> str:
    if entry.at_hand:
        return f"{entry.weights}, at hand"
    return f"{entry.weights}, not at hand" if entry.source else entry.weights


def _source(entry: Entry) -> str:
    ways = {"pip package": entry.install, "download": f"downloads {entry.source}"}
    figure = f"; ImageNet figure from {entry.top1_source}" if entry.top1_source else ""
    return f"{ways.get(entry.weights, 'edgetl finetune trains it from scratch')}{figure}"
