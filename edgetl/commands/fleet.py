"""``edgetl fleet``: let devices learn together, by adding their statistics over Flower."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from device.printable import visible

from ..fleet import PORT
from .group import Group
from .options import emit, force_option, json_option, model_argument, state_option, state_path
from .session import counted, interruptible, wrapped

_ADDRESS = f"127.0.0.1:{PORT}"


@click.group(cls=Group)
def command() -> None:
    """Let devices learn together: they send statistics, and never pictures or samples.

    Each device sends the exact sums of what it was taught. The server adds them and returns to each device what the others have
    learned. After one round, the sum is bit for bit that of one device that was taught everything.

    \b
    Examples:
      edgetl fleet invite shed --address fleet.local:8765
      edgetl fleet serve mugs.tflite --host 0.0.0.0 --address fleet.local
      edgetl fleet join mugs.tflite shed.invitation
      edgetl fleet leave mugs.tflite
    """


def _folder_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default="fleet",
        show_default=True,
        help="Folder of the fleet on the server: certificates, keys and contributions.",
    )(function)


@command.command()
@click.argument("name")
@_folder_option
@click.option(
    "--address",
    default=_ADDRESS,
    show_default=True,
    help="Host and port at which the device reaches the server.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The invitation.  [default: NAME.invitation]",
)
@force_option
@json_option
def invite(name: str, folder: Path, address: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Let the device NAME join the fleet, and write its invitation.

    Copy the file to the device over a safe way, such as scp, and delete it here: it contains the key of the device. The first
    invitation also makes the fleet's certificate authority. This works while "edgetl fleet serve" is running.

    \b
    Example:
      edgetl fleet invite shed --address fleet.local:8765
    """
    from edgetl.fleet.invitation import invite

    path = invite(folder, name, address, out, force=force)
    text = f"Wrote {path}. Copy it to the device and run there: edgetl fleet join MODEL {path.name}"
    emit({"name": name, "invitation": str(path), "address": address}, as_json, text)


@command.command()
@click.argument("name")
@_folder_option
@json_option
def remove(name: str, folder: Path, as_json: bool) -> None:
    """Remove the device NAME from the fleet: its key and what it contributed.

    Its samples are no longer in the sum from the next round on, and it can no longer connect.

    \b
    Example:
      edgetl fleet remove shed
    """
    from edgetl.fleet.folder import FleetFolder

    FleetFolder.open(folder).remove(name)
    emit({"name": name, "removed": True}, as_json, f"Removed {name} from the fleet in {folder}.")


@command.command()
@model_argument
@_folder_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines connect.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port to listen on."
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="NAME",
    help="Name or IP address by which devices reach this machine, for its certificate; several times for several.",
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of devices to wait for before each round.",
)
@click.option("--rounds", type=click.IntRange(1), help="Stop after this number of rounds.  [default: never]")
@click.option(
    "--every",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds between two rounds.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the answers of devices; later ones are left out of the round.",
)
@click.option(
    "--outliers",
    type=click.Choice(["report", "exclude", "ignore"]),
    default="report",
    show_default=True,
    help="What to do about devices whose labels contradict the others: report them, also leave them out of the sum, or do "
    "not check.",
)
@json_option
def serve(model: Path, folder: Path, as_json: bool, **options: Any) -> None:
    """Add what the devices have learned, and return it to them, round after round.

    MODEL is the model file of the fleet: only devices with the same backbone are accepted. Connections are encrypted and each
    device proves with its key that it was invited, also on this machine. Contributions that no set of samples can have are
    refused. Stop with Ctrl-C; --json writes one line per event.

    \b
    Examples:
      edgetl fleet serve mugs.tflite
      edgetl fleet serve mugs.tflite --host 0.0.0.0 --address fleet.local --devices 3
    """
    from edgetl.fleet.serving import serve

    with contextlib.closing(serve(model, folder, **options)) as events, interruptible():
        for event in events:
            _write(event, as_json, _served)


@command.command()
@model_argument
@click.argument("invitation", type=click.Path(path_type=Path, dir_okay=False))
@state_option
@click.option(
    "--personal",
    multiple=True,
    metavar="LABEL",
    help="A label that stays on this device; several times for several.",
)
@click.option(
    "--min-count",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Labels with fewer samples stay on this device.",
)
@click.option(
    "--shared-weight",
    "weight",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="How much a sample of another device counts; a sample of this device counts 1. A multiple of 1/16.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help="Standard deviation of noise on each number of an embedding of length one, before it is summed.",
)
@json_option
def join(model: Path, invitation: Path, state: Path | None, as_json: bool, **options: Any) -> None:
    """Take part in a fleet with the file INVITATION, until Ctrl-C or "edgetl fleet leave".

    In each round this device sends the sums of its samples, and receives those of all others, which its predictions use from
    then on. Other commands may teach and predict meanwhile. What was received survives a restart.

    \b
    Examples:
      edgetl fleet join mugs.tflite shed.invitation
      edgetl fleet join mugs.tflite shed.invitation --personal "my mug" --min-count 5 --shared-weight 0.5
    """
    from edgetl.fleet.joining import take_part

    events = take_part(model, invitation, state=state_path(model, state), **options)
    with contextlib.closing(events), interruptible():
        for event in events:
            _write(event, as_json, _joined)


@command.command()
@model_argument
@state_option
@json_option
def leave(model: Path, state: Path | None, as_json: bool) -> None:
    """Leave the fleet: erase what the other devices have learned, and contribute nothing from now on.

    Predictions are then exactly those of the samples taught here. If "edgetl fleet join" is running, the server removes this
    device's contribution in the next round and "join" ends after it; otherwise run "edgetl fleet remove" on the server.

    \b
    Example:
      edgetl fleet leave mugs.tflite
    """
    from device.fleet.membership import leave
    from device.learner.learner import identity_of
    from device.model.modelfile import ModelFile
    from device.store import Store

    identity, path, left = identity_of(ModelFile.open(model)), state_path(model, state), False
    if path.exists():  # otherwise nothing was taught or joined, and no state file is made
        with Store.open(path, identity) as store:
            left = leave(store)
    text = f"{model} left the fleet." if left else f"{model} is in no fleet; nothing changed."
    emit({"left": left}, as_json, text)


def _write(event: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """Write an event at once, as one line of JSON or as text."""
    click.echo(visible(json.dumps(event, ensure_ascii=False) if as_json else text(event)))


def _served(event: dict[str, Any]) -> str:
    if event["event"] == "ready":
        invited = ", ".join(event["devices"]) or "none yet; see: edgetl fleet invite --help"
        return wrapped(
            f"Listening on {event['host']}:{event['port']}. Invited devices: {invited}. Ctrl-C stops."
        )
    lines = [
        f"Round {event['number']}: {event['devices']} devices, {counted(event['counts'])}"
        f" ({len(event['contributed'])} new, {len(event['unchanged'])} unchanged, {event['seconds']:.1f} s)"
    ]
    for device, reason in sorted({**event["late"], **event["refused"]}.items()):
        what = "refused" if device in event["refused"] else "left out"
        lines.append(f"{device} {what}: {reason}")
    what = "left out" if event["excluded"] else "in the sum all the same"
    lines += [
        f"{device} is unlike the others, {what}: they explain {event['explained'][device]:.0%} of its labels"
        for device in event["unlike"]
    ]
    lines += [f"{device} left the fleet" for device in event["left"]]
    return "\n".join(wrapped(line) for line in lines)


def _joined(event: dict[str, Any]) -> str:
    if event["event"] == "joined":
        kept = f" These labels stay here: {', '.join(event['personal'])}." if event["personal"] else ""
        return wrapped(f"Joined the fleet at {event['server']} as {event['device']}.{kept} Ctrl-C stops.")
    if event["event"] == "left":
        return f"{event['device']} left the fleet."
    if event["event"] == "disconnected":
        return wrapped(f"Disconnected, trying again: {event['reason']}")
    return wrapped(
        f"Round {event['round']}: received {event['samples']} samples' statistics of {event['devices']} other devices:"
        f" {counted(event['labels'])}"
    )
