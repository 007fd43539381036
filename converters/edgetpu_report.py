"""The Edge TPU report: which ops of a .tflite the Edge TPU compiler would map to the Edge TPU, and why not the others.

The compiler maps ops from the first one on, and stops at the first that it cannot map: that one and all that follow run on
the CPU. The report follows Coral's published rules (`edgetpu_rules`); only the compiler itself decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.flatbuffer import Table, root
from device.model.graph import Graphs, Tensor, read_graphs

from .edgetpu_rules import SOURCE, Op, reason_not_mapped
from .op_versions import op_name

COMPILED = "edgetpu-custom-op"
_CODES, _GRAPHS, _OPERATORS = 1, 2, 3
_DTYPES = {0: "<f4", 2: "<i4", 3: "u1", 4: "<i8", 7: "<i2", 9: "i1"}


@dataclass(frozen=True)
class EdgeTpuReport:
    """What the Edge TPU compiler would do with a graph.

    Attributes:
        compiled: Whether the file was compiled for the Edge TPU already.
        ops: Number of ops.
        mapped: Number of ops, from the first one on, that would run on the Edge TPU; in a compiled file, number of
            ops that the compiler made for it.
        cpu: The other ops, in order: ``{"op", "position", "reason"}``; positions start at 0.
        obstacles: Why the compiler would refuse the file as it is; empty where it would accept it.
        source: Where the rules come from.
    """

    compiled: bool
    ops: int
    mapped: int
    cpu: tuple[dict[str, Any], ...]
    obstacles: tuple[str, ...]
    source: str = SOURCE

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "cpu": list(self.cpu), "obstacles": list(self.obstacles)}


def report_edgetpu(data: bytes, signature: str = "") -> EdgeTpuReport:
    """Return the report for one graph of a .tflite.

    Args:
        data: The flatbuffer.
        signature: The signature whose graph is meant; the first graph where the file has none of that name.

    Raises:
        ModelFileError: The file is damaged.
    """
    graphs, model = read_graphs(data), root(data)
    number = graphs.signatures[signature].graph if signature in graphs.signatures else 0
    codes = [(max(code.number(0, "<b"), code.number(3)), code.text(1)) for code in model.tables(_CODES)]
    tables = model.tables(_GRAPHS)[number].tables(_OPERATORS)
    names = [op_name(*codes[table.number(0, "<I")]) for table in tables]
    if COMPILED in names:
        return _compiled(names)
    ops = [_op(data, graphs, number, *entry) for entry in enumerate(zip(names, tables, strict=True))]
    reasons = [reason_not_mapped(op) for op in ops]
    mapped = next((place for place, reason in enumerate(reasons) if reason), len(reasons))
    cpu = tuple(
        {"op": names[place], "position": place, "reason": reasons[place] or f"it follows {names[mapped]}"}
        for place in range(mapped, len(names))
    )
    return EdgeTpuReport(False, len(names), mapped, cpu, _obstacles(graphs, number, mapped))


def _compiled(names: list[str]) -> EdgeTpuReport:
    cpu = tuple(
        {"op": name, "position": place, "reason": "the compiler left it on the CPU"}
        for place, name in enumerate(names)
        if name != COMPILED
    )
    return EdgeTpuReport(True, len(names), len(names) - len(cpu), cpu, ())


def _op(data: bytes, graphs: Graphs, number: int, place: int, entry: tuple[str, Table]) -> Op:
    name, table = entry
    operator, tensors = graphs.graphs[number].operators[place], graphs.graphs[number].tensors
    inputs = tuple(tensors[at] if at >= 0 else None for at in operator.inputs)
    contents = tuple(_content(data, graphs, tensor) for tensor in inputs)
    return Op(name, inputs, tuple(tensors[at] for at in operator.outputs), contents, table.table(4))


def _content(data: bytes, graphs: Graphs, tensor: Tensor | None) -> NDArray[np.generic] | None:
    """Return the content of a constant."""
    if tensor is None or not tensor.constant or tensor.type not in _DTYPES:
        return None
    start, length = graphs.buffers[tensor.buffer]
    dtype = np.dtype(_DTYPES[tensor.type])
    return np.frombuffer(data, dtype, length // dtype.itemsize, start)


def _obstacles(graphs: Graphs, number: int, mapped: int) -> tuple[str, ...]:
    graph, found = graphs.graphs[number], []
    if any(side < 0 for tensor in graph.tensors for side in tensor.free):
        found.append("sizes are not fixed: a tensor has a free side, such as the number of images")
    if len(graphs.graphs) > 1:
        found.append(f"the file has {len(graphs.graphs)} graphs, the compiler accepts one")
    if not mapped:
        found.append("no op can be mapped")
    return tuple(found)
