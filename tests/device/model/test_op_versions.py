"""The table of op versions is that of tflite-runtime 2.14, which is asked itself where it is installed."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import pytest

from converters.op_versions import NEWEST, op_name, too_new
from device.errors import ModelFileError
from device.model.flatbuffer_writer import Node, Number
from device.model.modelfile import ModelFile
from device.model.tree import write_tree
from tests import tiny

NAMES = [name for name, _ in NEWEST]
# refused for other reasons
STRANGE = {"CALL", "CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", "LSTM"}


def model(*codes: tuple[int, int]) -> bytes:
    """Return a .tflite with one op per (kind, version), each float32 [1] -> float32 [1]."""
    tensors = [
        Node({0: np.array([1], "<i4"), 1: Number("b", 0), 2: Number("I", 0), 3: f"t{at}"})
        for at in range(len(codes) + 1)
    ]
    operators = [
        Node({0: Number("I", at), 1: np.array([at], "<i4"), 2: np.array([at + 1], "<i4")})
        for at in range(len(codes))
    ]
    graph = {0: tensors, 1: np.array([0], "<i4"), 2: np.array([len(codes)], "<i4"), 3: operators}
    entries = [
        Node({0: Number("b", min(kind, 127)), 2: Number("i", version), 3: Number("i", kind)})
        for kind, version in codes
    ]
    return write_tree(Node({0: Number("I", 3), 1: entries, 2: [Node({**graph})], 4: [Node()]}))


def test_names_are_those_of_the_official_schema() -> None:
    """An op of a newer schema has its number as name."""
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="LiteRT is not installed: pip install 'edgetl[device]'"
    )
    official = {
        number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")
    }
    assert {number: op_name(number) for number in official if number != 32} == {
        number: name for number, name in official.items() if number != 32
    }
    assert (op_name(32, "mine"), op_name(999)) == ("mine", "op 999")


def test_the_runtime_has_exactly_these_versions() -> None:
    """It accepts the newest version of each op and refuses the next."""
    runtime: Any = pytest.importorskip(
        "tflite_runtime.interpreter",
        reason="tflite-runtime is not installed: make .venv-tflite-runtime/ready",
    )
    if not importlib.metadata.version("tflite-runtime").startswith("2.14"):
        pytest.skip("the table is for tflite-runtime 2.14: make test-tflite-runtime")

    def accepts(kind: int, version: int) -> bool:
        try:
            runtime.Interpreter(model_content=model((kind, version)))
        except (ValueError, RuntimeError) as error:
            return "Didn't find op" not in str(error) and "out of range" not in str(error)
        return True

    wrong = {
        name
        for kind, (name, newest) in enumerate(NEWEST)
        if name not in STRANGE and (accepts(kind, newest + 1) or (newest and not accepts(kind, newest)))
    }
    assert wrong == set()


def test_ops_that_are_too_new_are_named_with_their_versions() -> None:
    """The number of times that each occurs is counted."""
    add, connected, newer = NAMES.index("ADD"), NAMES.index("FULLY_CONNECTED"), NAMES.index("STABLEHLO_ADD")
    found = too_new(model((add, 5), (connected, 11), (connected, 11), (newer, 1), (add, 6)))
    assert [(one.name, one.version, one.newest) for one in found] == [
        ("ADD", 6, 5), ("FULLY_CONNECTED", 11, 10), ("FULLY_CONNECTED", 11, 10), ("STABLEHLO_ADD", 1, 0),
    ]  # fmt: skip
    assert found[0].to_dict() == {"op": "ADD", "version": 6, "count": 1, "newest": 5}


@pytest.mark.parametrize(
    "path", [tiny.TINY_INFER, tiny.TINY_GRAY, tiny.TINY_VERSION_1], ids=lambda path: path.stem
)
def test_model_files_of_edgetl_run_on_it(path: Any) -> None:
    """No op of theirs is too new."""
    assert too_new(ModelFile.open(path).model_part()) == ()


def test_a_truncated_file_is_refused() -> None:
    """The error is that of a damaged model."""
    with pytest.raises(ModelFileError):
        too_new(model((0, 1))[:60])
