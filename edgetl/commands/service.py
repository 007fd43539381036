"""``edgetl service``: start a command at boot."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from device.addresses import redact

from .group import Group
from .options import emit, force_option, json_option
from .secrets import split_secrets
from .session import say

if TYPE_CHECKING:
    from device.system.service import Service

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
# the commands that run until they are stopped
LASTING = ("run", "serve", "buttons", "fleet serve", "fleet join")


@click.group(cls=Group)
def command() -> None:
    """Start a command at boot, and again whenever it ends: a systemd service.

    \b
    Examples:
      sudo edgetl service install -- run mugs.tflite --camera 0
      edgetl service install --user -- serve mugs.tflite
      sudo edgetl service uninstall
    """


def _naming(function: Decorated) -> Decorated:
    function = click.option(
        "--user",
        "of_user",
        is_flag=True,
        help="A service of the current user: needs no root, starts at login.",
    )(function)
    return click.option("--name", default="edgetl", show_default=True, help="Name of the systemd unit.")(
        function
    )


def _running(required: bool) -> Callable[[Decorated], Decorated]:
    def add(function: Decorated) -> Decorated:
        function = click.option(
            "--run-as",
            metavar="USER",
            help="User that COMMAND runs as.  [default: the user who called sudo, else the current user]",
        )(function)
        return click.argument(
            "words", nargs=-1, required=required, type=click.UNPROCESSED, metavar="-- COMMAND ..."
        )(function)

    return add


@command.command()
@_running(required=True)
@_naming
@click.option("--no-start", is_flag=True, help="Only write the files.")
@force_option
@json_option
def install(
    words: tuple[str, ...],
    run_as: str | None,
    name: str,
    of_user: bool,
    no_start: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a unit for COMMAND, start it, and start it again at every boot.

    It runs in the current folder, so relative paths keep their meaning. To see its output: journalctl -u NAME -f.

    Addresses and headers (--webhook, --webhook-header, --mqtt, and --camera with an address) may contain passwords.
    They go into an environment file of mode 600 and not into the unit, which every user can read. So do the
    variables EDGETL_CAMERA, EDGETL_WEBHOOK..., EDGETL_MQTT... that are set when this command runs.

    \b
    Examples:
      sudo edgetl service install -- run mugs.tflite --camera 0 --on mug ./ring.sh
      edgetl service install --user --name page -- serve mugs.tflite
    """
    from device.system import service

    unit = _service(words, run_as, name, of_user)
    path = service.install(unit, force=force, start=not no_start)
    result = {
        "unit": str(path),
        "command": list(unit.command),
        "user": unit.user,
        "started": not no_start,
        "environment_file": str(unit.environment_path) if unit.secrets else None,
        "environment": [name for name, _ in unit.secrets],
    }
    emit(result, as_json, lambda: _installed(unit, no_start))


@command.command()
@_naming
@json_option
def uninstall(name: str, of_user: bool, as_json: bool) -> None:
    """Stop the service and remove its unit and its environment file; the state file stays.

    \b
    Example:
      sudo edgetl service uninstall --name edgetl
    """
    from device.system import service

    path = service.uninstall(name, of_user=of_user)
    emit({"removed": str(path)}, as_json, f"Stopped, and removed {path}.")


@command.command()
@_running(required=False)
@_naming
@json_option
def show(words: tuple[str, ...], run_as: str | None, name: str, of_user: bool, as_json: bool) -> None:
    """Print the installed unit, or the unit for COMMAND without installing it.

    \b
    Examples:
      edgetl service show
      edgetl service show -- run mugs.tflite --camera 0 > edgetl.service
    """
    from device.system import service

    if words:
        unit = _service(words, run_as, name, of_user)
        path, text = unit.path, unit.text()
        if unit.secrets:
            say(f"{unit.environment_path}, mode 600, would hold: {_names(unit)}")
    else:
        path, written = service.unit_path(name, of_user=of_user), service.read(name, of_user=of_user)
        text = redact(written)
        if text != written:
            say(
                "This unit contains a password that every user can read: install the service again with --force."
            )
    emit({"unit": str(path), "text": text, "installed": not words}, as_json, text.rstrip("\n"))


def _service(words: tuple[str, ...], run_as: str | None, name: str, of_user: bool) -> Service:
    from device.system.service import Service

    if run_as and of_user:
        raise click.UsageError("--run-as and --user exclude each other: with --user the command runs as you")
    found, model = checked_command(words)
    if model is not None and not model.exists():
        raise click.UsageError(
            f"{model} is not in {Path.cwd()}; change to its folder or use an absolute path"
        )
    name_words = _name_words(words)
    split = split_secrets(found, words[len(name_words) :])
    shown = (*name_words, *split.words)
    user = None if of_user else run_as or os.environ.get("SUDO_USER") or getpass.getuser()
    title = " ".join(("edgetl", *shown))
    program = (sys.executable, "-m", "edgetl", *shown)
    return Service(name, program, Path.cwd(), user, title, tuple(split.variables.items()))


def checked_command(words: tuple[str, ...]) -> tuple[click.Command, Path | None]:
    """Return the command of a service and the model that it runs.

    A mistake is reported now, not in the journal after the next boot.

    Raises:
        click.UsageError: It is not one of the commands that run until they are stopped, or its options are wrong.
    """
    from edgetl.cli import main

    name_words = _name_words(words)
    name, found = " ".join(name_words), main.get_command(click.get_current_context(), words[0])
    if isinstance(found, click.Group) and len(name_words) > 1:
        found = found.get_command(click.get_current_context(), name_words[1])
    if found is None or name not in LASTING:
        raise click.UsageError(f"a service runs one of the commands {', '.join(LASTING)}, got {name!r}")
    model = found.make_context(f"edgetl {name}", list(words[len(name_words) :])).params.get("model")
    return found, model if isinstance(model, Path) else None


def _name_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that name a command: two for those of ``edgetl fleet``."""
    return words[: 2 if words[0] == "fleet" else 1]


def _names(unit: Service) -> str:
    return ", ".join(name for name, _ in unit.secrets)


def _installed(unit: Service, no_start: bool) -> str:
    manager = " --user" if unit.user is None else ""
    lines = [f"Wrote {unit.path}."]
    if unit.secrets:
        lines.append(f"Wrote {unit.environment_path}, which only its owner can read: {_names(unit)}.")
    if no_start:
        lines.append(f"Start it with: systemctl{manager} enable --now {unit.name}")
    else:
        lines.append(
            f"It runs now and starts at every boot. To see its output: journalctl{manager} -u {unit.name} -f"
        )
    if unit.user is None:
        lines.append("To run it while you are not logged in, run once: sudo loginctl enable-linger $USER")
    return "\n".join(lines)
