"""The signature infer: it shares the backbone, so that the file hardly grows."""

from __future__ import annotations

from converters.flatbuffer import parse, serialize
from converters.infer import add_infer
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests.tiny import TINY, TINY_INFER, TINY_TAUGHT


def test_constants_and_the_description_of_the_backbone_are_in_the_file_once() -> None:
    """Every buffer is unchanged, and nothing of the backbone is written twice."""
    part = ModelFile.open(TINY).model_part()
    plain, model = parse(part), parse(part)
    add_infer(model)
    assert len(model.buffers) == len(plain.buffers)
    grown = len(serialize(model)) - len(part)
    classify = next(entry for entry in plain.signatureDefs if entry.signatureKey == b"classify")
    alone = parse(part)
    alone.subgraphs = [alone.subgraphs[classify.subgraphIndex]]
    for buffer in alone.buffers:
        buffer.data = None
    assert grown < len(serialize(alone)) + 2048


def test_serializing_does_not_change_the_tree() -> None:
    """It can be changed and written again."""
    model = parse(ModelFile.open(TINY).model_part())
    add_infer(model)
    once = serialize(model)
    assert serialize(model) == once
    assert list(open_interpreter(once).get_signature_list())[-1] == "infer"


def test_infer_is_added_only_on_request() -> None:
    """It needs RAM when the file is opened."""
    assert "infer" not in open_interpreter(TINY_TAUGHT).get_signature_list()
    assert "infer" in open_interpreter(TINY_INFER).get_signature_list()
