"""The first ops of a backbone as a .tflite of their own, to time them; needs neither TensorFlow nor LiteRT's schema classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device.errors import ModelFileError
from device.model.flatbuffer_writer import Node
from device.model.graph import Graph, Graphs, Operator, read_graphs
from device.model.tree import read_tree, write_tree

from .op_versions import op_name

FEATURES = "features"
_GRAPHS, _BUFFERS, _METADATA_BUFFER, _METADATA, _SIGNATURES = 2, 4, 5, 6, 7  # fields of Model
_OUTPUTS, _OPERATORS = 2, 3  # of SubGraph
_CONV, _DEPTHWISE, _FULLY = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"


@dataclass(frozen=True)
class Layer:
    """An op of the backbone.

    Attributes:
        index: Its place, from 0.
        op: Kind of the op, such as ``CONV_2D``.
        name: Name of its output.
        shape: Shape of its output, for one frame.
        multiply_adds: Number of multiplications with addition; None for kinds that are not counted.
    """

    index: int
    op: str
    name: str
    shape: tuple[int, ...]
    multiply_adds: int | None


class Prefixes:
    """The prefixes of a backbone: its first ops, for each number of them.

    Args:
        part: The model part of a model file.

    Raises:
        ModelFileError: The backbone calls other graphs, or cannot be copied.
    """

    def __init__(self, part: bytes) -> None:
        graphs = read_graphs(part)
        self._graph = _backbone(graphs)
        self._number = graphs.signatures[FEATURES].graph
        self._part = part
        self.layers = tuple(_layer(self._graph, place, op) for place, op in enumerate(self._graph.operators))

    def cut(self, count: int) -> bytes:
        """Return a .tflite that ends with the output of the op number `count`, from 1 to the number of layers."""
        operators = self._graph.operators[:count]
        model = read_tree(self._part)
        graph = _nodes(model, _GRAPHS)[self._number]
        graph.fields[_OPERATORS] = _nodes(graph, _OPERATORS)[:count]
        graph.fields[_OUTPUTS] = np.array([operators[-1].outputs[0]], "<i4")
        model.fields[_GRAPHS] = [graph]
        for field in (_METADATA_BUFFER, _METADATA, _SIGNATURES):
            model.fields.pop(field, None)
        _empty_unused(_nodes(model, _BUFFERS), self._graph, operators)
        return write_tree(model)


def _backbone(graphs: Graphs) -> Graph:
    graph = graphs.graphs[graphs.signatures[FEATURES].graph]
    if any(operator.calls for operator in graph.operators):
        raise ModelFileError("the backbone calls other graphs, so it cannot be cut into layers")
    return graph


def _nodes(node: Node, field: int) -> list[Node]:
    found = node.fields.get(field)
    tables = [entry for entry in found if isinstance(entry, Node)] if isinstance(found, list) else []
    if not tables:
        raise ModelFileError("the model part is damaged: a list is missing; copy or convert the file again")
    return tables


def _empty_unused(buffers: Sequence[Node], graph: Graph, operators: Sequence[Operator]) -> None:
    """Leave out constants of later ops, which would take RAM."""
    tensors = {number for operator in operators for number in operator.inputs if number >= 0}
    used = {graph.tensors[number].buffer for number in tensors}
    for number, buffer in enumerate(buffers):
        if number not in used:
            buffer.fields.clear()


def _layer(graph: Graph, place: int, operator: Operator) -> Layer:
    output = graph.tensors[operator.outputs[0]]
    op = op_name(operator.kind)
    return Layer(place, op, output.name, output.shape, _multiply_adds(op, graph, operator))


def _multiply_adds(op: str, graph: Graph, operator: Operator) -> int | None:
    if op not in (_CONV, _DEPTHWISE, _FULLY):
        return None
    output, weights = graph.tensors[operator.outputs[0]], graph.tensors[operator.inputs[1]]
    if op == _FULLY:
        return weights.elements
    # weights of CONV_2D: [out, height, width, in]; of DEPTHWISE_CONV_2D: [1, height, width, channels]
    return output.elements * math.prod(weights.shape[1:3] if op == _DEPTHWISE else weights.shape[1:])
