"""How well the other devices of a fleet predict what one device contributed: a check for lies that samples could have.

Statistics are enough for it. For a ridge regression ``z^T W + b`` on the indicators of the labels, the squared error on the
samples of a device follows from its counts n_c, sums S_c and second moment G:

    e = sum_c ( n_c - 2 (w_c^T S_c + b_c n_c) + w_c^T G w_c + 2 b_c w_c^T S + b_c^2 N )

It is compared with the error e_0 of predicting each label as often as the others have it: ``1 - e / e_0`` is the share of a
device's labels that the others explain. It is about the same for honest devices that see the same kinds of objects, and low or
negative for one whose labels contradict the others, whatever its statistics are. Each device is judged by a head without it
(leave one client out), so that it cannot vouch for itself, and no device counts more than the median one in this head, so that a
liar that claims many samples cannot make the honest devices look wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..heads.base import Floats
from ..model.codes import SCALE
from ..model.memory import Sums
from .contribution import head_of
from .ledger import Ledger

FEWEST = 4  # devices; with fewer, nothing can be said about which one is unlike the others
_LIMIT = 5.0  # deviations below the median
_ROUNDING = 1e-6  # of a count
_LEAST = 0.05  # of a deviation: honest devices may be very alike


def explained_by_others(ledger: Ledger) -> dict[str, float]:
    """Return for each device the share of its labels that the other devices explain, at most 1.

    A device is left out if most of its samples have labels that no other has, or if the others have fewer than two labels. It
    takes one solution of a ridge regression per device.
    """
    sizes = {device: ledger.get(device).samples for device in ledger.devices}
    sizes = {device: size for device, size in sizes.items() if size}
    if not sizes:
        return {}
    most = float(np.median(list(sizes.values())))
    parts = {device: min(1.0, most / size) for device, size in sizes.items()}
    total = _Weighted(ledger.model.dimensions)
    for device, part in parts.items():
        total.add(ledger.get(device).sums, part)
    shares = {}
    for device, part in parts.items():
        own = ledger.get(device).sums
        total.add(own, -part)
        others = total.sums()
        if len(others.labels) > 1 and _has_common_labels(own, others):
            shares[device] = explained(others, own)
        total.add(own, part)
    return shares


def explained(others: Sums, own: Sums) -> float:
    """Return the share of the labels in `own` that the ridge regression of `others` explains.

    Labels that only `own` has are part of neither error.
    """
    solution = head_of(others).solution()  # the counts may be fractions
    rows = {label: row for row, label in enumerate(own.labels)}
    numbers, sums = own.numbers.astype(np.float64), own.sums / SCALE
    gram, total, count = own.gram / SCALE**2, sums.sum(axis=0), float(numbers.sum())
    frequencies = others.numbers / others.numbers.sum()
    error = chance = 0.0
    for column, label in enumerate(others.labels):
        w, b, p = solution.W[:, column], float(solution.b[column]), float(frequencies[column])
        n, s = (numbers[rows[label]], sums[rows[label]]) if label in rows else (0.0, np.zeros(len(w)))
        error += float(n - 2 * (w @ s + b * n) + w @ gram @ w + 2 * b * (w @ total) + b * b * count)
        chance += float(n - 2 * p * n + p * p * count)
    return 1 - error / max(chance, 1e-12)


def _has_common_labels(own: Sums, others: Sums) -> bool:
    common = sum(own.counts()[label] for label in own.labels if label in others.labels)
    return 2 * common > int(own.numbers.sum())


class _Weighted:
    """Statistics that count with any weight; exact enough for a check."""

    def __init__(self, dimensions: int) -> None:
        self._rows: dict[str, tuple[float, Floats]] = {}
        self._gram: Floats = np.zeros((dimensions, dimensions))

    def add(self, sums: Sums, weight: float) -> None:
        for label, number, row in zip(sums.labels, sums.numbers.tolist(), sums.sums, strict=True):
            count, summed = self._rows.get(label, (0.0, np.zeros(len(row))))
            self._rows[label] = count + weight * number, summed + weight * row
        self._gram += weight * sums.gram

    def sums(self) -> Sums:
        labels = sorted(label for label, (count, _) in self._rows.items() if count > _ROUNDING)
        counts: Any = np.array([self._rows[label][0] for label in labels])
        summed: Any = np.array([self._rows[label][1] for label in labels]).reshape(len(labels), -1)
        return Sums(tuple(labels), counts, summed, self._gram.copy())


def unlike_the_others(shares: Mapping[str, float]) -> list[str]:
    """Return the devices whose share is negative and far below the median of all, by the median absolute deviation.

    A negative share means that the others predict the device's labels worse than by their frequencies alone.

    Args:
        shares: What `explained_by_others` returned.
    """
    if len(shares) < FEWEST:
        return []
    values: Floats = np.array(list(shares.values()))
    middle = float(np.median(values))
    deviation = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST)
    return [device for device, share in shares.items() if share < min(0.0, middle - _LIMIT * deviation)]
