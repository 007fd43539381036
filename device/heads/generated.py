"""Replay of generated images in place of stored samples (Shin et al. 2017, "Continual learning with deep generative replay").

Before the head learns new samples, it labels generated images as it sees them then. The steps on the new samples mix
these in, so that the head keeps its answers. Images that it does not recognize are left out: they may show something
that it is only about to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..model.codes import Codes
from .replay import Replay

DRAWN = 20  # images drawn per label
LEAST = 0.5  # probability below which an image counts as not recognized

Source = Callable[[int, np.random.Generator], Codes]
Judge = Callable[[Codes], tuple[Sequence[str], Sequence[float]]]


def draw_replay(
    source: Source,
    judge: Judge,
    labels: int,
    random: np.random.Generator,
    *,
    dimensions: int,
    room: int,
) -> Replay:
    """Draw images and return those that the head recognizes, under the labels that it assigns.

    Args:
        source: Returns the codes int16 [N, D] of N generated images.
        judge: Returns the label and the probability that the head assigns to each code.
        labels: Number of labels that the head knows.
        random: Source of the noise.
        dimensions: D.
        room: Maximum number of images to keep per label.
    """
    replay = Replay(dimensions, room)
    codes = source(DRAWN * labels, random)
    names, probabilities = judge(codes)
    kept = np.array(probabilities) >= LEAST
    replay.add(codes[kept], [name for name, keep in zip(names, kept, strict=True) if keep])
    return replay
