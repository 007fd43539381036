"""A .tflite is read as a tree, changed, and written again, without a library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.errors import ModelFileError
from device.model.container import IDENTIFIER
from device.model.flatbuffer import root
from device.model.flatbuffer_writer import Node, Number, write_flatbuffer
from device.model.graph import read_graphs
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from device.model.tree import _OPTIONS, NEWEST_OPTIONS, read_tree, write_tree
from tests import tiny

FILES = (tiny.TINY, tiny.TINY_TAUGHT, tiny.TINY_INFER, tiny.TINY_GRAY, tiny.TINY_VERSION_1)


def official() -> Any:
    """Return the classes of the schema that LiteRT ships, an independent reader."""
    return pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="LiteRT is not installed: pip install 'edgetl[device]'"
    )


def plain(value: Any) -> Any:
    """Return a tree of the official classes as plain values; a missing list is an empty one."""
    if hasattr(value, "__dict__"):
        return {name: plain(entry) for name, entry in vars(value).items()}
    if isinstance(value, np.ndarray | list):
        return [plain(entry) for entry in value]
    return [] if value is None else value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_a_copy_has_the_same_content_for_the_official_reader(path: Any) -> None:
    """Every table, constant and option of an op is kept."""
    schema, part = official(), ModelFile.open(path).model_part()
    copy = write_tree(read_tree(part))
    before, after = (schema.ModelT.InitFromPackedBuf(bytearray(data), 0) for data in (part, copy))
    assert plain(after) == plain(before)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_a_copy_runs_like_the_original(path: Any) -> None:
    """The runtime accepts it, constants are aligned, and every answer is the same."""
    part = ModelFile.open(path).model_part()
    copy = write_tree(read_tree(part))
    assert all(start % 16 == 0 for start, length in read_graphs(copy).buffers if length)
    channels = 1 if path == tiny.TINY_GRAY else 3
    image = tiny.photo("red", 3)[np.newaxis, ..., :channels]
    answers = [
        open_interpreter(data).get_signature_runner("features")(image=image)["embedding"]
        for data in (part, copy)
    ]
    assert np.array_equal(*answers)


def test_options_with_offsets_are_known_for_every_op_of_the_official_schema() -> None:
    """Options are copied byte for byte, which is right only if they contain no offsets."""
    schema = official()
    kinds = {number: name for name, number in vars(schema.BuiltinOptions).items() if not name.startswith("_")}
    assert max(kinds) <= NEWEST_OPTIONS
    with_offsets = {
        number
        for number, name in kinds.items()
        for field in dir(getattr(schema, name, None))
        if field.endswith("Length") or field in ("Container", "SharedName")  # lists, and the only two texts
    }
    assert with_offsets == set(_OPTIONS)


def test_fields_of_a_newer_schema_are_refused() -> None:
    """They would be lost in the copy."""
    tree = read_tree(ModelFile.open(tiny.TINY).model_part())
    tree.nodes(2)[0].fields[9] = Number("I", 1)
    with pytest.raises(ModelFileError, match="the field 9 of SubGraph"):
        read_tree(write_tree(tree))


def test_every_kind_of_field_is_written_and_read_again() -> None:
    """Wide numbers are aligned to their size, whatever precedes them."""
    inner = Node({0: "ä", 1: Number("q", -(2**40))})
    tree = Node(
        {
            0: Number("B", 7),
            1: Number("d", 0.1),
            2: "text",
            3: np.array([1, -2], "<i8"),
            5: [inner, Node()],
            6: ["a", ""],
            7: b"\1\2\3",
            8: Number("?", True),
        }
    )
    data = write_flatbuffer(tree, IDENTIFIER)
    table = root(data)
    assert data[4:8] == IDENTIFIER
    assert (table.number(0, "<B"), table.number(1, "<d"), table.text(2)) == (7, 0.1, "text")
    assert table.array(3, "<i8").tolist() == [1, -2]
    assert (table.vector(3, 8)[0] % 16, table.field(4), table.number(8, "<?")) == (0, None, True)
    first, second = table.tables(5)
    assert (first.text(0), first.number(1, "<q"), second.text(0)) == ("ä", -(2**40), "")
    place = table.field(1), first.field(1)
    assert all(one is not None and one % 8 == 0 for one in place)
    start, length = table.vector(7, 1)
    assert data[start : start + length] == b"\1\2\3"
