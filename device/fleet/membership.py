"""A device's side of a fleet: what it contributes, and what it does with what comes back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ..errors import FleetError
from ..labels import check_label
from ..learner.shared import (
    Shared,
    check_weight,
    erase_shared,
    load_shared,
    refuse_too_many,
    reweigh_shared,
    save_shared,
)
from ..model.memory import Sums
from ..store import Store
from .contribution import FleetModel, check_client, contribution_of
from .noise import check_noise
from .packing import pack_contribution, unpack_contribution

_SETTING = "fleet"


@dataclass(frozen=True)
class Membership:
    """How a device takes part in a fleet; the state file keeps it.

    Attributes:
        device: Name of the device.
        personal: Labels that stay on the device.
        min_count: Labels with fewer samples stay on the device.
        weight: How much a sample of another device counts, see `device.learner.shared.Shared`.
        noise: Standard deviation of the noise on what is contributed, see `device.fleet.noise`.
        secret: The secret from which the noise is drawn, as hexadecimal digits; it never leaves the device.
        left: The device has left: it contributes nothing and keeps nothing of the others.
    """

    device: str
    personal: tuple[str, ...] = ()
    min_count: int = 1
    weight: float = 1.0
    noise: float = 0.0
    secret: str = ""
    left: bool = False

    @classmethod
    def of(
        cls,
        device: str,
        *,
        personal: Sequence[str] = (),
        min_count: int = 1,
        weight: float = 1.0,
        noise: float = 0.0,
    ) -> Self:
        """Return a membership after its values are checked.

        Raises:
            FleetError: A value is out of range.
            LabelError: A personal label cannot be a label.
        """
        if min_count < 1:
            raise FleetError(f"the minimum number of samples per label must be at least 1, got {min_count}")
        labels = tuple(sorted({check_label(label, stored=True) for label in personal}))
        return cls(check_client(device), labels, min_count, check_weight(weight), check_noise(noise))


def join(store: Store, membership: Membership) -> None:
    """Write a membership into a state file; what was received before is weighed anew.

    Raises:
        FleetError: There can be no noise on the embeddings of this model.
    """
    check_noise(membership.noise, store.identity.embedding_map)
    before: dict[str, Any] = store.setting(_SETTING) or {}
    secret = before.get("secret") or secrets.token_hex(32)  # the same noise as before
    membership = replace(membership, secret=secret)
    store.set_setting(_SETTING, asdict(membership))
    reweigh_shared(store, membership.weight)


def leave(store: Store) -> bool:
    """Leave the fleet: contribute nothing from now on, and erase what the other devices have learned.

    Predictions are then bit for bit those of the device's own samples.

    Returns:
        Whether the device was in a fleet.
    """
    membership = membership_in(store)
    if membership is not None:
        store.set_setting(_SETTING, asdict(replace(membership, left=True)))
    return erase_shared(store) or (membership is not None and not membership.left)


def confirm_left(store: Store) -> None:
    """Note that the server has learned that the device left; only the secret of its noise is kept."""
    found: dict[str, Any] = store.setting(_SETTING) or {}
    store.set_setting(_SETTING, {"secret": found.get("secret", "")})


def membership_in(store: Store) -> Membership | None:
    """Return the membership in a state file; None if the device never joined a fleet."""
    found: dict[str, Any] | None = store.setting(_SETTING)
    if found is None or "device" not in found:
        return None
    return Membership(**(found | {"personal": tuple(found["personal"])}))


def contribute(store: Store, membership: Membership) -> bytes:
    """Return the packed contribution of a state file."""
    return pack_contribution(
        contribution_of(
            store,
            membership.device,
            personal=membership.personal,
            min_count=membership.min_count,
            noise=membership.noise,
            secret=bytes.fromhex(membership.secret),
        )
    )


def receive(store: Store, data: bytes, *, number: int, devices: int) -> bool:
    """Keep what the other devices have learned, in place of what came before.

    Args:
        store: The state file.
        data: Packed statistics of all other devices.
        number: Number of the round.
        devices: Number of the other devices.

    Returns:
        Whether anything changed; equal statistics are not written again, because each write wears an SD card.

    Raises:
        FleetError: The statistics are damaged, of another model, or of no set of samples.
        StorageError: They cannot be written. Then the ones before stay.
    """
    membership = membership_in(store)
    if membership is None or membership.left:
        return False
    sums = unpack_contribution(data, FleetModel.of(store.identity), "the fleet").sums
    refuse_too_many(sums, membership.weight)
    before = load_shared(store)
    if before is not None and _same(before.sums, sums) and before.weight == membership.weight:
        return False
    save_shared(store, Shared(sums, membership.weight, number, devices))
    return True


def _same(mine: Sums, sums: Sums) -> bool:
    return bool(
        mine.labels == sums.labels
        and (mine.numbers == sums.numbers).all()
        and (mine.sums == sums.sums).all()
        and (mine.gram == sums.gram).all()
    )
