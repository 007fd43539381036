"""Flower's ServerApp of a fleet: it runs round after round until the server stops."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from typing import Any

from flwr.app import ConfigRecord, Context, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from device.errors import EdgetlError
from device.fleet.contribution import FleetModel
from device.fleet.ledger import Ledger
from device.fleet.rounds import Round, run_round
from device.learner.learner import identity_of
from device.model.modelfile import ModelFile

from .folder import FleetFolder
from .processes import SERVER_FOLDER

app = ServerApp()
_POLL = 0.2  # seconds


@app.main()  # type: ignore[untyped-decorator]  # Flower is not installed where mypy runs
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; what happens is written to the fleet's folder."""
    folder = FleetFolder.open(os.environ[SERVER_FOLDER])
    try:
        _run(grid, folder)
    except EdgetlError as error:
        folder.log({"event": "failed", "reason": str(error)})


def _run(grid: Grid, folder: FleetFolder) -> None:
    settings = folder.read_settings()
    model = FleetModel.of(identity_of(ModelFile.open(settings["model"])))
    ledger = Ledger(model, folder.contributions)
    number = int(settings["first"])
    last = None if settings["rounds"] is None else number + settings["rounds"]
    done: Round | None = None
    while last is None or number < last:
        nodes = _wait_for_devices(grid, folder)
        done = run_round(
            ledger,
            functools.partial(exchange, grid, nodes),
            sorted(nodes),
            number=number,
            timeout=float(settings["timeout"]),
            outliers=settings["outliers"],
            previous=done,
        )
        folder.log({"event": "round", **done.to_dict()})
        number += 1
        if last is None or number < last:
            time.sleep(float(settings["every"]))


def _wait_for_devices(grid: Grid, folder: FleetFolder) -> dict[str, int]:
    """Return the devices that are there, name -> node, once they are enough."""
    while True:
        settings = folder.read_settings()  # more devices may have been invited
        names = {int(node): name for node, name in settings["nodes"].items()}
        found = {names[node]: node for node in grid.get_node_ids() if node in names}
        if len(found) >= settings["devices"]:
            return found
        time.sleep(_POLL)


def exchange(
    grid: Grid, nodes: Mapping[str, int], messages: Mapping[str, Mapping[str, Any]], timeout: float
) -> dict[str, dict[str, Any]]:
    """Send a message to each device and return the answers that come in time, by device."""
    deadline = time.monotonic() + timeout
    sent = [
        grid.create_message(
            content=RecordDict({"fleet": ConfigRecord(dict(fields))}),
            message_type=MessageType.QUERY,
            dst_node_id=nodes[device],
            group_id=str(fields["round"]),
            ttl=timeout,
        )
        for device, fields in messages.items()
    ]
    waiting = set(grid.push_messages(sent)) if sent else set()
    devices = {node: device for device, node in nodes.items()}
    answers: dict[str, dict[str, Any]] = {}
    while waiting and time.monotonic() < deadline:
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            device = devices[reply.metadata.src_node_id]
            answers[device] = _fields(reply)
        time.sleep(_POLL)
    return answers


def _fields(reply: Any) -> dict[str, Any]:
    if reply.has_error():
        return {"error": str(reply.error.reason)}
    try:
        return dict(reply.content["fleet"])
    except KeyError:
        return {"error": "its answer is not one of edgetl"}
