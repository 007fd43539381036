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

BATCH = 8
_WORTH_CONVERTING = 256  # images; the conversion takes some seconds
_TOLERANCE = 1e-3  # of the largest feature; the usual difference is 1e-6

Array = NDArray[np.float32]
Trunk = Callable[[NDArray[np.uint8]], Array]


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
    run = _with_litert(model) if images >= _WORTH_CONVERTING else _with_tensorflow(model)

    def trunk(batch: NDArray[np.uint8]) -> Array:
        return run(preprocessing.normalize(batch))

    return trunk


def _with_tensorflow(model: Any) -> Callable[[Array], Array]:
    import tensorflow as tf

    shape = (BATCH, *model.input_shape[1:])

    forward = tf.function(
        lambda batch: model(batch, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    return lambda batch: _in_batches(lambda part: forward(tf.constant(part)).numpy(), batch)


def _with_litert(model: Any) -> Callable[[Array], Array]:
    interpreter = open_interpreter(_convert(model), threads=os.cpu_count() or 1)
    entry = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def forward(part: Array) -> Array:
        interpreter.set_tensor(entry, part)
        interpreter.invoke()
        features: Array = interpreter.get_tensor(result)
        return features

    _verify(model, forward)
    return lambda batch: _in_batches(forward, batch)


def _convert(model: Any) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (BATCH, *model.input_shape[1:])
    function = tf.function(lambda batch: model(batch, training=False))
    # freeze first: converting the function of a Keras model directly loses its weights (tensorflow#98964)
    frozen = convert_variables_to_constants_v2(
        function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    )
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that the object with the variables is missing: there are none
    try:
        converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    finally:
        logger.setLevel(level)
    return converted


def _verify(model: Any, forward: Callable[[Array], Array]) -> None:
    batch = np.random.default_rng(0).standard_normal((BATCH, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(batch, training=False))
    error = float(np.abs(forward(batch) - expected).max())
    allowed = _TOLERANCE * max(1e-6, float(np.abs(expected).max()))
    if not error <= allowed:  # a NaN is caught too
        raise TrainingError(
            f"the frozen part of the backbone differs by {error:g} after conversion, expected at most {allowed:g}; "
            "please report this with the backbone's name and the versions of TensorFlow and LiteRT"
        )


def _in_batches(forward: Callable[[Array], Array], batch: Array) -> Array:
    missing = -len(batch) % BATCH
    padded = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)]) if missing else batch
    parts = [forward(padded[start : start + BATCH]) for start in range(0, len(padded), BATCH)]
    return np.concatenate(parts)[: len(batch)]
