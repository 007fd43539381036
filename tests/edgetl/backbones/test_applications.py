"""Networks of keras.applications: the same embeddings as Keras's own, from RGB photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the networks are Keras models")

from edgetl.backbones import load_backbone
from edgetl.backbones.applications import APPLICATIONS, load_application
from edgetl.errors import BackboneError
from tests.edgetl.backbones.test_hdf5_weights import write_layers

SIDE = 32


def build(name: str, weights: str | None, side: int = SIDE) -> Any:
    """Build Keras's network without its classifier."""
    import keras

    return getattr(keras.applications, name)(
        include_top=False, pooling="avg", weights=weights, input_shape=(side, side, 3)
    )


def vary_normalization(model: Any) -> None:
    """Give every normalization statistics, so that a shift or a border is not lost in symmetric weights."""
    import keras

    chooser = np.random.default_rng(4)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([chooser.uniform(0.5, 1.5, value.shape) for value in values])
        elif isinstance(layer, keras.layers.Normalization) and values:
            mean, variance = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            layer.set_weights([mean.reshape(values[0].shape), variance.reshape(values[1].shape), values[2]])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write random weights under the published name; Keras's own download then returns this file."""
    from keras.src.utils import file_utils

    def serve(name: str) -> Path:
        model = build(name, None)
        vary_normalization(model)
        path = write_layers(tmp_path / "random.h5", model)
        monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
        return path

    return serve


def outputs(model: Any, layer: str, images: np.ndarray) -> list[np.ndarray]:
    """Return the output of an early layer and the embedding, each divided by its largest number."""
    import keras

    both = keras.Model(model.inputs[0], [model.get_layer(layer).output, model.outputs[0]])
    values = [np.asarray(value) for value in both(images, training=False)]
    return [value / np.abs(value).max() for value in values]


@pytest.mark.parametrize(
    ("name", "module", "early"),
    [("ResNet50", "resnet", "conv1_relu"), ("EfficientNetB0", "efficientnet", "stem_activation")],
)
def test_a_network_from_a_file_equals_that_of_keras(
    name: str, module: str, early: str, served: Callable[[str], Path]
) -> None:
    """Keras's preprocess_input and its network with ImageNet weights are the oracle; here the photo stays RGB.

    ResNet50 was trained on BGR with subtracted means, and pads after that; EfficientNetB0 has one more layer with the
    published weights than without. An early layer is compared too, because random weights hide the input from later ones.
    """
    import keras

    path = served(name)
    prepare = getattr(keras.applications, module).preprocess_input
    image = np.random.default_rng(5).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    expected = outputs(build(name, "imagenet"), early, prepare(image.astype(np.float32)))
    model, prepared = load_application(f"keras:{name}", side=SIDE, weights=path)
    for given, wanted in zip(outputs(model, early, prepared.normalize(image)), expected, strict=True):
        assert np.abs(given - wanted).max() <= 1e-4
    swapped = outputs(model, early, prepared.normalize(image[..., ::-1]))
    assert np.abs(swapped[0] - expected[0]).max() > 0.05


def test_a_file_under_the_published_name_needs_the_published_checksum(tmp_path: Path) -> None:
    """So a truncated or changed download is found before the network is built."""
    application = APPLICATIONS["ResNet50"]
    path = tmp_path / application.file
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(BackboneError, match=f"md5 is .*, expected {application.checksum}.*{application.url}"):
        load_backbone("resnet50", weights=path)


def test_weights_of_a_smaller_network_are_refused_for_resnet50(tmp_path: Path) -> None:
    """The message has the first layer that differs, with both shapes."""
    path = write_layers(tmp_path / "mobile.h5", build("MobileNetV3Small", None))
    with pytest.raises(BackboneError, match=r"does not fit resnet50: layer 1, .* of 'conv1_conv', got"):
        load_backbone("resnet50", weights=path)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet51", None, "unknown; expected one of .*resnet50"),
        ("keras:VGG16", None, "unknown; expected keras: and one of"),
        ("keras:MobileNetV2=none.h5", None, r"none\.h5 is missing"),
        ("efficientnet-lite0", "none.pth", r"none\.pth is missing"),
        ("cnn-28", "w.h5", "trained from scratch and takes no weights"),
    ],
)
def test_a_name_or_a_file_that_is_wrong_is_refused_at_once(
    name: str, weights: str | None, message: str
) -> None:
    """Nothing is read or built."""
    with pytest.raises(BackboneError, match=message):
        load_backbone(name, weights=weights)
