"""The tiny models for tests without TensorFlow equal the output of their script."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device.model.embedder import Embedder
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from tests import tiny
from tests.make_tiny_model import make


def test_the_script_makes_equivalent_files(tmp_path: Path) -> None:
    """The same embeddings, labels and memory, up to the rounding of another converter version."""
    make(tmp_path)
    images = [tiny.photo(label, 5) for label in tiny.COLORS]
    for path in (tiny.TINY, tiny.TINY_TAUGHT):
        kept, made = ModelFile.open(path), ModelFile.open(tmp_path / path.name)
        assert path.stat().st_size < 100_000
        assert (kept.labels, kept.manifest.dimensions) == (made.labels, made.manifest.dimensions)
        one, other = (Embedder(model, threads=1).embed_many(images) for model in (kept, made))
        assert np.allclose(one, other, atol=0.02 * one.max())
        if isinstance(kept.memory, Samples):
            assert isinstance(made.memory, Samples)
            assert kept.memory.labels == made.memory.labels
            assert np.abs(kept.memory.codes.astype(int) - made.memory.codes).max() < 200


def test_the_tiny_models_contain_no_path_of_the_machine_that_made_them() -> None:
    """A manifest contains only figures and versions."""
    for path in (tiny.TINY, tiny.TINY_TAUGHT):
        assert b"/tmp" not in path.read_bytes()
        assert b"/home" not in path.read_bytes()
