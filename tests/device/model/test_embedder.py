"""Embedding frames: with the interpreter itself, or with a runner of the signature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.cameras.fake import draw
from device.errors import EmbeddingError
from device.model.embedder import Embedder
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
