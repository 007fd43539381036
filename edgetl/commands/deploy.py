"""``edgetl deploy``: send a model to devices, test it there, and return to the old one if the test fails."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import device_options, emit, json_option, unit_option
from .progress import device_rows
from .session import WIDTH, counted, say, wrapped

if TYPE_CHECKING:
    from edgetl.remote.deployment import Deployment

_COLORS = {
    "deployed": "green",
    "unchanged": "green",
    "returned": "green",
    "rolled back": "red",
    "failed": "red",
}
_HOW = {
    "kept": "kept",
    "reduced": "kept, without what is in the model",
    "embedded": "embedded again",
    "aside": "kept aside",
    "new": "nothing taught yet",
}


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="MODEL DEVICE...")
@click.option("--rollback", is_flag=True, help="Return to the model before; only devices are named then.")
@click.option(
    "--install",
    is_flag=True,
    help="Install this version of edgetl there, in a virtual environment of its own.",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="With --install: take dependencies from these wheels, without a network there.",
)
@click.option(
    "--extras",
    default="device,serve,sign",
    show_default=True,
    help="With --install: the extras of edgetl to install.",
)
@click.option(
    "--service", metavar="COMMAND", help='Start this command at boot, such as "run mugs.tflite --camera 0".'
)
@unit_option
@device_options
@json_option
def command(
    words: tuple[str, ...], rollback: bool, service: str | None, as_json: bool, **options: Any
) -> None:
    """Deploy the model file MODEL to devices over ssh, test it there, and return to the old one if the test fails.

    DEVICE is what ssh accepts: pi@mugs.local, or a name in your ssh configuration. Host keys are verified, and neither
    passwords nor questions are used. The model is copied beside the old one and switched in one step, so that the device
    is always on one of the two. What the device learned is kept; for another backbone, it is embedded again from the
    pictures. A service named with --name is restarted. A device that fails does not stop the others; the exit code is
    then 1.

    \b
    Examples:
      edgetl deploy mugs.tflite pi@mugs.local --install --service "run mugs.tflite --camera 0"
      edgetl deploy better.tflite pi@shed.local pi@barn.local
      edgetl deploy --rollback pi@shed.local
    """
    with device_rows() as progress:
        results = (
            _roll_back(words, progress, options) if rollback else _deploy(words, service, progress, options)
        )
    failed = [result.target for result in results if not result.succeeded]
    emit(
        {"devices": [result.to_dict() for result in results], "failed": failed},
        as_json,
        lambda: _text(results),
    )
    for result in results:
        for warning in result.warnings:
            say(wrapped(f"{result.target}: {warning}" if not warning.startswith(result.target) else warning))
    if failed:
        click.get_current_context().exit(1)


def _deploy(
    words: Sequence[str], service: str | None, progress: Any, options: dict[str, Any]
) -> list[Deployment]:
    if len(words) < 2:
        raise click.UsageError(
            "name a model file and at least one device, such as: edgetl deploy mugs.tflite pi@mugs.local"
        )
    if options["wheels"] and not options["install"]:
        raise click.UsageError("--wheels needs --install")
    model = Path(words[0])
    plan_words = _service_words(service, model)
    parallel = options.pop("parallel")
    from edgetl.remote.deployment import Plan, deploy

    return deploy(Plan(model, service=plan_words, **options), words[1:], parallel=parallel, progress=progress)


def _roll_back(words: Sequence[str], progress: Any, options: dict[str, Any]) -> list[Deployment]:
    from edgetl.remote.deployment import roll_back

    chosen = {name: options[name] for name in ("folder", "python", "unit", "config", "parallel")}
    return roll_back(words, progress=progress, **chosen)


def _service_words(service: str | None, model: Path) -> tuple[str, ...]:
    """Return the words of ``--service``, parsed here, so that a mistake is found before anything is copied."""
    if service is None:
        return ()
    from .service import checked_command

    try:
        words = tuple(shlex.split(service))
    except ValueError as error:
        raise click.UsageError(f"--service {service!r} cannot be read: {error}") from error
    if not words:
        raise click.UsageError('--service is empty; name a command, such as "run mugs.tflite --camera 0"')
    _, named = checked_command(words)
    if named is None or str(named) != f"{model.stem}.tflite":
        raise click.UsageError(
            f"--service runs {named}, but the model will be {model.stem}.tflite in the folder of the deployment: "
            f'"{words[0]} {model.stem}.tflite ..."'
        )
    return words


def _text(results: Sequence[Deployment]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Device", "Result", "Model", "What it learned"):
        table.add_column(title, no_wrap=title != "What it learned")
    for result in results:
        shown = Text(result.outcome, style=_COLORS[result.outcome])
        model = f"{result.model}, {result.sha256[:12]}" if result.succeeded else ""
        table.add_row(result.target, shown, model, _state(result) if result.succeeded else "")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip().splitlines()]
    return "\n".join([*lines, *(line for result in results for line in _notes(result))])


def _state(result: Deployment) -> str:
    samples = result.probe.get("samples") or result.state.get("samples", {})
    how = "its own state" if result.outcome == "returned" else _HOW[result.state.get("how", "kept")]
    return f"{how}: {counted(samples)}" if samples else how


def _notes(result: Deployment) -> list[str]:
    notes = []
    if result.outcome == "rolled back":
        old = (
            "the old model is in use again"
            if result.previous or result.release
            else "no model is in use, as before"
        )
        notes.append(f"{result.target}: the test failed, {old}: {result.reason}")
    elif result.outcome == "failed":
        notes.append(f"{result.target}: {result.reason}")
    elif result.outcome == "deployed" and result.state.get("note"):
        kept = f" The old state is kept in {result.state['from']}." if result.state.get("from") else ""
        notes.append(f"{result.target}: {result.state['note']}.{kept}")
    if result.outcome == "deployed" and (left := result.state.get("left_behind")):
        notes.append(f"{result.target}: not taken over, without a picture: {counted(left)}.")
    return [wrapped(note) for note in notes]
