"""``edgetl export``: write a model file, or a classifier for other programs, that contains what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device.labels import listed

from .options import emit, force_option, json_option
from .session import learner_options, open_learner, warn

if TYPE_CHECKING:
    from device.learner import Learner


@click.command()
@learner_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Path of the new file.",
)
@click.option(
    "--classifier",
    is_flag=True,
    help="Write an ordinary image classifier for MediaPipe, ML Kit and other TFLite programs instead.",
)
@force_option
@json_option
def command(out: Path, classifier: bool, force: bool, as_json: bool, **options: Any) -> None:
    """Write a new model file that contains everything that MODEL learned here.

    It has the labels and weights, runs wherever MODEL runs, and can be taught further, with a new state file.

    With --classifier, the file is for programs that do not know edgetl: one graph from the image to the probabilities of
    the labels, which are in its TFLite metadata. It cannot be taught, and never answers "unknown".

    \b
    Example:
      edgetl export mugs.tflite --out personal.tflite
      edgetl export mugs.tflite --classifier --out classifier.tflite
    """
    with open_learner(options, read_only=True) as learner:
        learner.require_taught()
        (_export_classifier if classifier else _export)(learner, out, force, as_json)


def _export(learner: Learner, out: Path, force: bool, as_json: bool) -> None:
    exported = learner.export(out, force=force)
    size = out.stat().st_size
    result = {"model": str(out), "bytes": size, "labels": list(exported.labels), "sha256": exported.sha256}
    emit(result, as_json, f"Wrote {out} ({size / 1e6:.1f} MB) with the labels {listed(exported.labels)}.")


def _export_classifier(learner: Learner, out: Path, force: bool, as_json: bool) -> None:
    written = learner.export_classifier(out, force=force)
    if written.resize != "squash":
        warn(
            f"frames were taught with the resize mode {written.resize}, but most programs squash the whole frame to "
            f"{written.width} x {written.height} pixels, so the model sees other pixels there; convert the model again"
            " with --resize squash, or fit frames in the program as docs/export.md describes"
        )
    emit(
        written.to_dict(),
        as_json,
        f"Wrote {out} ({written.bytes / 1e6:.1f} MB), an image classifier with the labels {listed(written.labels)}.",
    )
