"""The ops of a .tflite with their versions, and which of them tflite-runtime 2.14 has.

The converter raises the version of an op when a model uses a newer feature of it; an older runtime refuses the file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from device.model.flatbuffer import root

RUNTIME = "tflite-runtime 2.14"
_CUSTOM = 32
_CODES, _GRAPHS = 1, 2
_OPERATORS = 3
# in the order of BuiltinOperator in schema.fbs: the newest version that tflite-runtime 2.14 has, 1 if none is written and
# 0 if it lacks the op; tests/device/model/test_op_versions.py asks the runtime itself
_NEWEST = """
    ADD:5 AVERAGE_POOL_2D:3 CONCATENATION:4 CONV_2D:7 DEPTHWISE_CONV_2D:7 DEPTH_TO_SPACE:2 DEQUANTIZE:5 EMBEDDING_LOOKUP:3
    FLOOR FULLY_CONNECTED:10 HASHTABLE_LOOKUP L2_NORMALIZATION:2 L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC:3
    LSH_PROJECTION LSTM:4 MAX_POOL_2D:3 MUL:7 RELU:3 RELU_N1_TO_1 RELU6:3 RESHAPE RESIZE_BILINEAR:4 RNN:3 SOFTMAX:3
    SPACE_TO_DEPTH:2 SVDF:4 TANH:3 CONCAT_EMBEDDINGS:0 SKIP_GRAM CALL:0 CUSTOM:0 EMBEDDING_LOOKUP_SPARSE PAD:4
    UNIDIRECTIONAL_SEQUENCE_RNN:3 GATHER:6 BATCH_TO_SPACE_ND:4 SPACE_TO_BATCH_ND:4 TRANSPOSE:6 MEAN:3 SUB:5 DIV:2
    SQUEEZE:2 UNIDIRECTIONAL_SEQUENCE_LSTM:4 STRIDED_SLICE:8 BIDIRECTIONAL_SEQUENCE_RNN:3 EXP:2 TOPK_V2:3 SPLIT:4
    LOG_SOFTMAX:2 DELEGATE:0 BIDIRECTIONAL_SEQUENCE_LSTM:3 CAST:5 PRELU MAXIMUM:4 ARG_MAX:3 MINIMUM:4 LESS:3 NEG PADV2:4
    GREATER:2 GREATER_EQUAL:3 LESS_EQUAL:2 SELECT:4 SLICE:6 SIN TRANSPOSE_CONV:4 SPARSE_TO_DENSE:3 TILE:3 EXPAND_DIMS
    EQUAL:4 NOT_EQUAL:3 LOG SUM:2 SQRT RSQRT:2 SHAPE POW ARG_MIN:3 FAKE_QUANT:2 REDUCE_PROD:2 REDUCE_MAX:3 PACK:4
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK:4 REDUCE_MIN:3 FLOOR_DIV:3 REDUCE_ANY SQUARE ZEROS_LIKE FILL:4
    FLOOR_MOD:2 RANGE:2 RESIZE_NEAREST_NEIGHBOR:4 LEAKY_RELU:2 SQUARED_DIFFERENCE:2 MIRROR_PAD:3 ABS:5 SPLIT_V:2 UNIQUE
    CEIL REVERSE_V2:3 ADD_N GATHER_ND:4 COS WHERE:2 RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE:3 MATRIX_SET_DIAG ROUND
    HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2:2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL:4 PLACEHOLDER_FOR_GREATER_OP_CODES:0 CUMSUM CALL_ONCE BROADCAST_TO:3 RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
    HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU:2 DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN:2 BITCAST
    BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC:0 STABLEHLO_ADD:0 STABLEHLO_DIVIDE:0 STABLEHLO_MULTIPLY:0
    STABLEHLO_MAXIMUM:0 STABLEHLO_RESHAPE:0 STABLEHLO_CLAMP:0 STABLEHLO_CONCATENATE:0 STABLEHLO_BROADCAST_IN_DIM:0
    STABLEHLO_CONVOLUTION:0 STABLEHLO_SLICE:0 STABLEHLO_CUSTOM_CALL:0 STABLEHLO_REDUCE:0 STABLEHLO_ABS:0 STABLEHLO_AND:0
    STABLEHLO_COSINE:0 STABLEHLO_EXPONENTIAL:0 STABLEHLO_FLOOR:0 STABLEHLO_LOG:0 STABLEHLO_MINIMUM:0 STABLEHLO_NEGATE:0
    STABLEHLO_OR:0 STABLEHLO_POWER:0 STABLEHLO_REMAINDER:0 STABLEHLO_RSQRT:0 STABLEHLO_SELECT:0 STABLEHLO_SUBTRACT:0
    STABLEHLO_TANH:0 STABLEHLO_SCATTER:0 STABLEHLO_COMPARE:0 STABLEHLO_CONVERT:0 STABLEHLO_DYNAMIC_SLICE:0
    STABLEHLO_DYNAMIC_UPDATE_SLICE:0 STABLEHLO_PAD:0 STABLEHLO_IOTA:0 STABLEHLO_DOT_GENERAL:0 STABLEHLO_REDUCE_WINDOW:0
    STABLEHLO_SORT:0 STABLEHLO_WHILE:0 STABLEHLO_GATHER:0 STABLEHLO_TRANSPOSE:0 DILATE:0 STABLEHLO_RNG_BIT_GENERATOR:0
    REDUCE_WINDOW:0 STABLEHLO_COMPOSITE:0 STABLEHLO_SHIFT_LEFT:0 STABLEHLO_CBRT:0 STABLEHLO_CASE:0
"""


def _table() -> tuple[tuple[str, int], ...]:
    entries = (entry.partition(":") for entry in _NEWEST.split())
    return tuple((name, int(version or 1)) for name, _, version in entries)


NEWEST = _table()
"""Number of a builtin op -> its name, and the newest version in tflite-runtime 2.14."""


@dataclass(frozen=True)
class OpVersion:
    """An op of a file with its version.

    Attributes:
        name: Name of the op.
        version: Version that the file needs.
        count: Number of times it occurs.
        newest: Newest version that tflite-runtime 2.14 has; 0 if it lacks the op.
    """

    name: str
    version: int
    count: int
    newest: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {"op": self.name, "version": self.version, "count": self.count, "newest": self.newest}


def op_name(kind: int, custom: str = "") -> str:
    """Return the name of an op: that of a builtin op by its number, or the name of a custom op."""
    if kind == _CUSTOM:
        return custom or "custom op without a name"
    return NEWEST[kind][0] if 0 <= kind < len(NEWEST) else f"op {kind}"


def too_new(data: bytes) -> tuple[OpVersion, ...]:
    """Return the builtin ops of a .tflite that tflite-runtime 2.14 lacks, or has only in an older version.

    Raises:
        ModelFileError: The file is damaged.
    """
    model = root(data)
    codes = [
        (max(code.number(0, "<b"), code.number(3)), code.number(2, default=1))
        for code in model.tables(_CODES)
    ]
    counts = Counter(
        operator.number(0, "<I") for graph in model.tables(_GRAPHS) for operator in graph.tables(_OPERATORS)
    )
    found = [(codes[place], count) for place, count in counts.items() if place < len(codes)]
    return tuple(
        OpVersion(op_name(kind), version, count, _newest(kind))
        for (kind, version), count in sorted(found)
        if kind != _CUSTOM and version > _newest(kind)
    )


def _newest(kind: int) -> int:
    return NEWEST[kind][1] if 0 <= kind < len(NEWEST) else 0
