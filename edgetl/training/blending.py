"""Backbones on the way from the frozen weights to the tuned ones.

A point between the two often generalizes better than either end, because it keeps more of what the pretraining learned
(WiSE-FT, Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Trying one costs a pass over the photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.preprocess import Preprocessing

from .trunk import Trunk, compile_trunk

# of the way, the one that is best on most sets of photos first; 1 is the tuned backbone itself
SHARES = (0.3, 0.5, 0.15, 1.0)

Weights = list[NDArray[Any]]


def blend_weights(frozen: Weights, tuned: Weights, share: float) -> Weights:
    """Return the weights at `share` of the way from `frozen` to `tuned`."""
    if share == 1:
        return tuned
    pairs = zip(frozen, tuned, strict=True)
    return [(before + share * (after - before)).astype(before.dtype) for before, after in pairs]


def compile_blends(
    backbone: Any, variants: Sequence[Weights], preprocessing: Preprocessing, images: int
) -> Trunk:
    """Return a function that embeds each image by a backbone with each of the weights, one beside the other.

    Args:
        backbone: keras.Model with embeddings [N, D]; only its layers are used.
        variants: V lists of weights.
        preprocessing: Normalizes the images.
        images: Number of images to expect.

    Returns:
        A function from prepared images uint8 [N, H, W, C] to embeddings float32 [N, V D].

    Raises:
        TrainingError: A converted backbone returns other values than the model.
    """
    import keras

    trunks = []
    for weights in variants:
        # each needs a model of its own: few images are computed by the model, whose weights must stay
        model = keras.models.clone_model(backbone)
        model.set_weights(weights)
        trunks.append(compile_trunk(model, preprocessing, images))
    return lambda batch: np.concatenate([trunk(batch) for trunk in trunks], axis=1)
