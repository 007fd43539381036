"""Embeddings extended by the products of their pairs: in the file, in NumPy, and their benefit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converters import ConversionError, TrainedModel, convert
from converters.products import WIDEST, Products, products_of
from device.learner import Learner
from device.model.codes import apply_map
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from tests import tiny


def test_inner_products_are_a_polynomial_kernel() -> None:
    """Of lengthened embeddings they are half of k + k^2, with k that of the mapped ones; so lengths are one."""
    embeddings = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float32)
    mapped, longer = apply_map(embeddings), Products(12).apply(embeddings)
    kernel = mapped @ mapped.T
    assert longer.shape == (7, Products(12).dimensions) == (7, 90)
    np.testing.assert_allclose(longer @ longer.T, (kernel + kernel**2) / 2, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(longer, axis=1), 1)


def test_a_trained_head_predicts_the_same_on_longer_embeddings() -> None:
    """Its weights go to the embedding's own numbers, zeros to the products."""
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(5, 6)).astype(np.float32)
    head = random.normal(size=(6, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    weights, bias = Products(6).of_head(head)
    np.testing.assert_allclose(
        Products(6).apply(embeddings) @ weights + bias, apply_map(embeddings) @ head[0] + head[1], atol=1e-5
    )


def test_the_file_returns_the_same_as_numpy(source: Any, tmp_path: Path) -> None:
    """A model file with products: features, memory and taught head agree with their source."""
    report = convert(source, tmp_path / "m.tflite", quantize="none", products=True, capacity=8)
    plain = convert(source, tmp_path / "p.tflite", quantize="none", capacity=8)
    opened = ModelFile.open(report.path)
    assert (opened.manifest.dimensions, opened.manifest.embedding_map) == (32 + 32 * 33 // 2, "identity")
    images = [tiny.photo(label, 5) for label in tiny.COLORS]
    embedder = Embedder(opened)
    longer = embedder.embed_many(images)
    short = Embedder(ModelFile.open(plain.path)).embed_many(images)
    np.testing.assert_allclose(longer, Products(32).apply(short), atol=1e-5)
    answers = embedder.signature("classify")(embedding=longer)
    assert answers["probabilities"].argmax(1).tolist() == [0, 1, 2]


def test_embeddings_that_are_too_long_are_refused_before_the_conversion(source: Any, tmp_path: Path) -> None:
    """Too many numbers, and --project as well."""
    with pytest.raises(ConversionError, match=f"at most {WIDEST} numbers, but this backbone has 1280"):
        products_of(1280)
    with pytest.raises(ConversionError, match="use only one of them"):
        convert(source, tmp_path / "m.tflite", products=True, project=12)
    assert not list(tmp_path.iterdir())


def _pixels() -> Any:
    """Return a backbone whose embedding is the 64 pixels of a gray image."""
    import keras

    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    gray = layers.Conv2D(1, 1, use_bias=False)(inputs)
    model = keras.Model(inputs, layers.Flatten()(gray))
    model.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32)])
    return model


def test_digits_are_classified_better_than_by_nearest_neighbors(tmp_path: Path) -> None:
    """On 64 pixels as the embedding, taught through the `Learner`: products lift `exact` above three neighbors.

    The exported file predicts as the learner does, and forgetting is exact.
    """
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = [np.repeat((image * 15.9).astype(np.uint8)[:, :, None], 3, 2) for image in digits.images]
    photos = []
    for at in range(8):
        cv2.imwrite(str(tmp_path / f"{at}.png"), images[at])
        photos.append(tmp_path / f"{at}.png")
    scale = Preprocessing(8, 8, resize="squash", mean=(0.0, 0.0, 0.0), std=(16.0, 16.0, 16.0))
    model = TrainedModel(_pixels(), "pixels", scale)
    convert(model, tmp_path / "m.tflite", quantize="none", calibrate=photos, products=True)
    order = np.random.default_rng(2026).permutation(len(images))
    train, test = order[:1000], order[1000:1500]
    names, shares = digits.target.astype(str), {}
    for head in ("exact", "knn"):
        with Learner.open(tmp_path / "m.tflite", None, head=head) as learner:
            learner.learn_many([images[at] for at in train], [str(names[at]) for at in train])
            answers = learner.predict_many([images[at] for at in test])
            shares[head] = np.mean(
                [answer.label == names[at] for answer, at in zip(answers, test, strict=True)]
            )
            if head == "exact":
                exported = learner.export(tmp_path / "personal.tflite")
                digest = learner.head.digest()
                more = learner.learn_many([images[at] for at in test[:3]], ["odd"] * 3)
                learner.forget([sample.id for sample in more])
                assert learner.head.digest() == digest
    assert shares["exact"] > shares["knn"] > 0.95
    embedder = Embedder(exported)
    given = embedder.signature("classify")(embedding=embedder.embed_many(images[at] for at in test[:100]))
    right = [
        exported.labels[at] == name
        for at, name in zip(given["probabilities"].argmax(1), names[test], strict=False)
    ]
    assert np.mean(right) == pytest.approx(shares["exact"], abs=0.05)
