"""Backbones of `keras.applications`, whose weights Keras downloads or a file provides."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.model.preprocess import Preprocessing

from ..errors import BackboneError
from .hdf5_weights import check_hdf5, is_hdf5, load_hdf5_weights
from .weights import VARIABLE, check_digest, find_weights

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
        checksum: MD5 or SHA-256 of the file, as Keras has it; empty where Keras has none.
        alias: A shorter name, which is the listed one.
        reversed_at: The first convolution, where the network was trained on BGR; empty for RGB.
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
    checksum: str = ""
    alias: str = ""
    reversed_at: str = ""

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

_RESNET_MEAN = (123.68, 116.779, 103.939)
_RESNET50_URL = f"{_URL}resnet/resnet50{_KERNELS}_notop.h5"
_MOBILENET_URL = f"{_URL}mobilenet/mobilenet_1_0_224_tf_no_top.h5"
_MOBILENET_V2_URL = f"{_URL}mobilenet_v2/mobilenet_v2{_KERNELS}_1.0_224_no_top.h5"

# fmt: off
APPLICATIONS: dict[str, Application] = {
    "ResNet50": Application(
        (_RESNET_MEAN, (1.0, 1.0, 1.0)), "residual", 23_587_712, 2048, "MIT", _RESNET50_URL, 74.9,
        checksum="4d473c1dd8becc155b73f8504c6f6626", alias="resnet50", reversed_at="conv1_conv",
    ),
    "ResNet50V2": Application(
        _HALF, "residual", 23_564_800, 2048, _BSD, f"{_URL}resnet/resnet50v2{_KERNELS}_notop.h5", 76.0,
        checksum="fac2f116257151a9d068a22e544a4917",
    ),
    "MobileNet": Application(_HALF, "CNN", 3_228_864, 1024, _APACHE, _MOBILENET_URL, 70.4),
    "MobileNetV2": Application(_HALF, "CNN", 2_257_984, 1280, _APACHE, _MOBILENET_V2_URL, 71.3),
    "MobileNetV3Small": Application(
        _RAW, "CNN", 939_120, 576, _APACHE, f"{_URL}mobilenet_v3/weights_mobilenet_v3_small{_V3_END}", 68.1, _V3,
        checksum="d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "MobileNetV3Large": Application(
        _RAW, "CNN", 2_996_352, 960, _APACHE, f"{_URL}mobilenet_v3/weights_mobilenet_v3_large{_V3_END}", 75.6, _V3,
        checksum="07fb09a5933dd0c8eaafa16978110389",
    ),
    "EfficientNetB0": Application(
        _RAW, "CNN", 4_049_571, 1280, _APACHE, _B0_URL, 77.1, checksum="50bc09e76180e00e4465e1a485ddc09d"
    ),
    "EfficientNetV2B0": Application(
        _RAW, "CNN", 5_919_312, 1280, _APACHE, _V2B0_URL, 78.7, checksum="893217f2bb855e2983157299931e43ff"
    ),
    "ConvNeXtTiny": Application(
        _RAW, "CNN", 27_820_128, 768, "MIT", f"{_URL}convnext/convnext_tiny_notop.h5", 81.3,
        checksum="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "DenseNet121": Application(
        _IMAGENET, "CNN", 7_037_504, 1024, _BSD, _DENSE_URL, 75.0, checksum="30ee3e1110167f948a6b9946edeeb738"
    ),
    "NASNetMobile": Application(
        _HALF, "CNN", 4_269_716, 1056, _APACHE, f"{_URL}nasnet/NASNet-mobile-no-top.h5", 74.4,
        kept_as="nasnet_mobile_no_top.h5", checksum="1ed92395b5b598bdda52abe5c0dbfd63",
    ),
}
# fmt: on

ALIASES = {application.alias: name for name, application in APPLICATIONS.items() if application.alias}
_DIVIDED_TWICE = ("EfficientNetB0",)


def load_application(
    name: str, resize: str = "crop", side: int = 224, weights: Path | None = None
) -> tuple[Any, Preprocessing]:
    """Build a network of `keras.applications` without its classifier.

    A network that was trained on BGR gets the input channels of its first convolution reversed, so that it takes RGB. Means
    are subtracted by the preprocessing, before the network pads with zeros, as in its training.

    Args:
        name: ``keras:NAME`` or an alias; ``keras:NAME=FILE`` is an older way to pass `weights`.
        resize: How frames are fitted to the input.
        side: Rows and columns of the input, in pixels.
        weights: A file of weights of the network without its classifier; by default the published one from
            ``EDGETL_WEIGHTS``, from the folder of Keras, or downloaded.

    Returns:
        keras.Model, float32 [N, side, side, 3] normalized -> embedding float32 [N, D]; and how photos are
        prepared for it.

    Raises:
        BackboneError: The name is unknown, or its weights cannot be loaded.
    """
    chosen, file = resolve_application(name)
    application = APPLICATIONS[chosen]
    path = weights or file or find_weights(application.file)
    model = _build_from(path, chosen, side) if path else _download(chosen, side)
    if application.reversed_at:
        _reverse_channels(model.get_layer(application.reversed_at))
    mean, std = application.scale
    return model, Preprocessing(side, side, resize=resize, mean=mean, std=std)


def resolve_application(name: str) -> tuple[str, Path | None]:
    """Return the key of `APPLICATIONS` and the file that a name contains.

    Raises:
        BackboneError: The name is unknown.
    """
    chosen, _, file = name.partition("=")
    chosen = ALIASES.get(chosen, chosen.removeprefix(PREFIX))
    if chosen not in APPLICATIONS:
        raise BackboneError(
            f"{PREFIX}{chosen} is unknown; expected {PREFIX} and one of {', '.join(APPLICATIONS)}"
        )
    return chosen, Path(file) if file else None


def is_application(name: str) -> bool:
    """Return whether a name has the form of a network of `keras.applications`."""
    return name.startswith(PREFIX) or name.partition("=")[0] in ALIASES


def kept_weights(application: Application) -> Path | None:
    """Return the published file of weights on this machine, or None."""
    own = find_weights(application.file)
    path = own or keras_folder() / "models" / application.file
    return path if is_hdf5(path) else None


def keras_folder() -> Path:
    """Return the folder in which Keras keeps what it downloads: ``$KERAS_HOME``, else ``~/.keras``."""
    chosen = os.environ.get("KERAS_HOME")
    return Path(chosen) if chosen else Path("~/.keras").expanduser()


def _build_from(path: Path, chosen: str, side: int) -> Any:
    check_hdf5(path)
    application = APPLICATIONS[chosen]
    if path.name == application.file and application.checksum:
        check_digest(path, application.checksum, f"download {application.url} again")
    import keras

    build = getattr(keras.applications, chosen)
    model = build(include_top=False, pooling="avg", weights=None, input_shape=(side, side, 3))
    if chosen in _DIVIDED_TWICE:
        model = _divide_after_normalization(model)
    load_hdf5_weights(model, path)
    return model


def _download(chosen: str, side: int) -> Any:
    import keras

    build = getattr(keras.applications, chosen)
    try:
        # Keras shows the progress on stdout, which is for results
        with contextlib.redirect_stdout(sys.stderr):
            return build(include_top=False, pooling="avg", weights="imagenet", input_shape=(side, side, 3))
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise BackboneError(_explain(chosen, error)) from error


def _explain(chosen: str, error: Exception) -> str:
    """Return a message for weights that could not be downloaded: the file to fetch, and where to put it."""
    application = APPLICATIONS[chosen]
    folder = keras_folder() / "models"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    reason = reason.rpartition(" -- ")[2]  # Keras puts the address, which follows below, in front of it
    name = application.file
    state = (
        f"{folder / name} is not the published file" if (folder / name).exists() else "not on this machine"
    )
    return (
        f"the weights of {application.alias or PREFIX + chosen} are not available ({state}), and the download failed: {reason}; "
        f"fetch {application.url} on another machine and name the file with --weights FILE, or put it, as {name}, "
        f"into {folder} or the folder that {VARIABLE} names"
    )


def _reverse_channels(layer: Any) -> None:
    """Let a convolution that was trained on BGR take RGB: reverse its kernel [rows, columns, in, out] along `in`."""
    kernel, *others = layer.get_weights()
    layer.set_weights([kernel[:, :, ::-1], *others])


def _divide_after_normalization(model: Any) -> Any:
    """Insert the layer that Keras adds to EfficientNet only for weights that it downloads (tensorflow#49930).

    The published weights were trained with photos divided by the variance, which Keras does in two steps.
    """
    import keras

    deviations = np.array(IMAGENET_STD) / 255

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if layer.name == "stem_conv_pad":
            scaled = keras.layers.Rescaling((1 / np.sqrt(deviations)).tolist())
            return layer(scaled(inputs[0]), *inputs[1:], **options)
        return layer(*inputs, **options)

    return keras.models.clone_model(model, call_function=call)
