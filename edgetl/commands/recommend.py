"""``edgetl recommend``: choose a model from a measurement with accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, force_option, json_option
from .session import say

if TYPE_CHECKING:
    from edgetl.measuring.recommending import Recommendation


@click.command()
@click.argument("result", type=click.Path(path_type=Path, dir_okay=False), metavar="RESULT.json")
@click.option(
    "--max-ms",
    type=click.FloatRange(0, min_open=True),
    help="Maximum number of milliseconds from a frame to its prediction, 95th percentile.",
)
@click.option("--max-mb", type=click.FloatRange(0, min_open=True), help="Maximum size of the model file.")
@click.option(
    "--max-ram-mb", type=click.FloatRange(0, min_open=True), help="Maximum RAM of a process with the model."
)
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 100), metavar="PERCENT", help="Minimum accuracy in percent."
)
@click.option(
    "--shots",
    type=click.IntRange(1),
    help="Number of photos per label that you will teach.  [default: all of the measurement]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="How many points less accurate than the best a faster model may be.",
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Also draw accuracy against latency to this file.",
)
@force_option
@json_option
def command(
    result: Path,
    max_ms: float | None,
    max_mb: float | None,
    max_ram_mb: float | None,
    min_accuracy: float | None,
    shots: int | None,
    tolerance: float,
    chart: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Recommend one of the models that "bench --accuracy --json" measured, and show why.

    Of the models within the limits, it is the fastest of those whose accuracy is within --tolerance of the best. The exit
    code is 1 if none is within the limits.

    \b
    Example:
      edgetl bench small.tflite large.tflite --accuracy photos/ --json > sizes.json
      edgetl recommend sizes.json --max-ms 50 --max-mb 8
    """
    from edgetl.measuring.accuracy import ALL
    from edgetl.measuring.recommending import Limits, recommend

    accuracy = None if min_accuracy is None else min_accuracy / 100
    found = recommend(result, Limits(max_ms, max_mb, max_ram_mb, accuracy, shots or ALL, tolerance / 100))
    for note in found.notes:
        say(f"note: {note}")
    if chart is not None:
        _write_chart(result, found, chart, force)
    emit(found.to_dict(), as_json, lambda: _text(found))
    if found.name is None:
        click.get_current_context().exit(1)


def _write_chart(result: Path, found: Recommendation, chart: Path, force: bool) -> None:
    from device.files import atomic_output
    from device.system.comparing import read_measurement
    from device.system.grid import name_results
    from edgetl.charts import standalone
    from edgetl.measuring.pictures import STYLE, draw_accuracy

    measured = read_measurement(result)
    picture = draw_accuracy(name_results(measured["results"]), measured["results"], measured["accuracy"])
    title = f"Recommended: {found.name}" if found.name else "No model is within the limits"
    with atomic_output(chart, force=force) as temporary:
        temporary.write_text(standalone(picture, STYLE, title=title), encoding="utf-8")


def _text(found: Recommendation) -> str:
    width = max(len(candidate.name) for candidate in found.candidates) + 2
    head = f"{'':{width}}{'accuracy':>9}{'95 %':>14}{'ms, p95':>9}{'MB':>7}{'RAM, MB':>9}"
    lines = [
        f"recommended: {found.name}" if found.name else "no model is recommended",
        found.reason,
        "",
        head,
    ]
    return "\n".join([*lines, *(_row(vars(candidate), width) for candidate in found.candidates)])


def _row(found: dict[str, Any], width: int) -> str:
    low, high = found["interval"]
    ram = "–" if found["ram_mb"] is None else f"{found['ram_mb']:.0f}"
    misses = f"  {', '.join(found['misses'])}" if found["misses"] else ""
    return (
        f"{found['name']:{width}}{found['accuracy']:>9.1%}{f'{low:.0%} to {high:.0%}':>14}"
        f"{found['ms']:>9.1f}{found['mb']:>7.1f}{ram:>9}{misses}"
    )
