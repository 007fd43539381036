"""Backbones of `keras.applications`, whose weights Keras downloads or a file provides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.model.preprocess import Preprocessing

from ..errors import BackboneError

PREFIX = "keras:"
Channels = tuple[float, float, float]

_HALF: tuple[Channels, Channels] = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
# the network contains its own normalization
_RAW: tuple[Channels, Channels] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
# of R, G, B, in pixel values
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_IMAGENET: tuple[Channels, Channels] = (IMAGENET_MEAN, IMAGENET_STD)

_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
_TABLE = "keras.io/api/applications"


@dataclass(frozen=True)
class Application:
    """A network of `keras.applications` and its ImageNet weights.

    Attributes:
        scale: Mean and standard deviation per channel, in pixel values.
        family: ``CNN`` or ``residual``.
        parameters: Number of weights without the classifier.
        dimensions: D, numbers in an embedding.
        license: License of the weights.
        url: The file of weights without the classifier, which Keras downloads.
        top1: Published ImageNet top-1 accuracy, in percent.
        top1_source: Who published `top1`.
        kept_as: Name of the downloaded file where it differs from the one in `url`.
    """

    scale: tuple[Channels, Channels]
    family: str
    parameters: int
    dimensions: int
    license: str
    url: str
    top1: float
    top1_source: str = _TABLE
    kept_as: str = ""

    @property
    def file(self) -> str:
        """Return the name under which Keras keeps the file."""
        return self.kept_as or self.url.rpartition("/")[2]


_V3 = "Keras, docstring of MobileNetV3"
_KERNELS = "_weights_tf_dim_ordering_tf_kernels"
_V3_END = "_224_1.0_float_no_top_v2.h5"
_APACHE, _BSD = "Apache-2.0", "BSD-3-Clause"
_B0_URL = "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5"
_DENSE_URL = f"{_URL}densenet/densenet121{_KERNELS}_notop.h5"
_V2B0_URL = f"{_URL}efficientnet_v2/efficientnetv2-b0_notop.h5"

# Networks trained on BGR (VGG, ResNet of the first version) are left out: a model file takes RGB.
# fmt: off
APPLICATIONS: dict[str, Application] = {
    "DenseNet121": Application(_IMAGENET, "CNN", 7_037_504, 1024, _BSD, _DENSE_URL, 75.0),
    "EfficientNetB0": Application(_RAW, "CNN", 4_049_571, 1280, _APACHE, _B0_URL, 77.1),
    "EfficientNetV2B0": Application(_RAW, "CNN", 5_919_312, 1280, _APACHE, _V2B0_URL, 78.7),
    "MobileNet": Application(_HALF, "CNN", 3_228_864, 1024, _APACHE, f"{_URL}mobilenet/mobilenet_1_0_224_tf_no_top.h5", 70.4),
    "MobileNetV2": Application(
        _HALF, "CNN", 2_257_984, 1280, _APACHE, f"{_URL}mobilenet_v2/mobilenet_v2{_KERNELS}_1.0_224_no_top.h5", 71.3
    ),
    "MobileNetV3Large": Application(
        _RAW, "CNN", 2_996_352, 960, _APACHE, f"{_URL}mobilenet_v3/weights_mobilenet_v3_large{_V3_END}", 75.6, _V3
    ),
    "MobileNetV3Small": Application(
        _RAW, "CNN", 939_120, 576, _APACHE, f"{_URL}mobilenet_v3/weights_mobilenet_v3_small{_V3_END}", 68.1, _V3
    ),
    "NASNetMobile": Application(
        _HALF, "CNN", 4_269_716, 1056, _APACHE, f"{_URL}nasnet/NASNet-mobile-no-top.h5", 74.4, kept_as="nasnet_mobile_no_top.h5"
    ),
    "ResNet50V2": Application(
        _HALF, "residual", 23_564_800, 2048, _BSD, f"{_URL}resnet/resnet50v2{_KERNELS}_notop.h5", 76.0
    ),
}
# fmt: on


def load_application(name: str, resize: str = "crop", side: int = 224) -> tuple[Any, Preprocessing]:
    """Build a network of `keras.applications` without its classifier.

    Args:
        name: ``keras:NAME`` with the weights Keras downloads, or ``keras:NAME=FILE`` with weights (.h5)
            of the network without its top from a file.
        resize: How frames are fitted to the input.
        side: Rows and columns of the input, in pixels.

    Returns:
        keras.Model, float32 [N, side, side, 3] normalized -> embedding float32 [N, D]; and how photos are
        prepared for it.

    Raises:
        BackboneError: The name is unknown, or its weights cannot be loaded.
    """
    chosen, _, file = name.removeprefix(PREFIX).partition("=")
    if chosen not in APPLICATIONS:
        raise BackboneError(
            f"{PREFIX}{chosen} is unknown; expected {PREFIX} and one of {', '.join(APPLICATIONS)}"
        )
    if file and not Path(file).is_file():
        raise BackboneError(f"the file of weights {file} is missing; check the path")
    import keras

    build = getattr(keras.applications, chosen)
    try:
        model = build(
            include_top=False, pooling="avg", weights=file or "imagenet", input_shape=(side, side, 3)
        )
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise BackboneError(
            f"the weights of {chosen} cannot be loaded: {str(error).splitlines()[0]}; "
            f"Keras downloads them, so connect to a network, or fetch {APPLICATIONS[chosen].url} elsewhere "
            f"and name the file: {PREFIX}{chosen}=weights.h5"
        ) from error
    mean, std = APPLICATIONS[chosen].scale
    return model, Preprocessing(side, side, resize=resize, mean=mean, std=std)
