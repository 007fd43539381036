"""Replay of generated images in place of stored samples (Shin et al. 2017, "Continual learning with deep generative replay").

Before the head learns new samples, it labels generated images as it sees them then. The steps on the new samples mix
these in, so that the head keeps its answers. But the generator also draws what the head is only about to learn, which it
labels wrongly. Therefore images that it does not recognize are left out, and those that are more like the new samples than
like the other images of their label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..model.codes import Codes, decode
from .base import Floats
from .replay import Replay

DRAWN = 20  # images drawn per label
_TINY = 1e-12
LEAST = 0.5  # probability below which an image counts as not recognized

Source = Callable[[int, np.random.Generator], Codes]
Judge = Callable[[Codes], tuple[Sequence[str], Sequence[float]]]


def draw_replay(
    source: Source,
    judge: Judge,
    known: int,
    new: tuple[Codes, Sequence[str]],
    random: np.random.Generator,
    *,
    room: int,
) -> Replay:
    """Draw images and return those that the head recognizes, under the labels that it assigns.

    Args:
        source: Returns the codes int16 [N, D] of N generated images.
        judge: Returns the label and the probability that the head assigns to each code.
        known: Number of labels that the head knows.
        new: Codes [N, D] and labels of the samples that it is about to learn.
        random: Source of the noise.
        room: Maximum number of images to keep per label.
    """
    replay = Replay(new[0].shape[1], room)
    codes = source(DRAWN * known, random)
    names, probabilities = judge(codes)
    recognized = np.array(probabilities) >= LEAST
    codes, labels = codes[recognized], np.array(names)[recognized]
    kept = ~_resemble(codes, labels, *new)
    replay.add(codes[kept], labels[kept].tolist())
    return replay


def _resemble(
    codes: Codes, labels: NDArray[np.str_], new: Codes, new_labels: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which images are nearer to the mean of the new samples of another label than to that of their own, bool [N]."""
    values = decode(codes)
    found = np.zeros(len(codes), bool)
    for label in set(labels.tolist()):
        mine = labels == label
        own = values[mine] @ _direction(values[mine])
        for other in set(new_labels) - {label}:
            there = decode(new[np.array(new_labels) == other])
            found[mine] |= values[mine] @ _direction(there) > own
    return found


def _direction(values: Floats) -> Floats:
    mean: Floats = values.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), _TINY)
