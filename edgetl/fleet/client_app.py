"""Flower's ClientApp of a device: it answers the messages of `device.fleet.rounds.run_round`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from device.errors import EdgetlError
from device.fleet.ledger import mark_of
from device.fleet.membership import confirm_left, contribute, membership_in, receive
from device.fleet.rounds import answer
from device.learner.learner import identity_of
from device.model.modelfile import ModelFile
from device.store import Store

from .processes import DEVICE_SETTINGS

app = ClientApp()


@app.query()  # type: ignore[untyped-decorator]  # Flower is not installed where mypy runs
def query(message: Message, context: Context) -> Message:
    """Answer one message of the server, from the state file of this device."""
    try:
        fields = _answer(dict(message.content["fleet"]))
    except EdgetlError as error:
        fields = {"error": str(error)}
    return Message(RecordDict({"fleet": ConfigRecord(fields)}), reply_to=message)


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    settings = json.loads(Path(os.environ[DEVICE_SETTINGS]).read_text(encoding="utf-8"))
    model = ModelFile.open(settings["model"])
    with Store.open(settings["state"], identity_of(model)) as store:
        membership = membership_in(store)

        def packed() -> bytes | None:
            if membership is not None and not membership.left:
                return contribute(store, membership)
            confirm_left(store)
            return None

        def keep(data: bytes, number: int, devices: int) -> bool:
            return receive(store, data, number=number, devices=devices)

        return answer(message, packed, keep, mark_of)
