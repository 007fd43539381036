"""Rounds of a fleet, on the server: ask each device, check and add what it answers, and return the sum to all.

How messages travel is left to a function, so that a round is the same over Flower, in a simulation and in a test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import FleetError
from .influence import FEWEST, explained_by_others, unlike_the_others
from .ledger import Ledger, pack_others
from .total import Total

Message = Mapping[str, Any]
"""Keys and values of a message: text, numbers and bytes."""

Exchange = Callable[[Mapping[str, Message], float], Mapping[str, "Message"]]
"""(device -> message, seconds) -> device -> answer, without the devices that did not answer in time.

An answer with the key ``error`` is a failure on the device.
"""


@dataclass
class Round:
    """What happened in a round.

    Attributes:
        number: Its number, from 1.
        contributed: Devices whose contribution is new.
        unchanged: Devices that have learned and forgotten nothing since their last contribution.
        late: Devices that did not answer in time, or failed, and why; their last contribution, if any, stays in the sum.
        refused: Devices whose contribution was refused, and why; nothing of them is in the sum.
        left: Devices that left the fleet; nothing of them is in the sum.
        explained: Per device the share of its labels that the others explain, see `device.fleet.influence`; empty if it was
            not computed.
        unlike: Devices whose share is far below that of the others.
        excluded: Whether those are left out of the sum.
        received: Devices that confirmed that they have what the others learned.
        devices: Number of devices in the sum.
        counts: Number of samples per label in the sum.
        digest: sha256 of the sum, that of one device that saw everything.
        bytes_up: Bytes of all contributions.
        bytes_down: Bytes of everything returned.
        seconds: Duration.
    """

    number: int
    contributed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    late: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    explained: dict[str, float] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)
    excluded: bool = False
    received: list[str] = field(default_factory=list)
    devices: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


def run_round(
    ledger: Ledger,
    exchange: Exchange,
    devices: Sequence[str],
    *,
    number: int,
    timeout: float,
    outliers: str = "report",
    previous: Round | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Round:
    """Run one round: every device that answers in time takes part, and no device can hold up the others.

    Args:
        ledger: The newest contributions; the answers change it.
        exchange: Sends messages and returns answers.
        devices: Names of the devices that are there.
        number: Number of the round.
        timeout: Seconds to wait for contributions, and again for confirmations.
        outliers: What to do about devices that are unlike the others: ``report`` them, also ``exclude`` them from the sum, or
            ``ignore`` the question, which saves one ridge regression per device.
        previous: The round before, whose check is still true if nothing changed since.
        clock: Returns seconds.

    Raises:
        FleetError: A contribution on the server's disk is damaged.
        StorageError: A contribution cannot be written.
    """
    started, found = clock(), Round(number)
    questions = {
        device: {"step": "contribute", "round": number, "have": ledger.mark(device)} for device in devices
    }
    answers = exchange(questions, timeout)
    for device in devices:
        _note(ledger, found, device, answers.get(device), timeout)
    if outliers != "ignore":
        _check_alike(ledger, found, previous)
    found.excluded = outliers == "exclude" and bool(found.unlike)
    total = ledger.total(without=found.unlike if found.excluded else ())
    found.devices = len(ledger.devices) - (len(found.unlike) if found.excluded else 0)
    found.counts = total.counts
    found.digest = total.digest()
    _return(ledger, exchange, total, found, timeout)
    found.seconds = clock() - started
    return found


def answer(
    message: Message,
    contribute: Callable[[], bytes | None],
    receive: Callable[[bytes, int, int], bool],
    mark: Callable[[bytes], str],
) -> dict[str, Any]:
    """Return the answer of a device to a message of `run_round`.

    Args:
        message: The message.
        contribute: Returns the packed contribution of the device; None if it has left.
        receive: Keeps packed statistics of the others, from (bytes, round, number of devices).
        mark: Returns the mark of a packed contribution, `device.fleet.ledger.mark_of`.

    Raises:
        FleetError: The message has an unknown step.
    """
    step = message.get("step")
    if step == "contribute":
        data = contribute()
        if data is None:
            return {"left": True}
        return {"unchanged": True} if mark(data) == message["have"] else {"data": data}
    if step == "receive":
        return {"changed": receive(message["data"], message["round"], message["devices"])}
    raise FleetError(
        f"the server sent an unknown step {step!r}; install the same version of edgetl on all devices"
    )


def _note(ledger: Ledger, found: Round, device: str, reply: Message | None, timeout: float) -> None:
    """Put the answer of a device into the ledger and the round."""
    if reply is None:
        found.late[device] = f"did not answer within {timeout:g} s"
    elif "error" in reply:
        found.late[device] = f"failed: {reply['error']}"
    elif "left" in reply:
        ledger.drop(device)
        found.left.append(device)
    elif "unchanged" in reply and ledger.mark(device):
        found.unchanged.append(device)
    else:
        try:
            data = reply.get("data", b"")
            found.bytes_up += len(data)
            ledger.put(device, data)
            found.contributed.append(device)
        except FleetError as error:
            ledger.drop(device)
            found.refused[device] = str(error)


def _check_alike(ledger: Ledger, found: Round, previous: Round | None) -> None:
    changed = found.contributed or found.left or found.refused
    if previous is not None and previous.explained.keys() == set(ledger.devices) and not changed:
        found.explained, found.unlike = previous.explained, previous.unlike
    elif len(ledger.devices) >= FEWEST:
        found.explained = explained_by_others(ledger)
        found.unlike = unlike_the_others(found.explained)


def _return(ledger: Ledger, exchange: Exchange, total: Total, found: Round, timeout: float) -> None:
    """Return to each device that took part what all others have learned."""
    shares = {}
    for device in (*found.contributed, *found.unchanged):
        mine = found.excluded and device in found.unlike  # then it is not in the total
        data = pack_others(total, device, None if mine else ledger.get(device))
        found.bytes_down += len(data)
        shares[device] = {
            "step": "receive",
            "round": found.number,
            "devices": found.devices - (not mine),
            "data": data,
        }
    for device, reply in exchange(shares, timeout).items():
        if "error" in reply:
            found.late[device] = f"failed: {reply['error']}"
        else:
            found.received.append(device)
    for device in shares.keys() - {*found.received, *found.late}:
        found.late[device] = f"did not confirm within {timeout:g} s"
