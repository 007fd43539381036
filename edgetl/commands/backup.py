"""``edgetl backup``: copy a state file."""

from __future__ import annotations

from pathlib import Path

import click

from .options import emit, force_option, json_option
from .session import broken_pictures_text, counted_all, hidden_counts


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Path of the copy."
)
@click.option("--thumbnails/--no-thumbnails", default=True, help="Copy the pictures too.")
@force_option
@json_option
def command(state: Path, out: Path, thumbnails: bool, force: bool, as_json: bool) -> None:
    """Copy the state file STATE, also while it is in use.

    A plain copy of the file would miss the content of its log. Every row and embedding of the copy is checked before
    the copy gets its name; a damaged state file is refused. Pictures that cannot be read are reported, with exit code 1.

    \b
    Example:
      edgetl backup mugs.db --out /media/stick/mugs-monday.db
    """
    from device.store import Store

    with Store.open(state, None, read_only=True) as store:
        store.backup(out, force=force, thumbnails=thumbnails)
        counts, pictures = store.counts(), store.verify_pictures()
        hidden, total = hidden_counts(store), counted_all(store)
    size = out.stat().st_size
    text = f"Wrote {out} ({size / 1e6:.1f} MB): {total}."
    emit(
        {"backup": str(out), "bytes": size, "samples": counts, **hidden, "pictures": pictures.to_dict()},
        as_json,
        text,
    )
    if pictures.broken:
        raise click.ClickException(broken_pictures_text(str(state), pictures))
