"""Stage 5: the head that the file starts with, taught with the memory, and its accuracy on photos held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from device.heads import Head, create_head
from device.heads.intervals import independent
from device.heads.memory import learn_memory
from device.model.manifest import HeldOut
from device.model.memory import Samples

from .head import FloatHead


def teach_head(samples: Samples, names: Sequence[str]) -> FloatHead | None:
    """Return W [D, C] and b [C] of the exact head taught with the samples.

    Args:
        samples: Codes with their labels, and which may judge.
        names: The model's labels, in the order of the head's columns.

    Returns:
        None when a label has no sample, or the head is not linear.
    """
    if sorted(set(samples.labels)) != list(names):
        return None
    head = _taught(samples)
    linear = head.linear()
    if linear is None:
        return None
    order = [head.labels.index(name) for name in names]
    return linear.W[:, order].astype(np.float32), linear.b[order].astype(np.float32)


def judge_held_out(samples: Samples, held_out: NDArray[np.bool_]) -> HeldOut | None:
    """Judge the exact head on photos held out from it, as the manifest's ``held_out`` keeps the figure.

    Args:
        samples: Codes of the converted backbone with their labels, and which may judge.
        held_out: bool [N]; the head learns the other samples and predicts these.

    Returns:
        The figure with the number of photos, in all and per label; None when no photo was held out, or fewer than
        two labels are left to learn.
    """
    names = np.array(samples.labels)
    if not held_out.any() or len(set(names[~held_out])) < 2:
        return None
    judge = None if samples.judge is None else samples.judge[~held_out]
    groups = np.arange(len(names)) if samples.groups is None else samples.groups
    head = _taught(Samples(samples.codes[~held_out], tuple(names[~held_out].tolist()), judge))
    truth = names[held_out]
    predicted = np.array(head.labels)[head.probabilities(samples.codes[held_out]).argmax(axis=1)]
    right = predicted == truth
    return {
        "accuracy": float(right.mean()),
        "correct": int(right.sum()),
        "photos": len(truth),
        "views": independent(groups[held_out]),
        "how": f"on {len(truth)} photos that neither tuned the backbone nor taught the head",
        "labels": {
            str(label): (int(right[truth == label].sum()), int((truth == label).sum()))
            for label in sorted(set(truth))
        },
    }


def _taught(samples: Samples) -> Head:
    head = create_head("exact", samples.dimensions)
    learn_memory(head, samples)
    return head
