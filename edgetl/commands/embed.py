"""``edgetl embed``: embed a large folder of photos with several workers, and sum up the embeddings exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, force_option, json_option, model_argument, skip_empty_option
from .progress import stages
from .session import counted, leave_interrupted, plural, warn, wrapped

if TYPE_CHECKING:
    from edgetl.embedding import Embedded


@click.command()
@model_argument
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--workers", type=click.IntRange(1), help="Number of workers on this machine.  [default: one per core]"
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Where the workers run: in processes of this machine, or in a Dask cluster.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="With --engine dask: address of a running scheduler, such as tcp://host:8786.  [default: workers on this machine]",
)
@click.option(
    "--views",
    type=click.Choice(["one", "flip"]),
    help="Embed each photo once, or average it with its mirror image, in twice the time.  [default: the views of MODEL]",
)
@click.option(
    "--embeddings/--no-embeddings",
    default=True,
    show_default=True,
    help="Keep the float embeddings; without them a shard has a third of the size.",
)
@skip_empty_option
@force_option
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Embed every photo of the folder PHOTOS with MODEL, and sum up the embeddings exactly.

    The folder --out gets the embeddings (shards/*.npz), the exact statistics of the labels (statistics.npz), and
    taught.tflite, a copy of MODEL that was taught the photos. The files are the same for any number of workers. After an
    interruption, run the same command again to embed the rest. PHOTOS has one folder per label; without such folders, only
    the embeddings are written.

    \b
    Examples:
      edgetl embed mugs.tflite photos --out embedded
      edgetl embed mugs.tflite photos --out embedded --workers 8
      edgetl embed mugs.tflite /nfs/photos --out embedded --engine dask --scheduler tcp://host:8786
    """
    from edgetl.embedding import embed

    with stages(remaining=True) as progress:
        try:
            result = embed(**options, progress=progress)
        except KeyboardInterrupt:
            leave_interrupted("Run the same command again to embed the rest.")
    _warn(result)
    emit(result.to_dict(), as_json, lambda: _text(result))


def _warn(result: Embedded) -> None:
    from device.leftout import describe_left_out

    for line in (*result.remarks, *describe_left_out(result.left_out)):
        warn(line)


def _text(result: Embedded) -> str:
    lines = [
        f"Embedded {plural(result.photos, 'photo')} in {result.folder}: {plural(len(result.shards), 'shard')}."
    ]
    if result.resumed:
        lines.append(f"{plural(result.resumed, 'photo')} of an earlier run reused.")
    if result.known:
        lines.append(
            f"{plural(result.known, 'photo')} not summed up, because the model was taught them already."
        )
    if result.statistics:
        lines.append(wrapped(f"Statistics in {result.statistics}: {counted(result.labels)}."))
    if result.model:
        lines.append(f"Try it: edgetl run {result.model}")
    return "\n".join(lines)
