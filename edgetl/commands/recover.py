"""``edgetl recover``: save the intact part of a damaged state file."""

from __future__ import annotations

from pathlib import Path

import click

from .options import emit, force_option, json_option
from .session import counted, ids_text, plural


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Path of the new state file.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Model of the state file, where the file no longer contains this.",
)
@force_option
@json_option
def command(state: Path, out: Path, model: Path | None, force: bool, as_json: bool) -> None:
    """Save every intact sample of the damaged state file STATE into a new file, and show what was lost.

    STATE is only read. Each sample has a checksum, so no damaged sample is copied.

    \b
    Example:
      edgetl recover mugs.db --out mugs-recovered.db
    """
    from device.learner.learner import identity_of
    from device.model.modelfile import ModelFile
    from device.negatives import describe
    from device.store.recovery import recover

    identity = identity_of(ModelFile.open(model)) if model else None
    found = recover(state, out, identity, force=force)
    hidden = {describe(None, label): count for label, count in found.negatives.items()}
    hidden |= {describe(None): found.background} if found.background else {}
    saved = found.samples | hidden
    lines = [f"Wrote {out}: {plural(sum(saved.values()), 'sample')} ({counted(saved)})."]
    if found.lost:
        lines.append(f"Lost: {plural(len(found.lost), 'sample')} (ids {ids_text(list(found.lost))}).")
    lines += [f"Note: {note}." for note in found.notes]
    emit(found.to_dict(), as_json, "\n".join(lines))
