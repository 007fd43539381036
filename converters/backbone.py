"""Stage 2: the backbone alone, Keras to .tflite, from raw pixels to embeddings."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.preprocess import Preprocessing

from .affine import absorb_normalization
from .correction import correct_biases
from .errors import ConversionError
from .flatbuffer import chain, parse, serialize
from .layers import Layer, find_layers, layers_of
from .ranges import Statistics, input_of, is_plain, measure, with_ranges
from .tensorflow import calibrate, convert_function, freeze, quantize_calibrated, quantize_int16

QUANTIZATIONS = ("int8", "int16x8", "float16", "dynamic", "none")


def convert_backbone(
    model: Any,
    preprocessing: Preprocessing,
    quantization: str,
    calibration: Sequence[Image] = (),
    *,
    keep_float: Sequence[str] = (),
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
        calibration: Prepared photos, for int8 and int16x8.
        keep_float: Names of layers that stay float in int8; ``*`` and ``?`` are wildcards.
        twin: Convert for the Edge TPU: one image at a time, int8 throughout, the embedding still quantized.

    Raises:
        ConversionError: There are no calibration photos for int8, a layer does not exist, or the converter failed.
    """
    if quantization not in QUANTIZATIONS:
        raise ConversionError(f"quantization must be one of {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if twin and not can_fold(preprocessing):
        model, preprocessing = absorb_normalization(model, preprocessing)
    source = FloatGraph(model, preprocessing, calibration, batch=1 if twin else None)
    return source.to_twin() if twin else source.convert(quantization, keep_float)


class FloatGraph:
    """A backbone in float, and the photos that it is quantized with.

    It is converted, and run on the photos, only once for any number of quantized results.
    """

    def __init__(
        self,
        model: Any,
        preprocessing: Preprocessing,
        calibration: Sequence[Image],
        batch: int | None = None,
    ) -> None:
        """Trace the model.

        Args:
            model: Keras model: normalized float32 [N, H, W, channels] -> float32 [N, D].
            preprocessing: The normalization of the input, and its size.
            calibration: Prepared photos.
            batch: Number of images N at a time; None for any.
        """
        self._model, self._preprocessing, self._photos = model, preprocessing, calibration
        self._frozen = freeze(lambda images: model(images, training=False), (batch, *_shape(preprocessing)))

    def convert(self, quantization: str, keep_float: Sequence[str] = ()) -> bytes:
        """Convert to a .tflite: image uint8 [N, H, W, channels] -> embedding float32 [N, D].

        Args:
            quantization: One of `QUANTIZATIONS`.
            keep_float: Names of layers that stay float in int8; ``*`` and ``?`` are wildcards.

        Raises:
            ConversionError: There are no photos for int8, a layer does not exist, or the converter failed.
        """
        if quantization == "int8":
            return self._to_int8(keep_float)
        if keep_float:
            raise ConversionError(
                f"single layers can be kept in float only with int8, got {quantization}; use --quantize int8, or leave "
                "out --keep-float"
            )
        if quantization == "int16x8":
            return self._finish(quantize_int16(self.graph, self._samples))
        graph = convert_function(self._frozen, quantization=quantization)
        return self._finish(graph, correct=quantization == "dynamic")

    def to_twin(self) -> bytes:
        """Quantize to int8 with integers as input and output, as the Edge TPU needs it."""
        quantized = quantize_calibrated(self._calibrated, input_type="uint8", output_type="uint8")
        if not is_folded(quantized, self._preprocessing):
            raise ConversionError(
                "the quantization of the twin's input does not express the normalization of the pixels; "
                "calibrate with other photos"
            )
        return self._corrected(quantized)

    @functools.cached_property
    def graph(self) -> bytes:
        """The float .tflite: normalized float32 -> float32 [N, D]."""
        return convert_function(self._frozen)

    @functools.cached_property
    def layers(self) -> list[Layer]:
        """Its layers, in order of execution."""
        return layers_of(self.graph, self._model)

    def normalized(self, images: Iterable[Image]) -> Iterator[NDArray[np.float32]]:
        """Yield prepared photos as inputs of `graph`, float32 [1, H, W, channels] each."""
        for image in images:
            yield self._preprocessing.normalize(image[np.newaxis])

    def _to_int8(self, keep_float: Sequence[str]) -> bytes:
        kept = [layer.tensor for layer in find_layers(self.layers, keep_float)] if keep_float else []
        if can_fold(self._preprocessing):
            folded = quantize_calibrated(self._calibrated, input_type="uint8", keep_float=kept)
            if is_folded(folded, self._preprocessing):
                return self._corrected(folded)
        return self._finish(quantize_calibrated(self._calibrated, keep_float=kept))

    def _require_photos(self) -> None:
        if not self._photos:
            raise ConversionError("int8 needs calibration photos, got none; add some with --calibrate PHOTOS")

    def _samples(self) -> Iterator[list[NDArray[np.float32]]]:
        self._require_photos()
        for value in self.normalized([*self._photos, full_range(self._preprocessing)]):
            yield [value]

    @functools.cached_property
    def _statistics(self) -> Statistics | None:
        if not is_plain(self.graph):
            return None
        self._require_photos()
        # without the full range, which is not like a photo and would shift the means
        found = measure(self.graph, self.normalized(self._photos))
        (pixels,) = self.normalized([full_range(self._preprocessing)])
        found.ranges[input_of(self.graph)] = float(pixels.min()), float(pixels.max())
        return found

    @functools.cached_property
    def _calibrated(self) -> bytes:
        if self._statistics is None:
            return calibrate(self.graph, self._samples)
        return with_ranges(self.graph, self._statistics.ranges)

    def _corrected(self, quantized: bytes) -> bytes:
        if not self._photos or self._statistics is None:
            return quantized
        return correct_biases(quantized, self.graph, self._statistics)

    def _finish(self, graph: bytes, correct: bool = True) -> bytes:
        return _behind_normalization(self._corrected(graph) if correct else graph, self._preprocessing)


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
