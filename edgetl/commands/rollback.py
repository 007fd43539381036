"""``edgetl rollback``: return to an earlier version of what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import emit, json_option
from .session import counted_all, hidden_counts, learner_options, open_learner, when_text

if TYPE_CHECKING:
    from device.store import Version


@click.command()
@learner_options
@click.option("--to", "version", type=int, help="Version to return to; without it the versions are listed.")
@json_option
def command(version: int | None, as_json: bool, **options: Any) -> None:
    """Return MODEL to an earlier version of what it learned, or list the versions.

    Each run of `edgetl teach` saves a version. Nothing is lost: `edgetl forget --undo` reverts the rollback.

    \b
    Examples:
      edgetl rollback mugs.tflite
      edgetl rollback mugs.tflite --to 3
    """
    with open_learner(options, must_exist=True) as learner:
        if version is None:
            listed = learner.versions()
            emit([vars(found) for found in listed], as_json, lambda: _listed(listed))
            return
        entry = learner.rollback(version)
        counts = {"samples": learner.store.counts(), **hidden_counts(learner.store)}
        text = f"Returned to version {version}: {counted_all(learner.store)}.\nTo revert: edgetl forget {options['model']} --undo"
        emit({"version": version, "changed": entry.samples(), **counts}, as_json, text)


def _listed(versions: list[Version]) -> str:
    from device.printable import printable

    if not versions:
        return "There are no versions yet; each run of `edgetl teach` saves one."
    lines = []
    for version in versions:
        accuracy = version.metrics.get("accuracy")
        figure = f", accuracy {accuracy:.1%}" if isinstance(accuracy, float) else ""
        samples = version.metrics.get("samples", "?")
        note = printable(version.note)
        lines.append(f"{version.version:4}  {when_text(version.time)}  {note} ({samples} samples{figure})")
    return "\n".join(lines)
