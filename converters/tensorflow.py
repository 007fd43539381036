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


def convert_function(frozen: Any, *, quantization: str = "none") -> bytes:
    """Convert a frozen function to a .tflite.

    Args:
        frozen: A function that `freeze` returned.
        quantization: ``float16``, ``dynamic`` or ``none``.

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
    return _run(converter.convert)


def calibrate(graph: bytes, samples: Samples) -> bytes:
    """Measure the ranges of all tensors with TensorFlow's own calibrator, for graphs with loops or state.

    Raises:
        ConversionError: The calibrator refused the graph.
    """
    return _run(lambda: _calibrator(graph).calibrate(samples))


def quantize_calibrated(
    graph: bytes, *, input_type: str = "float32", output_type: str = "float32", keep_float: Sequence[str] = ()
) -> bytes:
    """Quantize a float graph with known ranges to int8: weights per channel, activations per tensor.

    This is the second half of `tf.lite.TFLiteConverter`, as `tf.lite.experimental.QuantizationDebugger` calls it.

    Args:
        graph: A float .tflite whose tensors have ranges.
        input_type: ``float32`` or ``uint8``.
        output_type: The same.
        keep_float: Names of the output tensors of the ops that stay float.

    Raises:
        ConversionError: The quantizer refused the graph.
    """
    tf = import_tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    return _run(
        lambda: mlir_quantize(
            graph,
            input_data_type=tf.as_dtype(input_type),
            output_data_type=tf.as_dtype(output_type),
            denylisted_nodes=list(keep_float) or None,
        )
    )


def quantize_int16(graph: bytes, samples: Samples) -> bytes:
    """Quantize a float graph to weights of 8 bits and activations of 16 bits; input and output stay float.

    Raises:
        ConversionError: The quantizer refused the graph.
    """
    tf = import_tensorflow()
    allow_float = True  # for ops without such a kernel
    return _run(
        lambda: _calibrator(graph).calibrate_and_quantize(
            samples, tf.float32, tf.float32, allow_float, activations_type=tf.int16, bias_type=tf.int64
        )
    )


def _calibrator(graph: bytes) -> Any:
    from tensorflow.lite.python.optimize import calibrator

    return calibrator.Calibrator(calibrator.add_intermediate_tensors(graph))


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


def _run(convert: Callable[[], Any]) -> bytes:
    try:
        with quiet():
            return bytes(convert())
    except Exception as error:  # the converter raises its own classes, RuntimeError, ValueError, SystemError
        raise ConversionError(
            f"TensorFlow's converter refused the model: {_first_lines(error)}; "
            "a backbone must consist of builtin ops of TFLite"
        ) from error


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
