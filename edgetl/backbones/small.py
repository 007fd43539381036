"""Small networks for gray images of 28x28 pixels. They have no pretrained weights: `finetune` trains them from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.model.preprocess import Preprocessing

from ..errors import BackboneError
from .gan import build_features

SIDE, DIMENSIONS = 28, 64
_STAGES = (16, 32, 64)  # filters of the residual network; each later stage halves rows and columns


@dataclass(frozen=True)
class SmallBackbone:
    """A network that is trained from scratch.

    Attributes:
        family: ``CNN``, ``residual`` or ``GAN``.
        parameters: Number of weights without the classifier.
        build: Returns the network with random weights: keras.Model, float32 [N, 28, 28, 1] -> float32 [N, D].
        dimensions: D, numbers in an embedding.
        unsupervised: Whether it is trained without labels.
    """

    family: str
    parameters: int
    build: Callable[[], Any]
    dimensions: int = DIMENSIONS
    unsupervised: bool = False


def build_cnn() -> Any:
    """Build two convolutions with pooling and two dense layers; the head is the third dense layer.

    The classic network for handwritten digits (LeCun et al. 1998) with ReLU and maximum pooling. The embedding is the
    output of the last hidden dense layer. Its 64 numbers keep the head small: 32 columns of it take 16 KB with their
    momentum.
    """
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1), name="image"),
            layers.Conv2D(16, 5, activation="relu", name="block1_conv"),
            layers.MaxPooling2D(2, name="block1_pool"),
            layers.Conv2D(32, 5, activation="relu", name="block2_conv"),
            layers.MaxPooling2D(2, name="block2_pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(96, activation="relu", name="dense"),
            layers.Dense(DIMENSIONS, activation="relu", name="embedding"),
        ],
        name="cnn_28",
    )


def build_resnet() -> Any:
    """Build a residual network of three blocks (He et al. 2016, the layout for small images); pooled features."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 1), name="image")
    x = _normalized_conv(inputs, _STAGES[0], 3, 1, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for index, filters in enumerate(_STAGES):
        x = _residual(x, filters, 1 if index == 0 else 2, f"block{index}")
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, embedding, name="resnet_28")


SMALL: dict[str, SmallBackbone] = {
    "cnn-28": SmallBackbone("CNN", 68_704, build_cnn),
    "resnet-28": SmallBackbone("residual", 77_776, build_resnet),
    "gan-28": SmallBackbone("GAN", 62_017, build_features, 208, unsupervised=True),
}


def is_unsupervised(name: str) -> bool:
    """Return whether the backbone `name` is trained without labels."""
    return name in SMALL and SMALL[name].unsupervised


def load_small(name: str, resize: str = "crop") -> tuple[Any, Preprocessing]:
    """Build a small network with random weights.

    Args:
        name: A key of `SMALL`.
        resize: How frames are fitted to 28x28 pixels. ``crop`` keeps the whole centered square.

    Returns:
        keras.Model, normalized float32 [N, 28, 28, 1] -> embedding float32 [N, D]; and how photos are prepared.

    Raises:
        BackboneError: The name is unknown.
    """
    if name not in SMALL:
        raise BackboneError(f"the backbone {name!r} is unknown; expected one of {', '.join(SMALL)}")
    prepared = Preprocessing(
        SIDE, SIDE, resize=resize, crop_fraction=1.0, mean=(127.0,), std=(128.0,), channels=1
    )
    return SMALL[name].build(), prepared


def _residual(x: Any, filters: int, stride: int, name: str) -> Any:
    import keras

    layers = keras.layers
    shortcut = x if stride == 1 else _normalized_conv(x, filters, 1, stride, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu1")(_normalized_conv(x, filters, 3, stride, f"{name}_a"))
    x = _normalized_conv(x, filters, 3, 1, f"{name}_b")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _normalized_conv(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    import keras

    layers = keras.layers
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    # a short memory: a run on a few hundred photos has a few hundred steps
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
