"""Preserve what a backbone already knows while it is trained on other photos: penalties for moving away from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from ..photos import Photo

Penalty = Callable[[Any, Any], Any]
"""From a batch of inputs [N, ...] and their embeddings [N, D] by the network in training to a scalar of the loss."""

NONE, WEIGHTS, DISTILL, REPLAY = "none", "weights", "distill", "replay"
PRESERVE = (NONE, WEIGHTS, DISTILL, REPLAY)
_DRAWS = 5  # number of the random stream
_PULL = 0.01  # of the squared distance of all weights
_HOLD = 10.0  # of the squared distance of embeddings of length 1


def make_penalty(network: Any, preserve: str) -> Penalty | None:
    """Return the penalty for a network as it is now.

    Args:
        network: keras.Model, inputs [N, ...] -> embeddings [N, D].
        preserve: ``weights`` or ``distill``; for the other methods there is no penalty.
    """
    if preserve == WEIGHTS:
        return hold_weights(network, _PULL)
    return hold_embeddings(network, _HOLD) if preserve == DISTILL else None


def hold_weights(network: Any, strength: float) -> Penalty:
    """Return `strength` times the squared distance of the weights to those of now (L2-SP, Li et al. 2018)."""
    import tensorflow as tf

    trained = network.trainable_variables
    start = [tf.Variable(variable.value, trainable=False) for variable in trained]

    def penalty(_: Any, __: Any) -> Any:
        pairs = zip(trained, start, strict=True)
        return strength * tf.add_n([tf.reduce_sum((now.value - before) ** 2) for now, before in pairs])

    return penalty


def hold_embeddings(network: Any, strength: float) -> Penalty:
    """Return `strength` times the squared distance of embeddings to those of the network as it is now.

    This is learning without forgetting (Li and Hoiem 2016) with embeddings in place of a classifier's output: the photos
    of the new task are used, no old ones. Distances are between mapped embeddings, which the heads learn from.
    """
    import keras
    import tensorflow as tf

    from .blocks import map_softly

    teacher = keras.models.clone_model(network)
    teacher.set_weights(network.get_weights())

    def penalty(inputs: Any, embedding: Any) -> Any:
        expected = tf.stop_gradient(map_softly(teacher(inputs, training=False)))
        distances = tf.reduce_sum((map_softly(embedding) - expected) ** 2, axis=1)
        return (
            strength * tf.reduce_sum(distances) / tf.cast(tf.maximum(1, tf.shape(distances)[0]), tf.float32)
        )

    return penalty


def choose_replay(photos: Sequence[Photo], count: int, seed: int) -> list[Photo]:
    """Choose at most `count` old photos at random, evenly over their labels."""
    generator = np.random.default_rng([seed, _DRAWS])
    order = [photos[place] for place in generator.permutation(len(photos))]
    turns: dict[str, list[Photo]] = {}
    for photo in order:
        turns.setdefault(photo.label, []).append(photo)
    # the first of each label, then the second of each, and so on
    dealt = [photo for turn in zip_longest(*turns.values()) for photo in turn if photo is not None]
    return dealt[:count]
