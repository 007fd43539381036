"""The benchmarks of conversion and of training a head run on the tiny backbone."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from tests import tiny

pytest.importorskip("tensorflow", reason="conversion and model.fit need TensorFlow")
pytest.importorskip("ai_edge_litert", reason="conversion needs LiteRT")

from benchmarks import convert, finetune  # both import TensorFlow, or what needs it


def test_both_converters_get_the_same_photos() -> None:
    """Both files embed what the float model embeds; ours has a head beside the backbone."""
    photos = [tiny.photo(label, seed) for seed in range(12) for label in tiny.COLORS]
    result = convert.measure(tiny.backbone(), tiny.PREPROCESSING, photos[:24], photos[24:], repeats=1)
    assert min(result["centered_cosine"].values()) > 0.9
    assert result["bytes"]["ours"] > result["bytes"]["bare"] > 0
    names = [figure.name for figure in convert.figures(result)]
    assert names[0] == "time / bare converter"
    assert [row[0] for row in convert.table(result).rows] == ["TFLiteConverter", "edgetl convert"]


def test_both_ways_train_a_head_on_the_same_images() -> None:
    """The peer's time is extrapolated to all epochs if only some were run."""
    options = argparse.Namespace(epochs=200, measured_epochs=2, seed=0)
    images = np.stack([tiny.photo(label, seed) for seed in range(16) for label in tiny.COLORS])
    targets = np.arange(48) % 3
    backbone = tiny.backbone()
    ours = finetune._ours(backbone, tiny.PREPROCESSING, images, targets, options)
    peer = finetune._peer(backbone, tiny.PREPROCESSING, images, targets, options)
    assert ours["training_accuracy"] > 0.6
    assert peer["extrapolated"]
    speedup = {"clock": 2.0, "processor": 3.0}
    result = {
        "cached_embeddings": ours,
        "model_fit": peer,
        "speedup": speedup,
        "speedup_without_opening": speedup,
    }
    result |= {"epochs": 200, "images": 48, "data": "photos", "backbone": "tiny"}
    assert finetune.figures(result)[0].value == 3
    rows = finetune.table(result).rows
    assert "measured epochs: 2" in str(rows[0][0])
