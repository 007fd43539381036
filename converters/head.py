"""Stage 6: the head, a softmax layer that can be trained by signatures made of builtin ops only.

A column that no label uses is closed: its bias is `device.heads.trainer.MASKED`, so that its probability and its
gradient are exactly zero. No gradient step could open it again (float32 numbers of that size are 64 apart),
so ``train`` opens the columns of the labels in the batch before it takes the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Linear
from device.heads.trainer import CLOSED, MOMENTUM, VARIABLES
from device.learner.export import head_variables

from .building import GraphBuilder, empty_model
from .flatbuffer import add_signature

_TINY = np.float32(1e-12)  # keeps rsqrt finite at zero; far below the values of an embedding

FloatHead = tuple[NDArray[np.float32], NDArray[np.float32]]
HeadWeights = dict[str, NDArray[np.float32]]


def initial_weights(
    dimensions: int, capacity: int, labels: tuple[str, ...] = (), taught: FloatHead | None = None
) -> HeadWeights:
    """Return the initial variables of a head.

    Args:
        dimensions: D.
        capacity: C, the number of columns.
        labels: Labels of the first columns.
        taught: W [D, labels] and b [labels] of a head trained before, or None.

    Returns:
        W [D, C], b [C] and their momenta, which are zero. Columns without a label are zero and closed.
    """
    if taught is None:
        labels, taught = (), (np.zeros((dimensions, 0), np.float32), np.zeros(0, np.float32))
    linear = Linear(*(value.astype(np.float64) for value in taught))
    return head_variables(dimensions, capacity, linear, labels)


def build_head(weights: HeadWeights, embedding_map: str) -> Any:
    """Build a head with the signatures ``classify``, ``train``, ``get_weights`` and ``set_weights``.

    The gradient is written by hand: that of `tf.GradientTape` needs ops that no runtime from pip has. For logits
    ``z = phi(e) W + b`` and the mean cross-entropy over N samples it is
    ``dW = phi(e)^T (softmax(z) - y) / N`` and ``db = mean(softmax(z) - y)``. Before the step, a closed column
    that a label of the batch uses gets the lowest bias of the open columns, at most 0.

    Args:
        weights: The initial variables; W [D, C] sets the size.
        embedding_map: Map applied to embeddings first, see `device.model.codes`.

    Returns:
        A model in float32 for `converters.flatbuffer.join`. No input has rank 0: LiteRT on aarch64 crashes on those.
    """
    model = empty_model()
    shapes = {name: weights[name].shape for name in VARIABLES}
    start = len(_SIGNATURES)  # the graph that sets the initial values comes last
    for name, add in _SIGNATURES.items():
        graph = _HeadGraph(model, name, shapes, embedding_map, start)
        given, returned = add(graph)
        graph.graph.outputs = list(returned.values())
        add_signature(model, name, graph.number, given, returned)
    _add_start(model, weights)
    return model


def add_embedding_map(graph: GraphBuilder, embedding: int, dimensions: int, name: str) -> int:
    """Add the ops of `device.model.codes.apply_map` on a tensor float32 [N, D] and return the mapped tensor."""
    if name == "identity":
        return embedding
    wide, tiny = (-1, dimensions), graph.constant(_TINY)
    values = embedding
    if name == "signed_sqrt_l2":
        size = graph.op("MAXIMUM", [graph.op("ABS", [values], wide), tiny], wide)
        values = graph.op("MUL", [values, graph.op("RSQRT", [size], wide)], wide)
    squares = graph.op("MUL", [values, values], wide)
    total = graph.op("SUM", [squares, graph.constant(np.int32(1))], (-1, 1), keepDims=True)
    inverse = graph.op("RSQRT", [graph.op("MAXIMUM", [total, tiny], (-1, 1))], (-1, 1))
    return graph.op("MUL", [values, inverse], wide)


class _HeadGraph(GraphBuilder):
    """A graph of the head, which first makes sure that the variables have their initial values."""

    def __init__(
        self, model: Any, name: str, shapes: Mapping[str, tuple[int, ...]], embedding_map: str, start: int
    ) -> None:
        super().__init__(model, name)
        self.shapes, self.embedding_map = shapes, embedding_map
        self.dimensions, self.capacity = shapes["W"]
        self.effect("CALL_ONCE", initSubgraphIndex=start)
        self.handles = {name: add_handle(self, name) for name in VARIABLES}

    def read(self, name: str) -> int:
        return self.op("READ_VARIABLE", [self.handles[name]], self.shapes[name])

    def assign(self, name: str, value: int) -> None:
        self.effect("ASSIGN_VARIABLE", [self.handles[name], value])

    def mapped(self, embedding: int) -> int:
        return add_embedding_map(self, embedding, self.dimensions, self.embedding_map)

    def product(self, left: int, right: int, shape: tuple[int, ...], transposed: bool = False) -> int:
        return self.op("BATCH_MATMUL", [left, right], shape, adjX=transposed)


def _classify(graph: _HeadGraph) -> tuple[dict[str, int], dict[str, int]]:
    """Return probabilities and logits [N, C] for embeddings [N, D]."""
    embedding, columns = graph.input("embedding", (-1, graph.dimensions)), (-1, graph.capacity)
    product = graph.product(graph.mapped(embedding), graph.read("W"), columns)
    logits = graph.op("ADD", [product, graph.read("b")], columns, name="logits")
    probabilities = graph.op("SOFTMAX", [logits], columns, name="probabilities", beta=1.0)
    return {"embedding": embedding}, {"logits": logits, "probabilities": probabilities}


def _train(graph: _HeadGraph) -> tuple[dict[str, int], dict[str, int]]:
    """Take one step on embeddings [N, D] with labels [N, C]; return the loss before it."""
    embedding, columns = graph.input("embedding", (-1, graph.dimensions)), (-1, graph.capacity)
    label, rate = graph.input("label", columns), graph.input("learning_rate", (1,))
    mapped, weights, bias = graph.mapped(embedding), graph.read("W"), _opened(graph, label)
    logits = graph.op("ADD", [graph.product(mapped, weights, columns), bias], columns)
    share = _share(graph, embedding)
    distance = graph.op("SUB", [graph.op("SOFTMAX", [logits], columns, beta=1.0), label], columns)
    error = graph.op("MUL", [distance, share], columns)  # [N, C]
    loss = _loss(graph, logits, label, share)
    _step(graph, "W", weights, graph.product(mapped, error, graph.shapes["W"], transposed=True), rate)
    _step(graph, "b", bias, graph.op("SUM", [error, graph.constant(np.int32(0))], graph.shapes["b"]), rate)
    return {"embedding": embedding, "label": label, "learning_rate": rate}, {"loss": loss}


def _get_weights(graph: _HeadGraph) -> tuple[dict[str, int], dict[str, int]]:
    """Return all variables."""
    return {"unused": graph.input("unused", (1,))}, {name: graph.read(name) for name in VARIABLES}


def _set_weights(graph: _HeadGraph) -> tuple[dict[str, int], dict[str, int]]:
    """Replace all variables."""
    given = {name: graph.input(name, graph.shapes[name]) for name in VARIABLES}
    for name, value in given.items():
        graph.assign(name, value)
    return given, {"ok": graph.constant(np.ones(1, np.float32))}


_SIGNATURES = {
    "classify": _classify,
    "get_weights": _get_weights,
    "set_weights": _set_weights,
    "train": _train,
}


def _opened(graph: _HeadGraph, label: int) -> int:
    """Return b [C] with the closed columns that `label` [N, C] uses opened."""
    bias, shape, zero = graph.read("b"), graph.shapes["b"], graph.constant(np.float32(0))
    closed = graph.op("LESS", [bias, graph.constant(np.float32(CLOSED))], shape, "bool")
    open_only = graph.op("SELECT_V2", [closed, zero, bias], shape)
    lowest = graph.op("REDUCE_MIN", [open_only, graph.constant(np.zeros(1, np.int32))], (1,), keepDims=True)
    most = graph.op("REDUCE_MAX", [label, graph.constant(np.int32(0))], shape)
    taught = graph.op("GREATER", [most, zero], shape, "bool")
    opening = graph.op("LOGICAL_AND", [closed, taught], shape, "bool")
    return graph.op("SELECT_V2", [opening, lowest, bias], shape)


def _share(graph: _HeadGraph, embedding: int) -> int:
    """Return 1 / N as [1]."""
    zero, one = graph.constant(np.zeros(1, np.int32)), graph.constant(np.ones(1, np.int32))
    sides = graph.op("SHAPE", [embedding], (2,), "int32", outType=2)
    count = graph.op("STRIDED_SLICE", [sides, zero, one, one], (1,), "int32", beginMask=1)
    return graph.op("DIV", [graph.constant(np.float32(1)), graph.op("CAST", [count], (1,))], (1,))


def _loss(graph: _HeadGraph, logits: int, label: int, share: int) -> int:
    """Return the mean cross-entropy as [1]."""
    columns = (-1, graph.capacity)
    logarithms = graph.op("MUL", [label, graph.op("LOG_SOFTMAX", [logits], columns)], columns)
    total = graph.op("SUM", [logarithms, graph.constant(np.arange(2, dtype=np.int32))], ())
    return graph.op("MUL", [graph.op("NEG", [total], ()), share], (1,), name="loss")


def _step(graph: _HeadGraph, name: str, value: int, gradient: int, rate: int) -> None:
    """Assign `value` after one step of gradient descent with momentum."""
    shape, momentum = graph.shapes[name], f"{name}_momentum"
    kept = graph.op("MUL", [graph.read(momentum), graph.constant(np.float32(MOMENTUM))], shape)
    speed = graph.op("ADD", [kept, gradient], shape)
    graph.assign(momentum, speed)
    graph.assign(name, graph.op("SUB", [value, graph.op("MUL", [rate, speed], shape)], shape))


def _add_start(model: Any, weights: HeadWeights) -> None:
    """Add the graph that sets the initial values, each from a buffer of its own."""
    graph = GraphBuilder(model, "start")
    for name in VARIABLES:
        value = graph.constant(np.asarray(weights[name], np.float32), name=name, apart=True)
        graph.effect("ASSIGN_VARIABLE", [add_handle(graph, name), value])


def add_handle(graph: GraphBuilder, name: str) -> int:
    """Add the handle of a variable, which all graphs find by its name."""
    return graph.op("VAR_HANDLE", [], (), "resource", container=b"", sharedName=name.encode())
