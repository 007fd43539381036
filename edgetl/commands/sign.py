"""``edgetl sign``: sign a model file."""

from __future__ import annotations

from pathlib import Path

import click

from .options import emit, force_option, json_option, model_argument


@click.command()
@model_argument
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help='Private key that signs.  [default: that of "edgetl key new"]',
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Path of the signed file.  [default: MODEL itself]",
)
@force_option
@json_option
def command(model: Path, key: Path | None, out: Path | None, force: bool, as_json: bool) -> None:
    """Sign the model file MODEL, so that devices that pin the key accept it.

    The signature covers every byte of the file and becomes its end; other programs ignore it. A file signed by another key
    is only signed again with --force. "edgetl inspect" and "edgetl check" show the signature.

    \b
    Example:
      edgetl key new
      edgetl sign mugs.tflite
    """
    from edgetl.signing import sign

    public, path = sign(model, key, out, force=force), out or model
    emit(
        {"signed": str(path), "key": public.fingerprint, "name": public.name},
        as_json,
        f"Signed {path} with {public}.",
    )
