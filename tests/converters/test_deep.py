"""Deeper embeddings: the averages of two earlier feature maps beside the embedding of the backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.images import read_photo
from device.learner import Learner
from device.model.modelfile import ModelFile
from tests import tiny


def backbone() -> Any:
    """Return a network with two widest maps of 16 x 16, three of 8 x 8, and a last map: embeddings of 20 numbers."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = keras.Input((tiny.SIDE, tiny.SIDE, 3))
    x = layers.Conv2D(6, 3, 2, padding="same", name="stem")(image)
    x = layers.ReLU(6.0, name="narrow")(x)
    for name in ("early1", "early2"):
        x = layers.ReLU(6.0, name=name)(layers.Conv2D(12, 3, padding="same")(x))
    x = layers.Conv2D(8, 3, 2, padding="same", name="down")(x)
    for name in ("late1", "late2", "late3"):
        x = layers.Conv2D(16, 1, activation="relu", name=name)(x)
    x = layers.ReLU(6.0, name="head_relu")(layers.Conv2D(20, 1, name="head")(x))
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x), name="two-resolutions")


@pytest.fixture
def source(photos: list[tuple[Path, str]]) -> Any:
    """A trained model with this backbone and three labels, without a head."""
    return replace(tiny.trained_model(photos), backbone=backbone(), backbone_name="two-resolutions")


def test_the_embedding_is_followed_by_the_means_of_two_earlier_maps(source: Any) -> None:
    """The last widest map of the resolution before, and the middle widest of the final one, scaled to half its mean sum."""
    import keras

    from converters.deep import deepen
    from converters.parity import source_embeddings
    from converters.photos import prepare

    images = [prepare(path, source.preprocessing) for path, _ in source.photos]
    deeper = deepen(source, images)
    assert deeper.info["embedding"] == {"deep": ["early2", "late2"]}
    assert deeper.dimensions == 20 + 12 + 16
    assert deeper.head is None
    found = source_embeddings(deeper.backbone, images, source.preprocessing)
    parts = np.split(found, [20, 32], axis=1)
    np.testing.assert_allclose(
        parts[0], source_embeddings(source.backbone, images, source.preprocessing), atol=1e-6
    )
    for part, name in zip(parts[1:], ("early2", "late2"), strict=True):
        layer = source.backbone.get_layer(name).output
        mean = keras.layers.GlobalAveragePooling2D()(layer)
        plain = source_embeddings(keras.Model(source.backbone.inputs[0], mean), images, source.preprocessing)
        scale = 0.5 * parts[0][:32].sum() / plain[:32].sum()  # photos that scale the parts
        np.testing.assert_allclose(part, scale * plain, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("quantize", ["int8", "none"])
def test_a_deep_model_file_learns_and_predicts(
    source: Any, photos: list[tuple[Path, str]], tmp_path: Path, quantize: Any
) -> None:
    """The file is verified, its memory and head are of the long embedding, and it names the maps."""
    from converters import convert

    report = convert(
        source, tmp_path / "deep.tflite", quantize=quantize, capacity=tiny.CAPACITY, embedding="deep"
    )
    assert report.dimensions == 48
    manifest = ModelFile.open(report.path).manifest
    assert manifest.extra["embedding"] == {"deep": ["early2", "late2"]}
    with Learner.open(report.path, None, threads=1) as learner:
        for path, label in photos:
            assert learner.predict_one(read_photo(path)).label == label


def test_a_backbone_without_two_resolutions_is_refused(source: Any) -> None:
    """The message names the option to leave out."""
    import keras

    from converters.deep import deepen
    from converters.errors import ConversionError

    image = keras.Input((tiny.SIDE, tiny.SIDE, 3))
    flat = keras.Model(image, keras.layers.Dense(8)(keras.layers.Flatten()(image)))
    with pytest.raises(
        ConversionError, match=r"no earlier feature maps of two resolutions.*--embedding deep"
    ):
        deepen(replace(source, backbone=flat), [])


def test_a_trained_head_needs_photos_to_be_taught_again(source: Any, tmp_path: Path) -> None:
    """The weights of the head fit the last layer alone."""
    from converters import convert
    from converters.errors import ConversionError

    with pytest.raises(ConversionError, match="the trained head fits the last layer alone"):
        convert(source, tmp_path / "deep.tflite", embedding="deep", memory=False)
    with pytest.raises(ConversionError, match="embedding must be one of last, deep, got 'wide'"):
        convert(source, tmp_path / "deep.tflite", embedding="wide")
