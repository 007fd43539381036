"""A .tflite as a tree of tables that can be changed and written again, without generated code.

`read_tree` copies every table that the schema of TFLite had when this was written (``schema.fbs``, version 3). The options
of ops are copied as they are. A file with fields that are not known here is refused, because they would be lost.
"""

from __future__ import annotations

import numpy as np

from ..errors import ModelFileError
from .container import IDENTIFIER
from .flatbuffer import Table, root
from .flatbuffer_writer import Node, Number, Raw, Value, write_flatbuffer

# fields by number: a format of `struct`, ``text``, ``bytes``, a dtype of numbers, a table, [tables] or the options of an op
_SCHEMA: dict[str, dict[int, str]] = {
    "Model": {
        0: "I", 1: "[OperatorCode]", 2: "[SubGraph]", 3: "text", 4: "[Buffer]", 5: "<i4", 6: "[Metadata]",
        7: "[SignatureDef]",
    },
    "OperatorCode": {0: "b", 1: "text", 2: "i", 3: "i"},
    "SubGraph": {0: "[Tensor]", 1: "<i4", 2: "<i4", 3: "[Operator]", 4: "text", 5: "i"},
    "Tensor": {0: "<i4", 1: "b", 2: "I", 3: "text", 4: "Quantization", 5: "?", 7: "<i4", 8: "?"},
    "Quantization": {0: "<f4", 1: "<f4", 2: "<f4", 3: "<i8", 6: "i"},
    "Operator": {
        0: "I", 1: "<i4", 2: "<i4", 3: "B", 4: "options", 5: "bytes", 6: "b", 7: "bytes", 8: "<i4", 13: "i",
    },
    "Buffer": {0: "bytes"},
    "Metadata": {0: "text", 1: "I"},
    "SignatureDef": {0: "[TensorMap]", 1: "[TensorMap]", 2: "text", 4: "I"},
    "TensorMap": {0: "text", 1: "I"},
}  # fmt: skip
# types of options with fields that are offsets
_OPTIONS: dict[int, dict[int, str]] = {
    3: {0: "i", 1: "<i4", 2: "<i4"},
    8: {0: "b", 1: "b", 2: "?", 3: "?", 4: "b", 5: "bytes"},
    17: {0: "<i4"},
    30: {0: "<i4"},
    111: {0: "text", 1: "text"},
    115: {0: "<f4"},
}
NEWEST_OPTIONS = 126  # the last type of options that was checked for offsets
_OPTIONS_TYPE = 3
# fields that are not copied, and that some writers write although they are 0
_ZERO = {
    "Operator": {9: "Q", 10: "Q", 11: "B"},
    "Buffer": {1: "Q", 2: "Q"},
    "Quantization": {4: "B"},
    "Tensor": {10: "I"},
}


def read_tree(part: bytes) -> Node:
    """Return the model of a .tflite as a tree. Large constants are not copied.

    Raises:
        ModelFileError: An offset leads outside, or the file has fields of a newer schema, or sparse tensors.
    """
    return _table(root(part), "Model")


def write_tree(model: Node) -> bytes:
    """Return the .tflite of a tree."""
    return write_flatbuffer(model, IDENTIFIER)


def _table(table: Table, name: str) -> Node:
    return _read(table, _SCHEMA[name], name)


def _read(table: Table, schema: dict[int, str], name: str) -> Node:
    node = Node()
    for number in range(table.length):
        zero = _ZERO.get(name, {}).get(number)
        if table.field(number) is None or (zero and not table.number(number, f"<{zero}")):
            continue
        if number not in schema:
            raise ModelFileError(
                f"the model part has the field {number} of {name}, which this edgetl cannot copy: it was made for a newer "
                "runtime, or its constants are sparse; convert the model again"
            )
        node.fields[number] = _value(table, number, schema[number])
    return node


def _value(table: Table, number: int, kind: str) -> Value:
    if kind == "text":
        return table.text(number)
    if kind == "bytes":
        start, length = table.vector(number, 1)
        return memoryview(table.data)[start : start + length]
    if kind.startswith("<"):
        return np.array(table.array(number, kind))
    if len(kind) == 1:
        return Number(kind, table.number(number, f"<{kind}"))
    return _inner(table, number, kind)


def _inner(table: Table, number: int, kind: str) -> Value:
    if kind == "options":
        return _options(table, number)
    if kind.startswith("["):
        return [_table(entry, kind[1:-1]) for entry in table.tables(number)]
    inner = table.table(number)
    return _table(inner, kind) if inner else Node()


def _options(table: Table, number: int) -> Node | Raw:
    kind, options = table.number(_OPTIONS_TYPE, "<B"), table.table(number)
    if options is None:
        return Node()
    if kind > NEWEST_OPTIONS:
        raise ModelFileError(
            f"an op has options of the type {kind}, which this edgetl cannot copy: it was made for a newer runtime; convert"
            " the model again"
        )
    if kind in _OPTIONS:
        return _read(options, _OPTIONS[kind], f"the options of type {kind}")
    return Raw(*options.raw(), options.place % 8)
