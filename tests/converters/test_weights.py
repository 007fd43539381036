"""Weights that are NaN or infinite are refused by reading them, so that the result does not depend on the processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import ConversionError, convert
from converters.flatbuffer import parse, schema, serialize
from converters.weights import require_finite_variables, require_numeric_constants
from device.model.modelfile import ModelFile
from tests import tiny


def spoil(bad: float, variable: int = 0) -> Any:
    """Return a tiny backbone in which one value of one variable is `bad`."""
    broken = tiny.backbone()
    weights = broken.get_weights()
    weights[variable].flat[0] = bad
    broken.set_weights(weights)
    return broken


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_weight_that_is_nan_is_named(bad: float) -> None:
    """The variable is named, with the number of bad values and of all values."""
    broken = spoil(bad, 2)
    name = broken.variables[2].path
    with pytest.raises(ConversionError, match=rf"{name} \(1 of 72\)"):
        require_finite_variables(broken)


def test_of_many_broken_variables_the_first_are_named() -> None:
    """The message stays short when all variables are broken."""
    broken = tiny.backbone()
    broken.set_weights([np.full_like(value, np.nan) for value in broken.get_weights()])
    with pytest.raises(ConversionError, match=r"\(216 of 216\).* and 3 more; "):
        require_finite_variables(broken)


def test_finite_weights_and_the_state_of_generators_are_accepted() -> None:
    """A dropout layer has integers among its variables."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    assert any("int" in str(variable.dtype) for variable in model.variables)
    require_finite_variables(model)


@pytest.mark.parametrize("quantize", ["int8", "none"])
def test_infinite_weights_of_the_source_are_reported_as_such(
    source: Any, tmp_path: Path, quantize: str
) -> None:
    """The message does not suggest to calibrate with more photos, which would not help."""
    with pytest.raises(
        ConversionError, match=r"source model contain NaN or infinity: .*; train the model again"
    ):
        convert(replace(source, backbone=spoil(np.inf)), tmp_path / "m.tflite", quantize=quantize)
    assert not list(tmp_path.iterdir())


def test_a_trained_model_with_infinite_weights_is_not_saved(source: Any, tmp_path: Path) -> None:
    """A training that diverged is detected when it ends, and an older model stays unchanged."""
    source.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConversionError, match="NaN or infinity"):
        replace(source, backbone=spoil(np.inf)).save(tmp_path, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def with_constants_of(value: float) -> bytes:
    """Return the tiny model file with one float32 tensor whose numbers are all `value`."""
    model = parse(ModelFile.open(tiny.TINY).model_part())
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    buffers = (
        model.buffers[tensor.buffer] for tensor in tensors if tensor.type == schema().TensorType.FLOAT32
    )
    buffer = next(buffer for buffer in buffers if buffer.data is not None)
    buffer.data = np.full(len(buffer.data) // 4, value, np.float32).view(np.uint8)
    return serialize(model)


def test_an_infinite_float32_constant_is_accepted() -> None:
    """It may be intended, such as the padding of a maximum."""
    require_numeric_constants(with_constants_of(-np.inf))


def test_a_constant_that_is_nan_is_refused() -> None:
    """No graph needs a NaN."""
    with pytest.raises(ConversionError, match="converted backbone contain NaN"):
        require_numeric_constants(with_constants_of(np.nan))
