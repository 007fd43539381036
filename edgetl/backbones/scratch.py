"""A backbone with random weights in place of the pretrained ones."""

from __future__ import annotations

from typing import Any

_MOMENTUM = 0.9  # of the running statistics; Keras' .99 needs more steps than a few epochs of few photos have


def randomize(backbone: Any) -> Any:
    """Return a network like `backbone`, a keras.Model, with fresh weights that need training from scratch."""
    import keras

    fresh = keras.models.clone_model(backbone)
    for layer in fresh.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return fresh
