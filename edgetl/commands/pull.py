"""``edgetl pull``: fetch what devices were taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import device_options, emit, force_option, json_option
from .progress import device_rows
from .session import counted, say, wrapped

if TYPE_CHECKING:
    from edgetl.remote.pulling import Pulled


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="DEVICE...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder for the state files, which get the names of the devices.",
)
@click.option("--thumbnails", is_flag=True, help="Fetch the small pictures of the samples too.")
@force_option
@device_options
@json_option
def command(targets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Fetch the state files of devices over ssh, also while they are in use.

    Each becomes DEVICE.db, a checked snapshot: merge several with "edgetl merge", or teach a better model with "edgetl
    reembed", which needs --thumbnails. Nothing on the devices is changed. The exit code is 1 if one cannot be fetched.

    \b
    Example:
      edgetl pull pi@shed.local pi@barn.local --out states --thumbnails
      edgetl merge mugs.tflite states/shed.local.db states/barn.local.db
    """
    from edgetl.remote.pulling import pull

    with device_rows() as progress:
        results = pull(targets, progress=progress, **options)
    emit(
        {"devices": [result.to_dict() for result in results]}, as_json, lambda: "\n".join(map(_line, results))
    )
    for result in results:
        for warning in result.warnings:
            say(wrapped(f"{result.target}: {warning}"))
    if any(result.error for result in results):
        click.get_current_context().exit(1)


def _line(result: Pulled) -> str:
    if result.error:
        return wrapped(f"{result.target}: {result.error}")
    return f"{result.target}: wrote {result.path} ({result.bytes / 1e6:.1f} MB): {counted(result.samples)}"
