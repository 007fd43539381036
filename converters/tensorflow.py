"""Calls of TensorFlow's converter: variables frozen to constants, log output suppressed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConversionError

Samples = Callable[[], Iterator[list[NDArray[np.float32]]]]


def import_tensorflow() -> Any:
    """Import TensorFlow.

    Raises:
        ConversionError: It is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import tensorflow as tf
    except ImportError as error:
        raise ConversionError(
            f"converting needs TensorFlow ({error}); install it on the host with: pip install 'edgetl[host]'"
        ) from error
    return tf


def freeze(function: Callable[..., Any], shape: Sequence[int | None], dtype: str = "float32") -> Any:
    """Trace `function` for one input and turn the variables it uses into constants.

    Converting a Keras 3 model without this loses its weights without an error (tensorflow#98964).
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    traced = tf.function(function).get_concrete_function(
        tf.TensorSpec(shape, tf.as_dtype(dtype), name="input")
    )
    return convert_variables_to_constants_v2(traced)


def convert_function(
    frozen: Any, *, samples: Samples | None = None, quantization: str = "none", **types: Any
) -> bytes:
    """Convert a frozen function to a .tflite.

    Args:
        frozen: A function that `freeze` returned.
        samples: Calibration inputs, for ``int8``.
        quantization: ``int8``, ``float16``, ``dynamic`` or ``none``.
        types: ``input_type`` and ``output_type`` of an int8 model, by default float32.

    Raises:
        ConversionError: The function contains an op that has no builtin, or the converter failed.
    """
    tf = import_tensorflow()
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(types.get("input_type", "float32"))
        converter.inference_output_type = tf.as_dtype(types.get("output_type", "float32"))
    return _run(converter)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what TensorFlow writes to file descriptor 2; show it when an exception is raised."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read()[-4000:])
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def _run(converter: Any) -> bytes:
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises its own classes, RuntimeError, ValueError, SystemError
        raise ConversionError(
            f"TensorFlow's converter refused the model: {_first_lines(error)}; "
            "a backbone must consist of builtin ops of TFLite"
        ) from error


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
