"""What the other devices of a fleet have learned, kept in the state file beside what the device itself was taught.

It is stored among the derived heads, because it can be received again: the next round replaces it as a whole, leaving the
fleet erases it. Both leave an entry in the journal that changes no sample, so that every process notices.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from ..arrays import pack_arrays, unpack_arrays
from ..errors import EdgetlError, FleetError
from ..heads import Head
from ..heads.exact import ExactHead
from ..heads.packing import checked_array, pack_sums, unpack_sums
from ..heads.statistics import MAX_SAMPLES, WEIGHT_STEPS
from ..model.memory import Sums
from ..store import Store
from ..store.store import SHARED


@dataclass(frozen=True)
class Shared:
    """The statistics of the other devices of a fleet.

    Attributes:
        sums: Their sum.
        weight: How much a sample of another device counts, 0 to 1; a sample of this device counts 1.
        round: Number of the round.
        devices: Number of the other devices.
        time: When it was received, in seconds since the epoch.
    """

    sums: Sums
    weight: float = 1.0
    round: int = 0
    devices: int = 0
    time: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        check_weight(self.weight)

    @property
    def samples(self) -> int:
        """Number of samples of the other devices."""
        return int(self.sums.numbers.sum())


class _Facts(msgspec.Struct):
    weight: float
    round: int
    devices: int
    time: float


def check_weight(weight: float) -> float:
    """Return the weight of shared statistics.

    Raises:
        FleetError: It is not a multiple of 1/16 from 0 to 1.
    """
    if not 0 <= weight <= 1 or (weight * WEIGHT_STEPS) % 1:
        raise FleetError(
            f"the weight of shared statistics must be a multiple of 1/{WEIGHT_STEPS} from 0 to 1, got {weight:g}"
        )
    return weight


def save_shared(store: Store, shared: Shared) -> None:
    """Write shared statistics into a state file; every process that has it open notices.

    Raises:
        StorageError: The disk is full or read-only. Then the ones before stay.
    """
    facts = _Facts(shared.weight, shared.round, shared.devices, shared.time)
    header = {"facts": np.frombuffer(msgspec.json.encode(facts), np.uint8)}
    state = pack_arrays(header | pack_sums(shared.sums), compress=False)
    store.keep_shared(hashlib.sha256(state).hexdigest(), state)


def load_shared(store: Store) -> Shared | None:
    """Return the shared statistics in a state file; None if there are none, or they are damaged."""
    kept = store.kept_head(SHARED)
    if kept is None:
        return None
    try:
        arrays = unpack_arrays(kept[2])
        facts = msgspec.json.decode(bytes(checked_array(arrays, "facts", np.uint8, 1)), type=_Facts)
        sums = unpack_sums(arrays, store.identity.dimensions)
        return Shared(sums, facts.weight, facts.round, facts.devices, facts.time)
    except (EdgetlError, ValueError, IndexError):  # received again in the next round
        return None


def describe_shared(store: Store) -> dict[str, Any] | None:
    """Return JSON-serializable facts about the shared statistics in a state file; None if there are none."""
    shared = load_shared(store) if store.shared_digest() else None
    if shared is None:
        return None
    return {
        "round": shared.round,
        "devices": shared.devices,
        "samples": shared.sums.counts(),
        "weight": shared.weight,
        "time": shared.time,
    }


def reweigh_shared(store: Store, weight: float) -> bool:
    """Change the weight of the shared statistics in a state file; return whether there were any.

    With the weight that they have, nothing is written, because each write wears an SD card.
    """
    shared = load_shared(store)
    if shared is None:
        return False
    if check_weight(weight) != shared.weight:
        save_shared(store, replace(shared, weight=weight))
    return True


def erase_shared(store: Store) -> bool:
    """Erase the shared statistics from a state file; return whether there were any."""
    return store.erase_shared()


def learn_shared(head: Head, shared: Shared | None) -> bool:
    """Teach a head what the other devices have learned, with its weight; return whether it can learn from it.

    Only the exact head and ``lda`` learn from statistics; other heads stay with the device's own samples.
    """
    if shared is None or not shared.weight or not isinstance(head, ExactHead) or not shared.sums.labels:
        return False
    sums, weight = shared.sums, shared.weight
    if weight == 1:
        head.learn_statistics(sums.labels, sums.numbers, sums.sums, sums.gram)
    else:
        head.learn_statistics(sums.labels, weight * sums.numbers, weight * sums.sums, weight * sums.gram)
    return True


def refuse_too_many(sums: Sums, weight: float) -> None:
    """Raise `FleetError` where so many samples would leave no room for the device's own ones."""
    if weight * int(sums.numbers.sum()) > MAX_SAMPLES // 2:
        raise FleetError(
            f"the other devices have {int(sums.numbers.sum())} samples, and with the weight {weight:g} a head adds at most"
            f" {MAX_SAMPLES // 2} exactly; join with a smaller --shared-weight"
        )
