"""Joining flatbuffers: what stays separate, what is shared, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import ConversionError
from converters.flatbuffer import chain, count_ops, join, parse, schema, serialize, weight_buffers
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests.tiny import TINY, TINY_TAUGHT

PART = ModelFile.open(TINY).model_part()


def test_a_model_survives_parsing_and_serializing() -> None:
    """The interpreter gives the same embedding before and after."""
    image = np.full((1, 32, 32, 3), 77, np.uint8)
    one, other = (
        open_interpreter(part).get_signature_runner("features")(image=image)["embedding"]
        for part in (PART, serialize(parse(PART)))
    )
    assert np.array_equal(one, other)


def test_every_buffer_is_aligned_to_sixteen_bytes() -> None:
    """The schema requires it; a plain rewrite in Python does not do it."""
    model = schema().Model.GetRootAs(PART, 0)
    starts = [
        table.Vector(table.Offset(4))
        for table in (model.Buffers(number)._tab for number in range(model.BuffersLength()))
        if table.Offset(4) and table.VectorLen(table.Offset(4))
    ]
    assert len(starts) > 4
    assert not [start for start in starts if start % 16]


def test_each_variable_has_bytes_of_its_own_in_the_file() -> None:
    """The converter stores equal constants once; a device that writes one must not change another."""
    opened = ModelFile.open(TINY_TAUGHT)
    ends = 0
    for start, length in sorted(opened.manifest.head_weights.values()):
        assert start >= ends
        ends = start + length
    start, length = opened.manifest.head_weights["W"]
    written = np.frombuffer(opened.model_part()[start : start + length], "<f4").reshape(32, 8)
    reader = open_interpreter(TINY_TAUGHT).get_signature_runner("get_weights")
    assert np.array_equal(written, reader(unused=np.zeros(1, np.float32))["W"])
    assert np.abs(written).max() > 0


def test_the_file_contains_nothing_unused() -> None:
    """Buffers of dropped metadata and of the converter's own initial values are empty."""
    model = parse(PART)
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    assert not [
        number
        for number, buffer in enumerate(model.buffers)
        if number not in used and buffer.data is not None and len(buffer.data)
    ]
    assert not model.metadata


def test_graphs_that_do_not_fit_are_refused() -> None:
    """A joined file is not a backbone, and two outputs cannot be chained."""
    with pytest.raises(ConversionError, match="one graph without branches"):
        join(parse(PART), parse(PART))
    two = parse(PART)
    two.subgraphs[0].outputs = [*two.subgraphs[0].outputs, 0]
    with pytest.raises(ConversionError, match="one output and one input"):
        chain(two, parse(PART))


def test_a_variable_without_an_initial_value_is_refused() -> None:
    """The places of all initial values must be known, because a device writes its weights there."""
    model = parse(PART)
    assert set(weight_buffers(model)) == {"W", "b", "W_momentum", "b_momentum"}
    start = model.subgraphs[-1]
    start.operators = start.operators[:-2]  # the handle of the last variable and its assignment
    with pytest.raises(ConversionError, match="when it starts, expected"):
        weight_buffers(model)


def test_ops_are_counted_by_name() -> None:
    """Three convolutions, one of them depthwise."""
    ops = count_ops(PART)
    assert (ops["CONV_2D"], ops["DEPTHWISE_CONV_2D"]) == (2, 1)


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, len(PART) - 1))
def test_a_truncated_model_is_refused_or_read_and_never_crashes(cut: int) -> None:
    """Whatever the length."""
    try:
        parse(PART[:cut])
    except ConversionError as error:
        assert "damaged" in str(error) or "starts with" in str(error)  # noqa: PT017  # either is right
