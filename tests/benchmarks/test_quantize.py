"""The benchmark of quantization on a tiny backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import tiny

pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="conversion needs LiteRT")

from benchmarks import quantize  # imports converters, which need both


def photos() -> tuple[list[Any], Any]:
    """Return 36 photos of three labels, in turn, and the labels."""
    labels = np.array([label for _ in range(12) for label in tiny.COLORS])
    return [tiny.photo(label, seed) for seed, label in enumerate(labels)], labels


def test_a_pair_is_measured_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """The float backbone is the reference; the bare converter is measured for one backbone only."""
    images, labels = photos()
    monkeypatch.setattr(quantize, "load_photos", lambda name: (iter(images), labels))
    monkeypatch.setattr(quantize, "load_backbone", lambda name: (tiny.backbone(), tiny.PREPROCESSING))
    found = quantize.measure(quantize.REFERENCE, "colors")
    assert found is not None
    assert found["photos"] == 36
    assert found["float"]["centered_cosine"] == 1.0
    assert 0.9 < found["bare"]["centered_cosine"] <= 1.0
    assert 0.9 < found["int8"]["centered_cosine"] <= 1.0
    assert len(found["int8"]["splits"]) == 4
    other = quantize.measure("other", "colors")
    assert other is not None
    assert set(other) == {"photos", "float", "int8"}


def test_photos_that_are_not_here_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair is listed as left out."""
    monkeypatch.setattr(quantize, "load_photos", lambda name: None)
    assert quantize.measure("efficientnet-lite0", "nowhere") is None


def test_labels_without_relation_to_the_embeddings_are_not_learned() -> None:
    """The photos of a split are not taught."""
    chooser = np.random.default_rng(0)
    embeddings = chooser.normal(size=(200, 16)).astype(np.float32)
    labels = np.array(["a", "b"])[chooser.integers(0, 2, 200)]
    assert 0.3 < np.mean(quantize.accuracies(embeddings, labels)) < 0.7
