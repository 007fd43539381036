"""``edgetl check``: check what teaching and running need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import emit, json_option, state_path, threads_option

if TYPE_CHECKING:
    from device.system.checks import Check

_COLORS = {"good": "green", "note": "cyan", "warning": "yellow", "failed": "red"}


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="State file whose disk is checked.  [default: MODEL with the suffix .db]",
)
@click.option(
    "--camera", metavar="SOURCE", help="Camera to check.  [default: $EDGETL_CAMERA, else the first found]"
)
@click.option("--no-camera", is_flag=True, help="Do not open a camera.")
@threads_option
@json_option
def command(
    model: Path | None,
    state: Path | None,
    camera: str | None,
    no_camera: bool,
    threads: int | None,
    edgetpu: bool,
    as_json: bool,
) -> None:
    """Check this device: board, runtime, camera, disk, temperature, clock; and MODEL, if it is named.

    Each line has a result and, where something is wrong, what to do. The exit code is 1 when a check failed; notes
    and warnings do not count.

    \b
    Examples:
      edgetl check
      edgetl check mugs.tflite --camera 0
    """
    from device.system.checks import Subject, self_test

    if model and not state:
        state = state_path(model, None)
    subject = Subject(
        model=model, state=state, camera=camera, look=not no_camera, edgetpu=edgetpu, threads=threads
    )
    checks = []
    for check in self_test(subject):
        checks.append(check)
        if not as_json:
            click.echo(_line(check))
    failed = [check.name for check in checks if check.result == "failed"]
    if as_json:
        emit({"passed": not failed, "checks": [check.to_dict() for check in checks]}, True, "")
    else:
        click.echo(f"\n{'Failed: ' + ', '.join(failed) if failed else 'Ready.'}")
    if failed:
        click.get_current_context().exit(1)


def _line(check: Check) -> str:
    result = click.style(f"{check.result:8}", fg=_COLORS[check.result])
    fix = f"\n{'':22}-> {check.fix}" if check.fix else ""
    return f"{result} {check.name:12} {check.finding}{fix}"
