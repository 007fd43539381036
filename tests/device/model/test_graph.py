"""Graphs that would crash an interpreter are refused; models of other converters are read."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import ModelFileError
from device.model.flatbuffer import Table, root
from device.model.graph import read_graphs
from device.model.modelfile import ModelFile
from device.model.ops import CALL_ONCE
from tests.hostile import TakenApart
from tests.tiny import TINY, TINY_INFER, TINY_TAUGHT, TINY_VERSION_1

GOOD = TakenApart.read(TINY_TAUGHT)
CODES, GRAPHS, BUFFERS, SIGNATURES = 1, 2, 4, 7
TENSORS, OPERATORS = 0, 3
KINDS = {"CONV_2D": 3, "MUL": 18, "VAR_HANDLE": 142}  # of BuiltinOperator


def put(part: bytes, place: int | None, value: int | float, kind: str = "<i") -> bytes:
    """Write a number over the bytes at a place."""
    assert place is not None
    new = struct.pack(kind, value)
    return part[:place] + new + part[place + len(new) :]


def tensors(part: bytes) -> list[Table]:
    """Return the tensors of all graphs."""
    return [tensor for graph in root(part).tables(GRAPHS) for tensor in graph.tables(TENSORS)]


def operators(part: bytes) -> list[Table]:
    """Return the ops of all graphs."""
    return [operator for graph in root(part).tables(GRAPHS) for operator in graph.tables(OPERATORS)]


def quantized(part: bytes) -> Table:
    """Return the quantization of a tensor with one scale."""
    found = [tensor.table(4) for tensor in tensors(part)]
    return next(entry for entry in found if entry and entry.vector(2)[1] == 1)


def with_scale(value: float) -> Callable[[bytes], bytes]:
    """Return a change of one scale."""
    return lambda part: put(part, quantized(part).vector(2)[0], value, "<f")


def with_zero_point(part: bytes) -> bytes:
    """Move a zero point out of its type."""
    return put(part, quantized(part).vector(3, 8)[0], 300, "<q")


def with_signature_of_graph_99(part: bytes) -> bytes:
    """Name a missing graph."""
    signature = next(entry for entry in root(part).tables(SIGNATURES) if entry.field(4))
    return put(part, signature.field(4), 99)


def with_signature_of_another_tensor(part: bytes) -> bytes:
    """Name a tensor that is no input of the graph."""
    entries = [entry for signature in root(part).tables(SIGNATURES) for entry in signature.tables(0)]
    return put(part, next(entry.field(1) for entry in entries if entry.field(1)), 77)


def with_op_kind(part: bytes) -> bytes:
    """Set the kind of an op to a missing one."""
    return put(part, next(op.field(0) for op in operators(part) if op.field(0)), 77)


def with_buffer(part: bytes) -> bytes:
    """Refer to a missing buffer."""
    return put(part, next(tensor.field(2) for tensor in tensors(part) if tensor.field(2)), 9999)


def with_shape(part: bytes) -> bytes:
    """Make a constant wider than its content."""
    constant = next(tensor for tensor in tensors(part) if tensor.vector(0)[1] == 4 and tensor.number(2) > 1)
    return put(part, constant.vector(0)[0] + 12, 4096)


def with_negative_side(part: bytes) -> bytes:
    """Set a negative side of a tensor."""
    return put(part, next(tensor.vector(0)[0] for tensor in tensors(part) if tensor.vector(0)[1]), -5)


def with_a_huge_result(part: bytes) -> bytes:
    """Make the result of a convolution larger than the RAM of a Pi."""
    graph = root(part).tables(GRAPHS)[0]
    operator = next(op for op in graph.tables(OPERATORS) if op.table(4) and op.number(3, "<B") == 1)
    result = graph.tables(TENSORS)[operator.numbers(2)[0]]
    return put(part, result.vector(0)[0] + 4, 2**22)


def with_a_name_outside(part: bytes) -> bytes:
    """Move the name of a variable, in the options of an op, out of the file."""
    options = ops(part, "VAR_HANDLE")[0].table(4)
    assert options is not None
    return put(part, options.field(1), 2**28)


def with_input(number: int) -> Callable[[bytes], bytes]:
    """Return a change of what the first op reads."""
    return lambda part: put(part, operators(part)[0].vector(1)[0], number)


def with_output_over_a_constant(part: bytes) -> bytes:
    """Make an op write to a constant."""
    graph = root(part).tables(GRAPHS)[0]
    sizes = [buffer.vector(0, 1)[1] for buffer in root(part).tables(BUFFERS)]
    constant = next(at for at, tensor in enumerate(graph.tables(TENSORS)) if sizes[tensor.number(2, "<I")])
    return put(part, graph.tables(OPERATORS)[0].vector(2)[0], constant)


def ops(part: bytes, name: str) -> list[Table]:
    """Return the ops of a kind."""
    kinds = [max(code.number(0, "<b"), code.number(3)) for code in root(part).tables(CODES)]
    return [operator for operator in operators(part) if kinds[operator.number(0, "<I")] == KINDS[name]]


def with_left_out_input(part: bytes) -> bytes:
    """Leave out an input of a multiplication."""
    return put(part, ops(part, "MUL")[0].vector(1)[0], -1)


def with_too_few_inputs(part: bytes) -> bytes:
    """Shorten the list of inputs of a multiplication."""
    return put(part, ops(part, "MUL")[0].vector(1)[0] - 4, 1)


def with_a_stride_of_0(part: bytes) -> bytes:
    """Set the stride of a convolution to 0."""
    options = ops(part, "CONV_2D")[0].table(4)
    assert options is not None
    return put(part, options.field(1), 0)


def with_a_variable_for_a_number(part: bytes) -> bytes:
    """Multiply the handle of a variable."""
    for graph in root(part).tables(GRAPHS):
        handles = [at for at, tensor in enumerate(graph.tables(TENSORS)) if tensor.number(1, "<b") == 13]
        kinds = [max(code.number(0, "<b"), code.number(3)) for code in root(part).tables(CODES)]
        for operator in graph.tables(OPERATORS):
            if handles and kinds[operator.number(0, "<I")] == KINDS["MUL"]:
                return put(part, operator.vector(1)[0], handles[0])
    raise AssertionError("no graph multiplies and has variables")


def with_a_cycle(part: bytes) -> bytes:
    """Make the graph that sets the variables call itself."""
    codes = [code.number(3) for code in root(part).tables(CODES)]
    for number, graph in enumerate(root(part).tables(GRAPHS)):
        for operator in graph.tables(OPERATORS):
            options = operator.table(4)
            if codes[operator.number(0)] == CALL_ONCE and options is not None and options.field(0):
                return put(part, options.field(0), number)
    raise AssertionError("no graph calls another")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_scale(0), "scale"),
        (with_scale(float("nan")), "scale"),
        (with_scale(float("inf")), "scale"),
        (with_scale(-1), "scale"),
        (with_scale(1e-45), "scale"),
        (with_left_out_input, "lacks a tensor"),
        (with_too_few_inputs, "inputs, expected"),
        (with_a_stride_of_0, "option of 0"),
        (with_a_variable_for_a_number, "variable"),
        (with_zero_point, "zero point"),
        (with_signature_of_graph_99, "graph 99"),
        (with_signature_of_another_tensor, "signature"),
        (with_op_kind, "kind 77"),
        (with_buffer, "buffer 9999"),
        (with_shape, "its buffer has"),
        (with_negative_side, "shape"),
        (with_a_huge_result, "at most"),
        (with_a_name_outside, "reaches beyond|offset"),
        (lambda part: part.replace(b"embedding\0", b"embedding!"), "has no end"),
        (with_input(9999), "tensors"),
        (with_input(-2), "tensors"),
        (with_output_over_a_constant, "written twice"),
        (with_a_cycle, "cycle"),
        (lambda part: put(part, 0, 0x7FFFFFF0), "offset"),
        (lambda part: put(part, root(part).place, -0x7FFFFFF0), "offset"),
        (lambda part: part[: len(part) // 2], "damaged"),
        (lambda part: part[:8], "offset"),
    ],
)
def test_graphs_that_would_crash_a_runtime_are_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    """Every checksum is repaired, so that only the check of the graphs can refuse the file."""
    path = tmp_path / "changed.tflite"
    path.write_bytes(TakenApart(change(GOOD.part), GOOD.members).mended().packed())
    with pytest.raises(ModelFileError, match=message) as caught:
        ModelFile.open(path)
    assert "changed.tflite" in str(caught.value)


@pytest.mark.parametrize("path", [TINY, TINY_TAUGHT, TINY_INFER, TINY_VERSION_1], ids=lambda path: path.name)
def test_good_graphs_are_read(path: Path) -> None:
    """Their signatures, and every buffer within the file."""
    part = ModelFile.open(path).model_part()
    found = read_graphs(part)
    image, embedding = found.tensors_of("features")
    assert image["image"].free == (-1, 32, 32, 3)
    assert embedding["embedding"].free == (-1, 32)
    assert all(start >= 0 and start + length <= len(part) for start, length in found.buffers)


@pytest.mark.parametrize("name", ["coral", "signatures"])
def test_models_of_other_converters_are_read(dev_data: Path, name: str) -> None:
    """The checks are not stricter than real converters."""
    files = sorted((dev_data / name).rglob("*.tflite"))
    assert files
    for path in files:
        assert read_graphs(path.read_bytes()).graphs


def test_a_small_file_that_describes_a_huge_tree_is_refused() -> None:
    """Reading vectors of vectors that share one table would not end."""
    shared = bytearray(read_shared_tree(4000))
    with pytest.raises(ModelFileError, match="more tables"):
        read_graphs(bytes(shared))


def read_shared_tree(width: int) -> bytes:
    """Return a model of `width` graphs that all are one graph of `width` tensors that all are one."""
    data = bytearray(struct.pack("<I4s", 24, b"TFL3"))
    data += struct.pack("<HHHHHH2x", 10, 12, 4, 0, 8, 0)  # vtable at 8: version at 4, graphs at 8
    data += bytes(24 - len(data))
    data += struct.pack("<iII", 24 - 8, 3, 4)  # the model at 24; its graphs follow at 36
    graphs = len(data)
    data += struct.pack("<I", width) + bytes(4 * width)
    data += struct.pack("<HHH2x", 6, 8, 4)
    graph = len(data)
    data += struct.pack("<iI", 8, 4)
    tensors = len(data)
    data += struct.pack("<I", width) + bytes(4 * width)
    data += struct.pack("<HH", 4, 4)
    tensor = len(data)
    data += struct.pack("<i", 4)
    for place in range(width):
        at = graphs + 4 + 4 * place
        data[at : at + 4] = struct.pack("<I", graph - at)
        at = tensors + 4 + 4 * place
        data[at : at + 4] = struct.pack("<I", tensor - at)
    return bytes(data)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    """All bytes lead to the same error."""
    with pytest.raises(ModelFileError):
        read_graphs(b"\x10\0\0\0TFL3" + noise)


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD.part) // 4 - 1), st.integers(-(2**31), 2**31 - 1)), max_size=4)
)
def test_any_changed_numbers_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    """No other error is raised, for any bytes in the graphs."""
    words = np.frombuffer(GOOD.part[: len(GOOD.part) // 4 * 4], "<i4").copy()
    for place, value in changes:
        words[place] = value
    with contextlib.suppress(ModelFileError):
        read_graphs(words.tobytes())
