"""Embedding frames: with the interpreter itself, or with a runner of the signature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.cameras.fake import draw
from device.errors import EmbeddingError
from device.learner import Learner
from device.model.embedder import Embedder, edgetpu_twin
from device.model.modelfile import ModelFile
from tests import tiny

MODEL = ModelFile.open(tiny.TINY)


@pytest.fixture
def embedder() -> Embedder:
    """Open the backbone of the tiny model."""
    return Embedder(MODEL, threads=1)


def by_signature(embedder: Embedder) -> np.ndarray:
    """Embed a frame with a runner."""
    prepared = MODEL.manifest.preprocessing.prepare(draw("red"))
    embedding: np.ndarray = embedder.signature("features")(image=prepared[np.newaxis])["embedding"][0]
    return embedding


def test_the_interpreter_embeds_like_the_signature(embedder: Embedder) -> None:
    """The backbone is the first graph, which the interpreter runs without the detour."""
    assert MODEL.first_graph is not None
    alone = embedder.embed_one(draw("red"))
    assert np.array_equal(alone, by_signature(embedder))
    assert not np.array_equal(alone, embedder.embed_one(draw("blue")))


def test_embedding_continues_after_a_signature_changed_the_batch(embedder: Embedder) -> None:
    """A softmax head with generated images embeds several images at once with the same interpreter."""
    before = embedder.embed_one(draw("red"))
    prepared = MODEL.manifest.preprocessing.prepare(draw("blue"))
    embedder.signature("features")(image=np.stack([prepared] * 3))
    assert np.array_equal(embedder.embed_one(draw("red")), before)


def test_a_backbone_that_is_not_the_first_graph_is_run_by_its_signature(embedder: Embedder) -> None:
    """The order of the graphs is not part of the contract of a model file."""
    other = Embedder(replace(MODEL, first_graph=None), threads=1)
    assert np.array_equal(other.embed_one(draw("red")), embedder.embed_one(draw("red")))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_refused(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    """One bad number is enough."""
    embedding = embedder.embed_one(draw("red"))
    embedding[0] = bad
    monkeypatch.setattr(embedder, "_run", lambda prepared: embedding)
    with pytest.raises(EmbeddingError, match="inspect"):
        embedder.embed_one(draw("red"))


def test_a_twin_for_the_edge_tpu_is_run_without_signatures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the twin is the model itself, run on the CPU in place of the delegate; the signatures stay those of the file."""
    path = tmp_path / "mugs.tflite"
    path.write_bytes(tiny.TINY.read_bytes())
    edgetpu_twin(path).write_bytes(MODEL.model_part())
    monkeypatch.setattr("device.model.embedder.load_edgetpu", lambda runtime: None)
    with Learner.open(path, None, delegate="edgetpu", threads=1) as learner:
        embedder = learner.embedder
        assert embedder.delegate == "edgetpu"
        before = embedder.embed_one(draw("red"))
        assert np.array_equal(before, by_signature(embedder))
        # the runner belongs to another interpreter
        assert np.array_equal(embedder.embed_one(draw("red")), before)


def test_a_quantized_output_of_a_twin_becomes_float(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler leaves int8 at the end: the value is ``scale * (raw - zero)``."""

    class Compiled:
        """An interpreter whose output is int8."""

        def set_tensor(self, number: int, value: np.ndarray) -> None:
            """Accept one image."""
            assert value.shape == (1, tiny.SIDE, tiny.SIDE, 3)

        def invoke(self) -> None:
            """Run nothing."""

        def get_tensor(self, number: int) -> np.ndarray:
            """Return two numbers."""
            return np.array([[-128, 12]], np.int8)

    for name, value in (("_interpreter", Compiled()), ("_scale", 0.5), ("_zero", -128)):
        monkeypatch.setattr(embedder, name, value)
    embedding = embedder.embed_one(draw("red"))
    assert embedding.tolist() == [0.0, 70.0]
    assert embedding.dtype == np.float32
