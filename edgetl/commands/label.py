"""``edgetl label``: rename, merge, delete and correct labels."""

from __future__ import annotations

from typing import Any

import click

from .options import emit, json_option
from .session import counted, learner_options, open_learner, plural


@click.group()
def command() -> None:
    """Rename, merge, delete or correct labels.

    \b
    Example:
      edgetl label rename mugs.tflite mug cup
    """


@command.command()
@learner_options
@click.argument("old")
@click.argument("new")
@json_option
def rename(old: str, new: str, as_json: bool, **options: Any) -> None:
    """Rename the label OLD to NEW; if NEW exists already, the two are merged.

    \b
    Example:
      edgetl label rename mugs.tflite mug cup
    """
    with open_learner(options) as learner:
        joined = new in learner.labels
        entry = learner.rename_label(old, new)
        result = {"old": old, "new": new, "joined": joined, "samples": learner.store.counts()}
        done = "Merged" if joined else "Renamed"
        text = f"{done} {old} {'into' if joined else 'to'} {new} ({plural(entry.samples(), 'sample')})."
        emit(result, as_json, text)


@command.command()
@learner_options
@click.argument("label")
@json_option
def delete(label: str, as_json: bool, **options: Any) -> None:
    """Delete LABEL and all its samples, also those from the host; `edgetl forget --undo` restores them.

    \b
    Example:
      edgetl label delete mugs.tflite mug
    """
    with open_learner(options) as learner:
        entry = learner.delete_label(label)
        counts = learner.store.counts()
        text = f"Deleted {label} ({plural(entry.samples(), 'sample')}). Left: {counted(counts)}."
        emit({"deleted": label, "samples": counts}, as_json, text)


@command.command(name="set")
@learner_options
@click.argument("ids", type=int, nargs=-1, required=True)
@click.argument("label")
@json_option
def set_label(ids: tuple[int, ...], label: str, as_json: bool, **options: Any) -> None:
    """Change the label of the samples IDS to LABEL.

    \b
    Example:
      edgetl label set mugs.tflite 17 18 bowl
    """
    with open_learner(options, must_exist=True) as learner:
        learner.relabel(ids, label)
        counts = learner.store.counts()
        text = f"{plural(len(set(ids)), 'sample')} relabeled as {label}. Now: {counted(counts)}."
        emit({"ids": sorted(set(ids)), "label": label, "samples": counts}, as_json, text)
