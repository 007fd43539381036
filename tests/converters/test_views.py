"""Conversion with two views: the memory has the average of each training photo and its mirror image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from device.images import read_photo
from device.learner import Learner
from device.model.codes import encode
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from tests import tiny


def test_the_memory_has_the_embeddings_that_a_device_computes(
    source: Any, photos: list[tuple[Path, str]], tmp_path: Path
) -> None:
    """They equal those of a learner for the same photos, the head predicts them, and the report has the comparison."""
    from converters import convert

    report = convert(source, tmp_path / "flip.tflite", quantize="none", capacity=tiny.CAPACITY, views="flip")
    model = ModelFile.open(report.path)
    assert model.manifest.views == "flip"
    assert isinstance(model.memory, Samples)
    with Learner.open(report.path, None, threads=1) as learner:
        assert learner.embedder.views == "flip"
        for (path, label), code in zip(photos, model.memory.codes, strict=True):
            embedding = learner.embed_one(read_photo(path))
            assert np.abs(encode(embedding).astype(int) - code).max() <= 8
            assert learner.predict_embedding(embedding).label == label
    assert report.flip is not None
    assert report.to_dict()["flip"]["samples"] == report.flip.samples
    assert report.flip.samples <= len(photos)
