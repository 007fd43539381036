"""``edgetl import``: teach the photos of other tools, or embeddings that were made on another machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .group import Group
from .options import emit, json_option
from .progress import stages
from .session import (
    counted,
    counted_all,
    hidden_counts,
    learner_options,
    leave_interrupted,
    open_learner,
    plural,
    state_of,
    warn,
)

if TYPE_CHECKING:
    from device.store import Store
    from edgetl.exchange import Collection
    from edgetl.exchange.teaching import Import

_NAMED = 3  # files in a warning


@click.group(cls=Group)
def command() -> None:
    """Teach MODEL the photos of Frigate, Teachable Machine or Edge Impulse, or embeddings of `edgetl embed`.

    An interrupted import can be started again: photos that were taught are skipped. docs/exchange.md describes what is
    read.

    \b
    Examples:
      edgetl import frigate mugs.tflite /media/frigate/clips/mugs
      edgetl import teachable-machine mugs.tflite mug-samples.zip
      edgetl import edge-impulse mugs.tflite export.zip
      edgetl import embeddings mugs.tflite embedded
    """


_source = click.argument("source", type=click.Path(path_type=Path, exists=True))


@command.command()
@learner_options
@_source
@json_option
def frigate(source: Path, as_json: bool, **options: Any) -> None:
    """Teach SOURCE, a dataset of Frigate's custom classification.

    Each folder is a label. The class `none` is background.

    \b
    Example:
      edgetl import frigate mugs.tflite /media/frigate/clips/mugs/dataset
    """
    from edgetl.exchange.frigate import read_dataset

    _import(read_dataset(source), "frigate", options, as_json)


@command.command("teachable-machine")
@learner_options
@_source
@json_option
def teachable_machine(source: Path, as_json: bool, **options: Any) -> None:
    """Teach SOURCE, a zip archive of samples from Teachable Machine, or a folder of such archives.

    The label is the folder of a photo in the archive, or else the name of the archive without "-samples".

    \b
    Example:
      edgetl import teachable-machine mugs.tflite mug-samples.zip
    """
    from edgetl.exchange.teachable_machine import read_samples

    with ExitStack() as stack:
        _import(read_samples(source, stack), "teachable-machine", options, as_json)


@command.command("edge-impulse")
@learner_options
@_source
@click.option(
    "--part",
    type=click.Choice(["training", "testing", "all"]),
    default="training",
    show_default=True,
    help="Which photos to teach.",
)
@json_option
def edge_impulse(source: Path, part: str, as_json: bool, **options: Any) -> None:
    """Teach SOURCE, an image export of Edge Impulse: a folder or zip archive with info.labels.

    \b
    Example:
      edgetl import edge-impulse mugs.tflite export.zip
    """
    from edgetl.exchange.edge_impulse import read_export

    with ExitStack() as stack:
        _import(read_export(source, stack, part), "edge-impulse", options, as_json)


@command.command()
@learner_options
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def embeddings(folder: Path, as_json: bool, **options: Any) -> None:
    """Teach the labeled photos in FOLDER, which `edgetl embed` wrote, without embedding them again.

    Each photo becomes a sample, without a picture. Importing a folder again teaches nothing twice.

    \b
    Example:
      edgetl import embeddings mugs.tflite embedded
    """
    from edgetl.exchange.embedded import teach_embedded

    with open_learner(options) as learner, stages(lines=False, transient=True, remaining=True) as progress:
        result = teach_embedded(learner, folder, progress=progress)
        if result.taught:
            learner.save_version(f"imported {counted(result.taught)} from {folder.name}")
        total, known = counted_all(learner.store), f" {plural(result.known, 'photo')} taught before."
        fields = {
            "taught": result.taught,
            "known_already": result.known,
            **_totals(learner.store),
            "state": str(state_of(options)),
        }
    taught = f"Taught {counted(result.taught)} in {state_of(options)}.{known if result.known else ''}"
    emit(fields, as_json, f"{taught} In total: {total}.")


def _totals(store: Store) -> dict[str, Any]:
    """Return the samples of the state per label, and its negatives and background."""
    hidden = {f"total_{name}": number for name, number in hidden_counts(store).items()}
    return {"samples": store.counts(), **hidden}


def _import(found: Collection, origin: str, options: dict[str, Any], as_json: bool) -> None:
    from edgetl.exchange.teaching import Import, teach_collection

    result = Import()
    with open_learner(options) as learner, stages(lines=False, transient=True, remaining=True) as progress:
        try:
            teach_collection(learner, found, origin, result=result, progress=progress)
        except KeyboardInterrupt:
            leave_interrupted(_sentence(result, options))
        if result.samples:
            learner.save_version(f"imported {counted(result.counts())} from {origin}")
        total, totals = counted_all(learner.store), _totals(learner.store)
    _warn(result)
    fields = {
        "taught": result.counts(),
        "known_already": result.known,
        "background": result.background,
        "skipped": [{"file": item.name, "reason": item.reason} for item in result.skipped],
        **totals,
        "state": str(state_of(options)),
    }
    emit(fields, as_json, lambda: f"{_sentence(result, options)} In total: {total}.")


def _warn(result: Import) -> None:
    reasons: dict[str, list[str]] = {}
    for item in result.skipped:
        reasons.setdefault(item.reason, []).append(item.name)
    for reason, names in sorted(reasons.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warn(f"{plural(len(names), 'file')} skipped ({reason}): {', '.join(names[:_NAMED])}{more}")


def _sentence(result: Import, options: dict[str, Any]) -> str:
    background = f" {plural(result.background, 'background sample')}." if result.background else ""
    known = f" {plural(result.known, 'photo')} taught before." if result.known else ""
    return f"Taught {counted(result.counts())} in {state_of(options)}.{background}{known}"
