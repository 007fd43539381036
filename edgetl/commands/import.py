"""``edgetl import``: teach the photos of other tools."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .group import Group
from .options import emit, json_option
from .progress import stages
from .session import counted, learner_options, leave_interrupted, open_learner, plural, state_of, warn

if TYPE_CHECKING:
    from edgetl.exchange import Collection
    from edgetl.exchange.teaching import Import

_NAMED = 3  # files in a warning


@click.group(cls=Group)
def command() -> None:
    """Teach MODEL the photos of Frigate, Teachable Machine or Edge Impulse.

    An interrupted import can be started again: photos that were taught are skipped. docs/exchange.md describes what is
    read.

    \b
    Examples:
      edgetl import frigate mugs.tflite /media/frigate/clips/mugs
      edgetl import teachable-machine mugs.tflite mug-samples.zip
      edgetl import edge-impulse mugs.tflite export.zip
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


def _import(found: Collection, origin: str, options: dict[str, Any], as_json: bool) -> None:
    from edgetl.exchange.teaching import Import, teach_collection

    result = Import()
    with open_learner(options) as learner, stages(lines=False, transient=True) as progress:
        try:
            teach_collection(learner, found, origin, result=result, progress=progress)
        except KeyboardInterrupt:
            leave_interrupted(_sentence(result, options))
        if result.samples:
            learner.save_version(f"imported {counted(result.counts())} from {origin}")
        samples = learner.store.counts()
    _warn(result)
    fields = {
        "taught": result.counts(),
        "known_already": result.known,
        "background": result.background,
        "skipped": [{"file": item.name, "reason": item.reason} for item in result.skipped],
        "samples": samples,
        "state": str(state_of(options)),
    }
    emit(fields, as_json, lambda: f"{_sentence(result, options)} In total: {counted(samples)}.")


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
