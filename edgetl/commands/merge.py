"""``edgetl merge``: learn what other devices learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import emit, json_option
from .session import counted_all, hidden_counts, learner_options, open_learner, plural


@click.command()
@learner_options
@click.argument(
    "others", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True
)
@json_option
def command(others: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Learn the samples of the state files OTHERS, exactly as if one device had seen everything.

    Known samples are not learned twice, so merging again changes nothing. Copy the file of another device with
    `edgetl backup`, which includes the content of its log.

    \b
    Example:
      edgetl merge mugs.tflite kitchen.db office.db
    """
    with open_learner(options) as learner:
        learned = {}
        for other in others:
            entry = learner.merge(other)
            learned[str(other)] = entry.samples() if entry else 0
        lines = [f"{name}: {plural(count, 'new sample')}" for name, count in learned.items()]
        emit(
            {"merged": learned, "samples": learner.store.counts(), **hidden_counts(learner.store)},
            as_json,
            "\n".join([*lines, f"Taught in total: {counted_all(learner.store)}."]),
        )
