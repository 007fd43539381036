"""Backbones of `keras.applications`, for who has a network or a file of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from device.model.preprocess import Preprocessing

from ..errors import BackboneError

PREFIX = "keras:"
Channels = tuple[float, float, float]

_HALF: tuple[Channels, Channels] = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_RAW: tuple[Channels, Channels] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # the network normalizes by itself
_IMAGENET: tuple[Channels, Channels] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

# Name -> mean and std. Networks trained on BGR (VGG, ResNet of the first version) are left out: a model
# file takes RGB.
APPLICATIONS: dict[str, tuple[Channels, Channels]] = {
    "DenseNet121": _IMAGENET,
    "EfficientNetB0": _RAW,
    "EfficientNetV2B0": _RAW,
    "MobileNet": _HALF,
    "MobileNetV2": _HALF,
    "MobileNetV3Large": _RAW,
    "MobileNetV3Small": _RAW,
    "NASNetMobile": _HALF,
    "ResNet50V2": _HALF,
}


def load_application(name: str, resize: str = "crop", side: int = 224) -> tuple[Any, Preprocessing]:
    """Build a network of `keras.applications` without its classifier.

    Args:
        name: ``keras:NAME`` with the weights Keras downloads, or ``keras:NAME=FILE`` with weights (.h5)
            of the network without its top from a file.
        resize: How frames are cut.
        side: Rows and columns of the input, in pixels.

    Returns:
        keras.Model, float32 [N, side, side, 3] normalized -> embedding float32 [N, D]; and how photos are
        prepared for it.

    Raises:
        BackboneError: The name is unknown, or its weights cannot be had.
    """
    chosen, _, file = name.removeprefix(PREFIX).partition("=")
    if chosen not in APPLICATIONS:
        raise BackboneError(
            f"{PREFIX}{chosen} is unknown; after {PREFIX} one of {', '.join(APPLICATIONS)} is expected"
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
            f"the weights of {chosen} cannot be had: {str(error).splitlines()[0]}; "
            f"Keras downloads them, so connect to a network, or name a file: {PREFIX}{chosen}=weights.h5"
        ) from error
    mean, std = APPLICATIONS[chosen]
    return model, Preprocessing(side, side, resize=resize, mean=mean, std=std)
