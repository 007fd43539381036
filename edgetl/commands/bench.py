"""``edgetl bench``: measure how long frames and teaching take on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import emit, head_option, json_option, model_argument, threads_option

if TYPE_CHECKING:
    from device.system.timing import Bench


@click.command()
@model_argument
@click.option(
    "--frames", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Timed frames."
)
@click.option(
    "--warm-up", type=click.IntRange(0, 1000), default=10, show_default=True, help="Frames before them."
)
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    default=200,
    show_default=True,
    help="Samples the head holds.",
)
@click.option(
    "--labels", type=click.IntRange(2, 1000), default=5, show_default=True, help="Labels they are of."
)
@threads_option
@head_option
@json_option
def command(
    model: Path,
    frames: int,
    warm_up: int,
    samples: int,
    labels: int,
    threads: int | None,
    edgetpu: bool,
    head: str,
    as_json: bool,
) -> None:
    """Measure how long MODEL takes on this machine: preprocessing, backbone, and teaching the head.

    Frames are 640x480 pixels of noise; the time does not depend on the content. Close other programs first.

    \b
    Example:
      edgetl bench mugs.tflite --frames 200 --threads 2
    """
    if labels > samples:
        raise click.UsageError(f"--labels {labels} needs at least as many --samples, got {samples}")
    from device.system.timing import bench, doubts

    result = bench(
        model,
        frames=frames,
        warm_up=warm_up,
        threads=threads,
        delegate="edgetpu" if edgetpu else None,
        head=head,
        samples=samples,
        labels=labels,
    )
    for doubt in doubts(result.machine):
        click.echo(f"note: {doubt}", err=True)
    emit(result.to_dict(), as_json, lambda: _text(result))


def _text(result: Bench) -> str:
    model, runtime, machine, head = result.model, result.runtime, result.machine, result.head
    board = machine["board"] or "not a single-board computer"
    lines = [
        f"{model['name']}: {model['backbone']}, {model['quantization']}, {model['dimensions']} dimensions",
        f"{runtime['name']} {runtime['version']}, {runtime['delegate']}, threads {runtime['threads']}",
        f"{board}, {machine['cpu']}, {machine['cores']} cores, governor {machine['governor']}",
        f"{head['name']} head with {head['samples']} samples of {head['labels']} labels",
        "",
        f"{'milliseconds':24}{'p50':>10}{'p95':>10}{'p99':>10}{'runs':>8}",
    ]
    lines += [f"{t.step:24}{t.p50:>10.3f}{t.p95:>10.3f}{t.p99:>10.3f}{t.runs:>8}" for t in result.timings]
    return "\n".join(lines)
