"""Rounds of a fleet, with devices in this process in place of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import FleetError
from device.fleet import Contribution, FleetModel, pack_contribution
from device.fleet.ledger import Ledger, mark_of
from device.fleet.membership import (
    Membership,
    confirm_left,
    contribute,
    join,
    leave,
    membership_in,
    receive,
)
from device.fleet.rounds import Round, answer, run_round
from device.heads.exact import ExactHead
from device.learner.shared import load_shared
from device.store import ModelIdentity, NewSample, Store

from .conftest import DIMENSIONS

IDENTITY = ModelIdentity("7" * 64, DIMENSIONS)
MODEL = FleetModel.of(IDENTITY)


class Device:
    """A device that answers in this process.

    Attributes:
        silent: Steps that it does not answer.
    """

    def __init__(self, name: str, codes: Any, labels: list[str], **options: Any) -> None:
        self.store = Store.open(None, IDENTITY)
        self.store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
        join(self.store, Membership.of(name, **options))
        self.silent: set[str] = set()

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a message, as `edgetl.fleet.client_app` does."""
        if message["step"] in self.silent:
            return None
        membership = membership_in(self.store)

        def packed() -> bytes | None:
            if membership is not None and not membership.left:
                return contribute(self.store, membership)
            confirm_left(self.store)
            return None

        def keep(data: bytes, number: int, devices: int) -> bool:
            return receive(self.store, data, number=number, devices=devices)

        try:
            return answer(message, packed, keep, mark_of)
        except FleetError as error:
            return {"error": str(error)}


class Fleet:
    """A server with devices in this process."""

    def __init__(self, devices: dict[str, Device], folder: Path | None = None) -> None:
        self.devices, self.ledger, self.number = devices, Ledger(MODEL, folder), 0

    def exchange(
        self, messages: Mapping[str, Mapping[str, Any]], timeout: float
    ) -> dict[str, dict[str, Any]]:
        """Deliver messages and return the answers."""
        answers = {name: self.devices[name].answer(message) for name, message in messages.items()}
        return {name: reply for name, reply in answers.items() if reply is not None}

    def round(self) -> Round:
        """Run the next round."""
        self.number += 1
        return run_round(self.ledger, self.exchange, sorted(self.devices), number=self.number, timeout=5)


@pytest.fixture
def fleet(draw: Callable[..., Any], tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet of three devices, with the contributions on the disk."""
    devices = {f"d{seed}": Device(f"d{seed}", *draw(seed)) for seed in range(3)}
    yield Fleet(devices, tmp_path)
    for device in devices.values():
        device.store.close()


def everything(fleet: Fleet) -> ExactHead:
    """Return a head that learned every sample of every device."""
    head = ExactHead(DIMENSIONS)
    for device in fleet.devices.values():
        for _, labels, codes in device.store.taught_chunks():
            head.learn_many(codes, labels)
    return head


def others(fleet: Fleet, name: str) -> ExactHead:
    """Return a head that learned every sample of the other devices."""
    return everything(Fleet({other: device for other, device in fleet.devices.items() if other != name}))


def received_digest(device: Device) -> str:
    """Return the digest of what a device keeps of the others."""
    shared = load_shared(device.store)
    assert shared is not None
    return Contribution("x", MODEL, shared.sums).digest()


def test_one_round_has_the_digest_of_one_device_that_saw_everything(fleet: Fleet) -> None:
    """And each device has what the others learned."""
    done = fleet.round()
    assert done.contributed == done.received == ["d0", "d1", "d2"]
    assert (done.digest, done.counts, done.devices) == (
        everything(fleet).digest(),
        everything(fleet).counts,
        3,
    )
    for name, device in fleet.devices.items():
        assert received_digest(device) == others(fleet, name).digest()


def test_a_device_that_changed_nothing_sends_nothing_and_writes_nothing(fleet: Fleet) -> None:
    """The second round is cheap for the network and the SD card."""
    first = fleet.round()
    before = {name: device.store.position() for name, device in fleet.devices.items()}
    done = fleet.round()
    assert done.unchanged == ["d0", "d1", "d2"]
    assert done.bytes_up == 0 < first.bytes_up
    assert done.digest == first.digest
    assert before == {name: device.store.position() for name, device in fleet.devices.items()}


def test_what_a_device_forgets_and_learns_is_in_the_next_round(
    fleet: Fleet, draw: Callable[..., Any]
) -> None:
    """The next digest is again that of one device with all present samples."""
    fleet.round()
    fleet.devices["d1"].store.relabel({1: None, 2: None, 3: "cup"})
    done = fleet.round()
    assert (done.contributed, done.unchanged) == (["d1"], ["d0", "d2"])
    assert done.digest == everything(fleet).digest()
    assert received_digest(fleet.devices["d0"]) == others(fleet, "d0").digest()


def test_a_late_device_is_left_out_and_named_and_the_round_is_completed(fleet: Fleet) -> None:
    """In the first round nothing is known of it; later its last contribution stays in the sum."""
    fleet.devices["d2"].silent = {"contribute"}
    done = fleet.round()
    assert done.late == {"d2": "did not answer within 5 s"}
    assert (done.contributed, done.devices) == (["d0", "d1"], 2)
    fleet.devices["d2"].silent = set()
    fleet.round()
    fleet.devices["d2"].silent = {"contribute"}
    done = fleet.round()
    assert (sorted(done.late), done.devices) == (["d2"], 3)
    assert done.digest == everything(fleet).digest()


def test_a_device_that_dies_in_the_middle_of_a_round_is_named(fleet: Fleet) -> None:
    """It contributed, but did not confirm; the others have its contribution."""
    fleet.devices["d0"].silent = {"receive"}
    done = fleet.round()
    assert done.late == {"d0": "did not confirm within 5 s"}
    assert done.received == ["d1", "d2"]
    assert received_digest(fleet.devices["d1"]) == others(fleet, "d1").digest()
    assert load_shared(fleet.devices["d0"].store) is None


FOREIGN = pack_contribution(
    Contribution.of("d1", FleetModel("6" * 64, DIMENSIONS), np.zeros((1, DIMENSIONS), np.int16), ["x"])
)


@pytest.mark.parametrize("data", [b"", b"PK nothing", FOREIGN], ids=["empty", "no arrays", "another model"])
def test_a_refused_device_is_named_and_nothing_of_it_is_in_the_sum(data: bytes, fleet: Fleet) -> None:
    """Not even what it contributed before."""
    fleet.round()
    fleet.devices["d1"].answer = lambda message: {"data": data}  # type: ignore[method-assign]
    done = fleet.round()
    assert list(done.refused) == ["d1"]
    assert "the contribution of d1 is refused" in done.refused["d1"]
    assert (done.devices, done.received) == (2, ["d0", "d2"])
    assert done.digest == others(fleet, "d1").digest()


def test_a_failure_on_a_device_is_named(fleet: Fleet) -> None:
    """The reason is the one that the device gives."""
    fleet.devices["d1"].answer = lambda message: {"error": "the disk is full"}  # type: ignore[method-assign]
    assert fleet.round().late == {"d1": "failed: the disk is full"}


def test_a_device_cannot_contribute_under_the_name_of_another(fleet: Fleet) -> None:
    """What counts is who sent the message, not the name in it."""
    stolen = contribute(fleet.devices["d0"].store, Membership.of("d0"))
    fleet.devices["d1"].answer = lambda message: {"data": stolen, "changed": True}  # type: ignore[method-assign]
    fleet.round()
    assert fleet.ledger.devices == ["d0", "d1", "d2"]
    assert fleet.ledger.get("d1").client == "d1"


def test_a_device_that_left_is_no_longer_in_the_sum_and_keeps_nothing(fleet: Fleet) -> None:
    """It learns so in the next round; afterwards it is no member any more."""
    fleet.round()
    device = fleet.devices["d1"]
    assert leave(device.store)
    assert load_shared(device.store) is None
    done = fleet.round()
    assert (done.left, done.devices) == (["d1"], 2)
    assert done.digest == others(fleet, "d1").digest()
    assert membership_in(device.store) is None
    assert not leave(device.store)


def test_the_server_continues_with_its_contributions_after_a_restart(fleet: Fleet, tmp_path: Path) -> None:
    """They are on its disk."""
    digest = fleet.round().digest
    again = Fleet(fleet.devices, tmp_path)
    done = again.round()
    assert (done.unchanged, done.digest) == (["d0", "d1", "d2"], digest)


def test_a_damaged_contribution_on_the_disk_is_refused_by_name(fleet: Fleet, tmp_path: Path) -> None:
    """The server never adds what it cannot check."""
    fleet.round()
    (tmp_path / "d1.npz").write_bytes(b"damaged")
    with pytest.raises(FleetError, match="d1"):
        fleet.ledger.total()


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_device_without_a_contribution_has_no_mark(on_disk: bool, tmp_path: Path) -> None:
    """Its contribution cannot be read, and the message names the device."""
    ledger = Ledger(MODEL, tmp_path if on_disk else None)
    assert ledger.mark("shed") == ""
    with pytest.raises(FleetError, match="shed has contributed nothing yet"):
        ledger.get("shed")


def test_personal_labels_do_not_leave_the_device(fleet: Fleet) -> None:
    """Neither as samples nor as names."""
    join(fleet.devices["d0"].store, Membership.of("d0", personal=["mug"]))
    fleet.round()
    assert fleet.ledger.get("d0").sums.labels == ("bowl", "cup")


@pytest.mark.parametrize(
    "options", [{"weight": 0.3}, {"weight": -0.5}, {"weight": 2}, {"min_count": 0}]
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    """The message contains the value."""
    with pytest.raises(FleetError, match=str(next(iter(options.values())))):
        Membership.of("shed", **options)


def test_an_unknown_step_is_an_error() -> None:
    """A server of another version may send one."""
    with pytest.raises(FleetError, match="unknown step 'dance'"):
        answer({"step": "dance"}, lambda: None, lambda *_: False, mark_of)
