"""The optimizers of the backbone's layers, by name."""

from __future__ import annotations

from typing import Any

_MOMENTUM = 0.9
_NO_DECAY = ["gamma", "beta", "bias"]  # weight decay is for kernels

RATES = {"adamw": 1e-3, "sgd": 0.02, "lion": 1e-4}
"""Highest learning rate of each optimizer when all layers are trained."""
OPTIMIZERS = tuple(RATES)
BLOCKS_RATE, SCRATCH_RATE = 0.2, 2.0  # for the last blocks and from scratch, as factors of these


def make_optimizer(
    name: str,
    rate: float,
    variables: list[Any],
    *,
    weight_decay: float | None = None,
    gradient_norm: float | None = None,
) -> Any:
    """Return a Keras optimizer with its state.

    Args:
        name: ``adamw`` (Loshchilov and Hutter 2019; Adam without weight decay), ``sgd`` with Nesterov's momentum of .9, or
            ``lion`` (Chen et al. 2023).
        rate: Learning rate of the first step.
        variables: keras.Variables to train.
        weight_decay: Decoupled weight decay of the kernels; None for none.
        gradient_norm: Gradients are scaled down to this global norm; None leaves them as they are.
    """
    import keras

    options = {"weight_decay": weight_decay, "global_clipnorm": gradient_norm}
    if name == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=True, **options)
    elif name == "lion":
        optimizer = keras.optimizers.Lion(rate, **options)
    else:
        optimizer = keras.optimizers.AdamW(rate, **options | {"weight_decay": weight_decay or 0.0})
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_NO_DECAY)
    optimizer.build(variables)
    return optimizer
