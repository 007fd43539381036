"""Run the frozen part of a backbone in LiteRT, which takes a third of the time of TensorFlow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter

from ..errors import TrainingError

BATCH = 8  # images at once in TensorFlow
_LITERT_BATCH = 2  # in LiteRT: the activations of more images exceed the caches
_WORTH_CONVERTING = 256  # images; the conversion takes some seconds
_TOLERANCE = 1e-3  # of the largest feature; the usual difference is 1e-6

Array = NDArray[np.float32]
Trunk = Callable[[NDArray[np.uint8]], Array]
Forward = Callable[[Array], Array]


def compile_trunk(model: Any, preprocessing: Preprocessing, images: int) -> Trunk:
    """Return a function that runs `model` in inference mode.

    Args:
        model: keras.Model, normalized float32 [N, H, W, 3] -> features.
        preprocessing: Normalizes the images.
        images: Number of images to expect; for few of them no conversion is made.

    Returns:
        A function from prepared images uint8 [N, H, W, 3] to features float32 [N, ...].

    Raises:
        TrainingError: The converted trunk returns other values than the model.
    """
    worth = images >= _WORTH_CONVERTING
    size, forward = (_LITERT_BATCH, _with_litert(model)) if worth else (BATCH, _with_tensorflow(model))

    def trunk(batch: NDArray[np.uint8]) -> Array:
        missing = -len(batch) % size
        padded = (
            np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)]) if missing else batch
        )
        starts = range(0, len(padded), size)
        parts = [forward(preprocessing.normalize(padded[start : start + size])) for start in starts]
        return np.concatenate(parts)[: len(batch)]

    return trunk


def _with_tensorflow(model: Any) -> Forward:
    import tensorflow as tf

    forward = _traced(model, BATCH)

    def run(part: Array) -> Array:
        features: Array = forward(tf.constant(part)).numpy()
        return features

    return run


def _traced(model: Any, batch: int) -> Any:
    """Return `model` in inference mode as a function of a graph."""
    import tensorflow as tf

    signature = [tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=signature)


def _with_litert(model: Any) -> Forward:
    traced = _traced(model, _LITERT_BATCH)
    interpreter = open_interpreter(_convert(traced), threads=os.cpu_count() or 1)
    entry = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def forward(part: Array) -> Array:
        interpreter.set_tensor(entry, part)
        interpreter.invoke()
        features: Array = interpreter.get_tensor(result)
        return features

    _verify(traced, model.input_shape[1:], forward)
    return forward


def _convert(traced: Any) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # freeze first: converting the function of a Keras model directly loses its weights (tensorflow#98964)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that the object with the variables is missing: there are none
    try:
        converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    finally:
        logger.setLevel(level)
    return converted


def _verify(traced: Any, shape: tuple[int, ...], forward: Forward) -> None:
    """Compare with the graph before it was frozen, whose variables are those of the model."""
    import tensorflow as tf

    batch = np.random.default_rng(0).standard_normal((_LITERT_BATCH, *shape)).astype(np.float32)
    expected = traced(tf.constant(batch)).numpy()
    error = float(np.abs(forward(batch) - expected).max())
    allowed = _TOLERANCE * max(1e-6, float(np.abs(expected).max()))
    if not error <= allowed:  # a NaN is caught too
        raise TrainingError(
            f"the frozen part of the backbone differs by {error:g} after conversion, expected at most {allowed:g}; "
            "please report this with the backbone's name and the versions of TensorFlow and LiteRT"
        )
