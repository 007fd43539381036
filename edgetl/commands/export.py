"""``edgetl export``: write a model file, or a classifier for other programs, that contains what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device.labels import listed

from .options import emit, force_option, json_option
from .session import learner_options, open_learner, plural, warn

if TYPE_CHECKING:
    from device.learner import Learner


@click.command()
@learner_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Path of the new file; with --frigate, of the folder.",
)
@click.option(
    "--classifier",
    is_flag=True,
    help="Write an ordinary image classifier for MediaPipe, ML Kit and other TFLite programs instead.",
)
@click.option(
    "--frigate", is_flag=True, help="Write the pictures of the samples as a dataset for Frigate instead."
)
@force_option
@json_option
def command(out: Path, classifier: bool, frigate: bool, force: bool, as_json: bool, **options: Any) -> None:
    """Write a new model file that contains everything that MODEL learned here.

    It has the labels and weights, runs wherever MODEL runs, and can be taught further, with a new state file.

    With --classifier, the file is for programs that do not know edgetl: one graph from the image to the probabilities of
    the labels, which are in its TFLite metadata. It cannot be taught, and never answers "unknown".

    With --frigate, the result is a folder with one folder of pictures per label, for Frigate's custom classification.

    \b
    Examples:
      edgetl export mugs.tflite --out personal.tflite
      edgetl export mugs.tflite --classifier --out classifier.tflite
      edgetl export mugs.tflite --frigate --out /media/frigate/clips/mugs/dataset
    """
    if classifier and frigate:
        raise click.UsageError("--classifier and --frigate exclude each other; leave one of them out")
    if not frigate and out.is_dir():
        raise click.BadParameter(f"File {str(out)!r} is a directory.", param_hint="'--out'")
    with open_learner(options, read_only=True) as learner:
        learner.require_taught()
        export = _export_frigate if frigate else _export_classifier if classifier else _export
        export(learner, out, force, as_json)


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
    if learner.embedder.views != "one":
        warn(
            "the classifier looks at each image once, while edgetl averages it with its mirror image (--views flip): a few"
            " predictions may differ; a program can average the probabilities of both instead"
        )
    emit(
        written.to_dict(),
        as_json,
        f"Wrote {out} ({written.bytes / 1e6:.1f} MB), an image classifier with the labels {listed(written.labels)}.",
    )


def _export_frigate(learner: Learner, out: Path, force: bool, as_json: bool) -> None:
    from device.negatives import split_counts
    from edgetl.exchange.frigate import write_dataset

    written = write_dataset(learner, out, force=force)
    pictures = sum(count for _, count in written.values())
    folders = {label: {"folder": name, "pictures": count} for label, (name, count) in written.items()}
    _, background = split_counts(learner.store.hidden_counts())
    without = sum(learner.store.counts().values()) + background - pictures
    if without:
        warn(f"{plural(without, 'sample')} without a picture left out")
    result = {"folder": str(out), "pictures": pictures, "labels": folders}
    emit(result, as_json, f"Wrote {plural(pictures, 'picture')} of {plural(len(written), 'label')} to {out}.")
