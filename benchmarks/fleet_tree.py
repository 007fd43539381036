"""A tree of sums: each node adds the messages of some children and sends one message of the same kind to its parent."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from device.fleet import Contribution, FleetModel, Total, pack_contribution, unpack_contribution
from device.fleet.checks import EXACT


@dataclass(frozen=True)
class Level:
    """One level of a tree, from the devices up.

    Attributes:
        nodes: Number of nodes that add.
        largest: Bytes of the largest message that they receive.
        seconds: Processor seconds per message: to check, add and pack.
    """

    nodes: int
    largest: int
    seconds: float


def tree_sum(model: FleetModel, messages: Sequence[bytes], fan: int) -> tuple[Total, list[Level]]:
    """Add packed contributions in a tree whose nodes have at most `fan` children; every message is checked.

    Returns:
        The total at the root, and the levels from the devices to the root.
    """
    levels: list[Level] = []
    total = Total(model)
    while True:
        began, above = time.process_time(), []
        groups = [messages[start : start + fan] for start in range(0, len(messages), fan)]
        for number, group in enumerate(groups):
            total = Total(model, [unpack_contribution(message, model) for message in group])
            above.append(pack_contribution(Contribution(f"node-{len(levels)}-{number}", model, total.sums)))
        seconds = (time.process_time() - began) / max(1, len(messages))
        levels.append(Level(len(groups), max(map(len, messages), default=0), seconds))
        if len(groups) <= 1:
            return total, levels
        messages = above


def paper_rows(
    model: FleetModel, measured: Sequence[Level], devices: int, fan: int, samples: int
) -> list[list[object]]:
    """Return what each level of a large tree costs, from what one message costs.

    A sum of `fan` numbers has up to ``log2(fan)`` more bits than they, so the ``D (D + 1) / 2`` numbers of the second moment
    grow by that at each level; the small tree confirms it.

    Args:
        model: The model of the fleet.
        measured: Levels of a small tree.
        devices: Number of devices.
        fan: Number of children of a node.
        samples: Number of samples per device.

    Returns:
        Per level: nodes, messages per node, bytes that a node receives, its processor seconds; the last row is the root.
    """
    assert devices * samples * model.longest <= EXACT, "float64 could round"
    seconds = max(level.seconds for level in measured)
    size, step = measured[0].largest, level_growth(model, fan)
    rows: list[list[object]] = []
    left = devices
    while left > 1:
        nodes = -(-left // fan)
        children = min(fan, left)
        rows.append([nodes, children, children * size, round(children * seconds, 1)])
        left, size = nodes, size + step
    return rows


def level_growth(model: FleetModel, fan: int) -> int:
    """Return the bytes by which a message grows at a level of a tree, at most."""
    return math.ceil(model.dimensions * (model.dimensions + 1) / 2 * math.log2(fan) / 8)
