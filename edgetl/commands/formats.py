"""``edgetl convert --compare``: the formats of a backbone on the same photos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .options import emit
from .progress import stages
from .session import WIDTH

if TYPE_CHECKING:
    from converters.formats import FormatResult, QuantizationComparison

_OPTIONS = ("embedding_layer", "input_range", "size", "calibrate", "resize", "photos", "weights")


def compare_formats(model: str, options: dict[str, Any], as_json: bool) -> None:
    """Compare all formats and show the result.

    Args:
        model: The argument of the command.
        options: Options of convert; those that only concern the file that is written are refused.
        as_json: Print JSON.
    """
    from ..conversion import compare_quantization

    _refuse_others()
    with stages(transient=True) as progress:
        compared = compare_quantization(
            model, **{name: options[name] for name in _OPTIONS}, progress=progress
        )
    emit(compared.to_dict(), as_json, lambda: _text(compared, model))


def _refuse_others() -> None:
    context = click.get_current_context()
    others = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in {*_OPTIONS, "model", "comparing", "as_json"}
        and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if others:
        raise click.UsageError(
            f"--compare writes no file and compares every format, so {' and '.join(others)} cannot be used with it"
        )


def _text(compared: QuantizationComparison, model: str) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    for column in ("format", "backbone", "cosine", "accuracy", "time here"):
        table.add_column(column, no_wrap=True, justify="left" if column == "format" else "right")
    for one in compared.formats:
        table.add_row(*_row(one, compared.photos))
    console = Console(width=WIDTH)
    with console.capture() as capture:
        console.print(table)
    rows = [line.rstrip() for line in capture.get().rstrip().splitlines()]
    return "\n".join([*rows, "", *_notes(compared), "", *_advice(compared, model)])


def _row(one: FormatResult, photos: int) -> Iterator[str]:
    kept = f", {', '.join(one.keep_float)} in float" if one.keep_float else ""
    few = f" ({one.photos} photos)" if one.photos < photos else ""
    yield f"{one.quantization}{kept}{few}"
    yield f"{one.size / 1e6:.2f} MB"
    yield "-" if one.centered_cosine is None else f"{one.centered_cosine:.3f}"
    yield "-" if one.accuracy is None else f"{one.accuracy:.3f}"
    yield f"{one.latency_ms:.1f} ms"


def _notes(compared: QuantizationComparison) -> Iterator[str]:
    yield (
        f"{compared.source}; cosine: to the source, without the part that all photos share; accuracy: of the exact head, "
        f"{compared.how}; time: median per photo in {compared.runtime}."
    )
    for layer in compared.layers:
        if layer.gain > 0:
            others = f" with {', '.join(layer.keep[1:])}" if layer.keep[1:] else ""
            yield f"int8 affects {layer.name}: kept in float{others}, the cosine rises by {layer.gain:.4f}."


def _advice(compared: QuantizationComparison, model: str) -> Iterator[str]:
    chosen = compared.formats[compared.recommended]
    yield f"Recommended: {chosen.options}: {compared.reason}."
    yield f"Next: edgetl convert {model} {chosen.options} --out m.tflite"
