"""Targets of a training step as probabilities, and mixup, which blends photos and their targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DRAWS = 4  # number of the random stream; 0 to 3 are those of the photos


def spread_targets(targets: NDArray[np.int64], classes: int, smoothing: float) -> NDArray[np.float32]:
    """Return the probability of each class, float32 [N, C]; `smoothing` of it is spread over all classes."""
    spread = np.full((len(targets), classes), smoothing / classes, np.float32)
    spread[np.arange(len(targets)), targets] += 1 - smoothing
    return spread


def mix_photos(
    images: NDArray[np.float32], spread: NDArray[np.float32], strength: float, seed: int, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blend each photo of a batch with another one, and their targets in the same ratio (mixup, Zhang et al. 2018).

    Args:
        images: float32 [N, H, W, C].
        spread: float32 [N, C], probabilities of the classes.
        strength: Parameter of the beta distribution that the ratio is drawn from: at 0.2 most blends are close to one of
            the two photos, at 1 all ratios are equally frequent.
        seed: Seed of the ratio and the pairs.
        step: Number of the step; each has other pairs.

    Returns:
        Images and targets of the same shapes.
    """
    generator = np.random.default_rng([seed, _DRAWS, step])
    ratio = np.float32(generator.beta(strength, strength))
    # the photo itself dominates, so that the accuracy of the step has a meaning
    ratio = max(ratio, 1 - ratio)
    partners = generator.permutation(len(images))
    return (
        ratio * images + (1 - ratio) * images[partners],
        ratio * spread + (1 - ratio) * spread[partners],
    )
