"""Stage 2: the backbone alone, Keras to .tflite, from raw pixels to embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.preprocess import Preprocessing

from .affine import absorb_normalization
from .errors import ConversionError
from .flatbuffer import chain, parse, serialize
from .tensorflow import convert_function, freeze

QUANTIZATIONS = ("int8", "float16", "dynamic", "none")


def convert_backbone(
    model: Any,
    preprocessing: Preprocessing,
    quantization: str,
    calibration: Sequence[Image] = (),
    *,
    twin: bool = False,
) -> bytes:
    """Convert a backbone to a .tflite of one subgraph: image uint8 [N, H, W, channels] -> embedding float32 [N, D].

    In int8, a normalization that is the same for all channels and has an integer as mean costs nothing, because
    the quantization of the input expresses it: ``(pixel - zero_point) * scale = (pixel - mean) / std``.
    Otherwise, and in float models, the normalization becomes float ops before the backbone; for the Edge TPU, which
    runs int8 ops only, a layer of the backbone.

    Args:
        model: Keras model: normalized float32 [N, H, W, channels] -> float32 [N, D].
        preprocessing: Mean and std of the normalization, and the input size.
        quantization: One of `QUANTIZATIONS`.
        calibration: Prepared photos, for int8.
        twin: Convert for the Edge TPU: one image at a time, int8 throughout, the embedding still quantized.

    Raises:
        ConversionError: There are no calibration photos for int8, or the converter failed.
    """
    if quantization not in QUANTIZATIONS:
        raise ConversionError(f"quantization must be one of {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if twin and not can_fold(preprocessing):
        model, preprocessing = absorb_normalization(model, preprocessing)
    size = (1 if twin else None, *_shape(preprocessing))
    frozen = freeze(lambda images: model(images, training=False), size)
    if quantization != "int8":
        return _behind_normalization(convert_function(frozen, quantization=quantization), preprocessing)
    if not calibration:
        raise ConversionError("int8 needs calibration photos, got none; add some with --calibrate PHOTOS")

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        for image in [*calibration, full_range(preprocessing)]:
            yield [preprocessing.normalize(image[np.newaxis])]

    output = "uint8" if twin else "float32"
    if can_fold(preprocessing):
        folded = convert_function(
            frozen, samples=samples, quantization="int8", input_type="uint8", output_type=output
        )
        if is_folded(folded, preprocessing):
            return folded
        if twin:
            raise ConversionError(
                "the quantization of the twin's input does not express the normalization of the pixels; "
                "calibrate with other photos"
            )
    plain = convert_function(frozen, samples=samples, quantization="int8")
    return _behind_normalization(plain, preprocessing)


def full_range(preprocessing: Preprocessing) -> Image:
    """Return an image with every pixel value, so that calibration always includes 0 and 255."""
    ramp = np.linspace(0, 255, preprocessing.width).round().astype(np.uint8)
    ramp[[0, -1]] = 0, 255
    return np.broadcast_to(ramp[None, :, None], _shape(preprocessing)).copy()


def _shape(preprocessing: Preprocessing) -> tuple[int, int, int]:
    return preprocessing.height, preprocessing.width, preprocessing.channels


def can_fold(preprocessing: Preprocessing) -> bool:
    """Return whether the quantization of the input can express the normalization exactly."""
    mean, std = preprocessing.mean, preprocessing.std
    return len(set(mean)) == 1 and len(set(std)) == 1 and mean[0].is_integer() and 0 <= mean[0] <= 255


def is_folded(model: bytes, preprocessing: Preprocessing) -> bool:
    """Return whether scale and zero point of the converted input are those of the normalization."""
    graph = parse(model).subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    scale, zero = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    return bool(np.isclose(scale * preprocessing.std[0], 1, rtol=1e-6)) and zero == int(preprocessing.mean[0])


def _behind_normalization(backbone: bytes, preprocessing: Preprocessing) -> bytes:
    mean = np.array(preprocessing.mean, np.float32)
    factor = np.float32(1) / np.array(preprocessing.std, np.float32)

    def normalize(image: Any) -> Any:
        import tensorflow as tf

        return (tf.cast(image, tf.float32) - mean) * factor

    size = (None, *_shape(preprocessing))
    front = convert_function(freeze(normalize, size, "uint8"))
    return serialize(chain(parse(front), parse(backbone)))
