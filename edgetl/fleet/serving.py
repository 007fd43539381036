"""The server of a fleet: a SuperLink, the devices that may connect, and the rounds."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from device.errors import FleetError
from device.fleet.contribution import FleetModel
from device.fleet.ledger import Ledger
from device.learner.learner import identity_of
from device.model.modelfile import ModelFile

from . import PORT
from .certificates import make_authority, make_server_certificate, public_key_bytes, require_flower
from .folder import FleetFolder
from .processes import SERVER_FOLDER, environment, require_running, running

_POLL = 0.2
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def serve(
    model: str | Path,
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    addresses: Sequence[str] = (),
    devices: int = 1,
    rounds: int | None = None,
    every: float = 60.0,
    timeout: float = 60.0,
    outliers: str = "report",
) -> Generator[dict[str, Any], None, None]:
    """Run the server of a fleet, and yield what happens as JSON-serializable dicts.

    The first has the key ``event`` with the value ``ready``; a round has the value ``round`` and the fields of
    `device.fleet.rounds.Round`.

    Args:
        model: The model file of the fleet.
        folder: Where the server keeps its files; it is made if it does not exist.
        host: Address to listen on.
        port: Port to listen on.
        addresses: Names and IP addresses by which devices reach this machine, for its certificate.
        devices: Number of devices to wait for before each round.
        rounds: Number of rounds; None runs them until the iterator is closed.
        every: Seconds between rounds.
        timeout: Seconds to wait for the answers of devices, twice per round.
        outliers: ``report`` devices whose labels contradict the others, also ``exclude`` them, or ``ignore`` the question.

    Raises:
        FleetError: The SuperLink cannot be started, or the folder belongs to another model.
        MissingExtraError: Flower is not installed.
        ModelFileError: The model file is damaged or foreign.
        StorageError: The folder cannot be written.
    """
    require_flower()
    fleet = FleetFolder.open(folder, create=True)
    opened = ModelFile.open(model)
    Ledger(FleetModel.of(identity_of(opened)), fleet.contributions).total()  # refuses those of another model
    make_authority(fleet)
    make_server_certificate(fleet, (*addresses, *([] if host in _ANY else [host])))
    seen = fleet.rounds.stat().st_size if fleet.rounds.exists() else 0
    settings = {
        "model": str(opened.path.resolve()),
        "first": _last_round(fleet) + 1,
        "rounds": rounds,
        "every": every,
        "timeout": timeout,
        "outliers": outliers,
        "devices": devices,
        "nodes": {},
    }
    fleet.write_settings(settings)
    log = fleet.flower / "superlink.log"
    env = environment(fleet.flower.resolve(), **{SERVER_FOLDER: str(fleet.path.resolve())})
    with running("edgetl.fleet.superlink", _options(fleet, host, port), env, log) as process:
        from .control import Control

        with closing(Control(_local(host, port), fleet.path / "ca.pem")) as control:
            while not control.is_ready():
                require_running(process, "Flower's SuperLink", log)
            registered = _register(control, fleet, settings, {})
            control.start_run()
            yield {"event": "ready", "host": host, "port": port, "devices": sorted(registered)}
            left = rounds
            while left is None or left > 0:
                require_running(process, "Flower's SuperLink", log)
                registered = _register(control, fleet, settings, registered)
                events, seen = _events(fleet, seen)
                for event in events:
                    if event["event"] == "failed":
                        raise FleetError(f"the rounds stopped: {event['reason']}")
                    left = None if left is None else left - 1
                    yield event
                time.sleep(_POLL)


def _options(fleet: FleetFolder, host: str, port: int) -> list[str]:
    files = {
        "--ssl-ca-certfile": "ca.pem",
        "--ssl-certfile": "server.pem",
        "--ssl-keyfile": "server.key",
    }
    named = [part for option, file in files.items() for part in (option, str((fleet.path / file).resolve()))]
    return [
        "--host",
        host,
        "--port",
        str(port),
        *named,
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


def _local(host: str, port: int) -> str:
    """Return the address at which this machine reaches its own server."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    try:
        return f"[{reached}]:{port}" if ipaddress.ip_address(reached).version == 6 else f"{reached}:{port}"
    except ValueError:
        return f"{reached}:{port}"


def _register(
    control: Any, fleet: FleetFolder, settings: dict[str, Any], registered: dict[str, tuple[bytes, int]]
) -> dict[str, tuple[bytes, int]]:
    """Register the devices that were invited since the last call, unregister those that were removed; return all.

    Args:
        control: The SuperLink.
        fleet: The folder.
        settings: Settings of the server; they are written again if a device came or went.
        registered: Name -> public key and node of the registered devices.
    """
    wanted = {name: public_key_bytes(fleet.public_key(name)) for name in fleet.names()}
    kept = {name: (key, node) for name, (key, node) in registered.items() if wanted.get(name) == key}
    for name in registered.keys() - kept.keys():
        control.unregister(registered[name][1])
    new = wanted.keys() - kept.keys()
    kept |= {name: (wanted[name], control.register(name, wanted[name])) for name in sorted(new)}
    if kept != registered:
        settings["nodes"] = {str(node): name for name, (_, node) in kept.items()}
        fleet.write_settings(settings)
    return kept


def _events(fleet: FleetFolder, seen: int) -> tuple[list[dict[str, Any]], int]:
    """Return the complete lines after `seen` bytes, and the number of bytes seen now."""
    if not fleet.rounds.exists():
        return [], seen
    with fleet.rounds.open("rb") as file:
        file.seek(seen)
        data = file.read()
    complete = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in complete.splitlines()], seen + len(complete)


def _last_round(fleet: FleetFolder) -> int:
    events, _ = _events(fleet, 0)
    return max((event["number"] for event in events if event["event"] == "round"), default=0)
