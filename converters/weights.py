"""Check that weights are finite by reading them, before anything runs.

The output of a network with infinite weights proves nothing: whether infinity times zero is NaN, and whether a NaN
passes a ReLU, depends on the processor and on the library that computes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConversionError
from .flatbuffer import parse, schema

_NAMED = 3  # number of variables that a message names; the others are counted


def require_finite_variables(model: Any) -> None:
    """Check that no variable of a Keras model contains NaN or infinity.

    Raises:
        ConversionError: A variable does; the message names all of them.
    """
    broken = []
    for variable in model.variables:
        values = np.asarray(variable)
        if np.issubdtype(values.dtype, np.integer) or values.dtype == bool:
            continue  # such as the state of a random generator
        bad = int((~np.isfinite(values)).sum())
        if bad:
            broken.append(f"{variable.path} ({bad} of {values.size})")
    if broken:
        raise ConversionError(
            f"the weights of the source model contain NaN or infinity: {_list(broken)}; "
            "train the model again with a lower --rate, or download its weights again"
        )


def require_numeric_constants(model: bytes) -> None:
    """Check that no float constant of a .tflite is NaN.

    Infinity is allowed: it may be intended, for example as the padding of a maximum.

    Raises:
        ConversionError: A constant is NaN; the message names the tensors.
    """
    parsed = parse(model)
    broken = [
        str(tensor.name.decode(errors="replace"))
        for graph in parsed.subgraphs
        for tensor in graph.tensors
        if np.isnan(_floats(tensor, parsed.buffers)).any()
    ]
    if broken:
        raise ConversionError(
            f"the weights of the converted backbone contain NaN: {_list(broken)}; they were lost in the conversion: "
            "try --quantize none, and report this with the model's name"
        )


def _floats(tensor: Any, buffers: list[Any]) -> NDArray[np.floating[Any]]:
    types = schema().TensorType
    kinds = {types.FLOAT32: np.float32, types.FLOAT16: np.float16}
    data = buffers[tensor.buffer].data
    if tensor.type not in kinds or data is None:
        return np.empty(0, np.float32)
    return np.asarray(data, np.uint8).view(kinds[tensor.type])


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
