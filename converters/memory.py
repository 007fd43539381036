"""Stage 3: the float head of the file starts with the knowledge the memory holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device.heads import create_head
from device.model.codes import Codes

from .source import FloatHead


def teach_head(codes: Codes, labels: Sequence[str], names: Sequence[str]) -> FloatHead | None:
    """Give W [D, C] and b [C] of the exact head taught with the samples.

    Args:
        codes: int16 [N, D].
        labels: N labels.
        names: The model's labels, in the order of the head's columns.

    Returns:
        None when a label has no sample, or the head has no linear form.
    """
    if sorted(set(labels)) != list(names):
        return None
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes, list(labels))
    linear = head.linear()
    if linear is None:
        return None
    order = [head.labels.index(name) for name in names]
    return linear.W[:, order].astype(np.float32), linear.b[order].astype(np.float32)
