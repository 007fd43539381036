"""What an op of a .tflite must have before a runtime may prepare it: the number of its tensors, and its numbers.

The kernels of TFLite rely on the converter: a tensor that is left out where none may be, or a stride of 0, ends the
process. Kinds are those of BuiltinOperator in ``schema.fbs``; kinds that are not listed are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from .flatbuffer import Table, damaged

CALL_ONCE, IF, WHILE = 129, 118, 119
_CUSTOM, _CALL = 32, 31
_ANY = 2**16
_HASHTABLE, _HASHTABLE_SIZE, _VAR_HANDLE, _READ_VARIABLE, _ASSIGN_VARIABLE = 136, 139, 142, 143, 144
_RESOURCES = (13, 14)  # the types RESOURCE and VARIANT, which represent variables and tables
_PASSING_RESOURCES = {_CUSTOM, _CALL, CALL_ONCE, IF, WHILE}

_Count = tuple[int, int]  # at least, at most


def _forms(*groups: tuple[str, _Count, _Count]) -> dict[int, tuple[_Count, _Count]]:
    return {int(kind): (inputs, outputs) for kinds, inputs, outputs in groups for kind in kinds.split()}


# kinds, number of inputs, number of outputs
_FORMS = _forms(
    # of one tensor: activations, roundings, casts, pooling
    (
        "1 5 6 8 11 12 13 14 17 19 20 21 25 26 28 30 43 47 50 53 59 66 73 75 76 77 80 87 92 93 98 101 104 108 109 110 111 113"
        " 114 116 117 124 133 134 135 146 147 148 150 152 158 159",
        (1, 1),
        (1, 1),
    ),
    # of two: arithmetic, comparisons, reductions, resizing, padding
    (
        "0 7 18 23 34 36 39 40 41 42 54 55 56 57 58 61 62 63 69 70 71 72 74 78 79 81 82 84 86 89 90 91 94 95 97 99 100 105 107"
        " 112 115 125 126 128 130 131 140 145 149 156 160 161",
        (2, 2),
        (1, 1),
    ),
    ("37 38 60 64 65 96 122 123 151 153 154 155 157", (3, 3), (1, 1)),
    ("45 68 85", (4, 4), (1, 1)),
    ("3 4 132", (2, 3), (1, 1)),  # convolutions, with or without a bias
    ("9", (2, 4), (1, 2)),  # fully connected
    ("67 141", (3, 4), (1, 1)),  # transposed convolutions
    ("22", (1, 2), (1, 1)),  # reshape
    ("2 83 106", (1, _ANY), (1, 1)),  # concatenation, pack, add_n
    ("49", (2, 2), (1, _ANY)),  # split
    ("88", (1, 1), (1, _ANY)),  # unpack
    ("102", (3, 3), (1, _ANY)),  # split_v
    ("48", (2, 2), (2, 2)),  # top_k
    ("103", (1, 1), (2, 2)),  # unique
    ("10", (3, 3), (2, 2)),
    ("15", (2, 3), (1, 1)),
    ("33", (5, 5), (1, 1)),
    ("120", (5, 5), (2, 2)),  # non-maximum suppression
    ("121", (6, 6), (3, 3)),
    ("16", (5, 24), (1, 4)),  # recurrent layers
    ("24 27 35", (5, 5), (1, 1)),
    ("44", (20, 24), (1, 1)),
    ("46", (12, 12), (1, 2)),
    ("52", (48, 48), (1, 2)),
    ("129", (0, 0), (0, 0)),
    ("136 142", (0, 0), (1, 1)),  # handles of tables and variables
    ("137", (3, 3), (1, 1)),
    ("138", (3, 3), (0, 0)),
    ("139 143", (1, 1), (1, 1)),
    ("144", (2, 2), (0, 0)),
)
# kind -> the first input that may be left out
_MAY_BE_LEFT_OUT = {3: 2, 4: 2, 132: 2, 9: 2, 67: 3, 141: 3} | dict.fromkeys((16, 24, 27, 35, 44, 46, 52), 0)
# kind -> type of its options, and the fields that must be above 0 with their defaults
_POSITIVE: dict[int, tuple[int, dict[int, int]]] = {
    1: (5, {1: 0, 2: 0, 3: 0, 4: 0}),  # pooling: strides and window
    3: (1, {1: 0, 2: 0, 4: 1, 5: 1}),  # convolution: strides and dilations
    4: (2, {1: 0, 2: 0, 5: 1, 6: 1}),
    5: (94, {0: 0}),  # depth to space: the block
    12: (5, {1: 0, 2: 0, 3: 0, 4: 0}),
    17: (5, {1: 0, 2: 0, 3: 0, 4: 0}),
    26: (19, {0: 0}),
    67: (49, {1: 0, 2: 0}),
    132: (106, {1: 0, 2: 0, 3: 0, 5: 1, 6: 1, 7: 1}),
    141: (106, {1: 0, 2: 0, 3: 0, 5: 1, 6: 1, 7: 1}),
}
_MOST = 2**15  # of such a field
# type of options -> fields that are lists or strings, with the bytes per element; tflite-runtime does not check them
_LISTS = {3: {1: 4, 2: 4}, 17: {0: 4}, 30: {0: 4}, 111: {0: 1, 1: 1}, 115: {0: 4}}


def check_op(kind: int, inputs: Sequence[int], outputs: Sequence[int], entry: Table) -> None:
    """Refuse an op with too few or too many tensors, or with numbers that its kernel divides by.

    Args:
        kind: Kind of the op.
        inputs: Numbers of its input tensors, -1 for one that is left out.
        outputs: Numbers of its output tensors.
        entry: Its table in the flatbuffer.

    Raises:
        ModelFileError: The op does not have the form of its kind.
    """
    if kind in _FORMS:
        for side, numbers, (least, most) in zip(
            ("inputs", "outputs"), (inputs, outputs), _FORMS[kind], strict=True
        ):
            if not least <= len(numbers) <= most:
                raise damaged(f"an op of kind {kind} has {len(numbers)} {side}, expected {least} to {most}")
        required = [*inputs[: _MAY_BE_LEFT_OUT.get(kind, len(inputs))], *outputs]
        if min(required, default=0) < 0:
            raise damaged(f"an op of kind {kind} lacks a tensor")
    if kind in _POSITIVE:
        _check_options(kind, entry)
    _check_lists(entry)


def check_types(kind: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Refuse variables where numbers are computed, and numbers where a variable is expected.

    Args:
        kind: Kind of the op.
        inputs: Types of its input tensors.
        outputs: Types of its output tensors.

    Raises:
        ModelFileError: A type is of the wrong kind.
    """
    if kind in _PASSING_RESOURCES or kind not in _FORMS:
        return
    handles = [number in _RESOURCES for number in (*inputs, *outputs)]
    first = _HASHTABLE <= kind <= _HASHTABLE_SIZE or kind in (_VAR_HANDLE, _READ_VARIABLE, _ASSIGN_VARIABLE)
    if handles[:1] != [first] * len(handles[:1]) or any(handles[1:]):
        raise damaged(f"an op of kind {kind} has a variable where a number is expected, or the reverse")


def _check_options(kind: int, entry: Table) -> None:
    wanted, fields = _POSITIVE[kind]
    options = entry.table(4)
    if options is None or entry.number(3, "<B") != wanted:
        raise damaged(f"an op of kind {kind} lacks its options")
    for field, default in fields.items():
        value = options.number(field, default=default)
        if not 0 < value <= _MOST:
            raise damaged(f"an op of kind {kind} has an option of {value}, expected 1 to {_MOST}")


def _check_lists(entry: Table) -> None:
    """Check that the lists of an op's options are inside the flatbuffer; `Table.vector` raises otherwise."""
    options = entry.table(4)
    if options is not None:
        for field, size in _LISTS.get(entry.number(3, "<B"), {}).items():
            options.vector(field, size)
    entry.vector(5, 1)  # options of a custom op
    entry.vector(7, 1)
