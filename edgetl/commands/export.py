"""``edgetl export``: write a model file that contains what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import emit, force_option, json_option
from .session import learner_options, open_learner


@click.command()
@learner_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Path of the new model file.",
)
@force_option
@json_option
def command(out: Path, force: bool, as_json: bool, **options: Any) -> None:
    """Write a new model file that contains everything that MODEL learned here.

    It has the labels and weights, runs wherever MODEL runs, and can be taught further, with a new state file.

    \b
    Example:
      edgetl export mugs.tflite --out personal.tflite
    """
    with open_learner(options, read_only=True) as learner:
        learner.require_taught()
        exported = learner.export(out, force=force)
        size = out.stat().st_size
        result = {
            "model": str(out),
            "bytes": size,
            "labels": list(exported.labels),
            "sha256": exported.sha256,
        }
        emit(
            result,
            as_json,
            f"Wrote {out} ({size / 1e6:.1f} MB) with the labels {', '.join(exported.labels)}.",
        )
