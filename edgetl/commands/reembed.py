"""``edgetl reembed``: teach a new model what an old one was taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    emit,
    force_option,
    json_option,
    model_argument,
    state_option,
    state_path,
    threads_option,
    views_option,
)
from .progress import stages
from .session import counted, plural

if TYPE_CHECKING:
    from device.learner.reembedding import Reembedding


@click.command()
@model_argument
@click.argument("old", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@state_option
@click.option(
    "--photos",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of an earlier `teach --photos`; its photos are used instead of their thumbnails.",
)
@views_option
@threads_option
@force_option
@json_option
def command(model: Path, old: Path, as_json: bool, **options: Any) -> None:
    """Teach MODEL what another model was taught, from the pictures in its state file OLD.

    Embeddings of one model mean nothing to another, so every sample is embedded again: from its photo where --photos
    has it, otherwise from its thumbnail. Thumbnails are small: expect a few points less accuracy, and teach some new
    samples. Labels, times and sources are kept, and so are undo and versions if every sample has a picture. OLD is only
    read.

    \b
    Example:
      edgetl reembed better.tflite mugs.db --state better.db
      edgetl reembed better.tflite mugs.db --photos photos
      edgetl reembed mugs.tflite mugs.db --views flip --state mirrored.db
    """
    from device.learner.reembedding import reembed

    with stages(lines=False, transient=True, remaining=True) as progress:
        found = reembed(
            model,
            old,
            state_path(model, options["state"]),
            photos=options["photos"],
            views=options["views"],
            threads=options["threads"],
            delegate="edgetpu" if options["edgetpu"] else None,
            force=options["force"],
            progress=progress,
        )
    emit(found.to_dict(), as_json, lambda: _text(found, model))


def _text(found: Reembedding, model: Path) -> str:
    lines = [
        f"Wrote {found.path}: {plural(sum(found.samples.values()), 'sample')} ({counted(found.samples)}).",
        f"Embedded from photos: {found.from_photos}, from thumbnails: {found.from_thumbnails}.",
    ]
    if found.forgotten:
        lines.append(f"{plural(found.forgotten, 'forgotten sample')} copied too, for undo and rollback.")
    if found.left_behind:
        left = plural(sum(found.left_behind.values()), "sample")
        lines.append(f"Not copied, without a picture: {left} ({counted(found.left_behind)}).")
    lines += [f"Note: {note}." for note in found.notes]
    lines.append(f"Next: edgetl status {model} --state {found.path}")
    return "\n".join(lines)
