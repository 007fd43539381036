"""The signature ``generate``, noise -> images like those that a GAN was trained on, for replay without stored samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image

from .errors import ConversionError
from .flatbuffer import add_graph, add_signature, chain, parse, serialize
from .source import TrainedModel
from .tensorflow import calibrate, convert_function, freeze, quantize_calibrated

NAME = "generate"
_CALIBRATION = 256  # draws of noise
_CHECKED = 64  # images compared with the source
_MOST_APART = 12.0  # mean difference of a pixel; int8 keeps 256 levels of each layer


def require_generator(model: TrainedModel) -> None:
    """Raise `ConversionError` if the model has no generator."""
    if model.generator is None:
        raise ConversionError(
            f"the model has no generator, because {model.backbone_name} is not trained as a GAN; "
            "train one with 'edgetl finetune PHOTOS --backbone gan-28', or leave out --generator"
        )


def convert_generator(model: Any, quantization: str) -> bytes:
    """Convert a generator to a .tflite of one subgraph: noise float32 [N, Z] -> image uint8 [N, H, W, C].

    Args:
        model: keras.Model, standard normal noise float32 [N, Z] -> float32 [N, H, W, C] from -1 to 1.
        quantization: One of `converters.backbone.QUANTIZATIONS`; int16x8 becomes int8.

    Raises:
        ConversionError: The converter failed, or the converted generator draws other images.
    """
    noise = draw_noise(model, _CALIBRATION, seed=0)

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        for row in noise:
            yield [row[np.newaxis]]

    frozen = freeze(lambda values: model(values, training=False), (None, model.input_shape[-1]))
    if quantization in ("int8", "int16x8"):
        graph = quantize_calibrated(calibrate(convert_function(frozen), samples))
    else:
        graph = convert_function(frozen, quantization=quantization)
    shape = (None, *model.output_shape[1:])
    return serialize(chain(parse(graph), parse(convert_function(freeze(_to_pixels, shape)))))


def add_generator(model: Any, graph: bytes) -> None:
    """Add the signature to a joined model, in place."""
    number = add_graph(model, parse(graph), NAME)
    added = model.subgraphs[number]
    add_signature(model, NAME, number, {"noise": added.inputs[0]}, {"image": added.outputs[0]})


def draw_noise(model: Any, count: int, seed: int) -> NDArray[np.float32]:
    """Return standard normal noise float32 [count, Z] for a generator."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, model.input_shape[-1])).astype(np.float32)


def check_images(model: Any, runner: Any) -> None:
    """Compare the images of the signature with those of the generator, one at a time and together.

    Raises:
        ConversionError: They differ.
    """
    noise = draw_noise(model, _CHECKED, seed=1)
    expected = np.clip(np.rint(np.asarray(model(noise, training=False)) * 127.5 + 127.5), 0, 255)
    for count in (1, _CHECKED):
        images: Image = runner(noise=noise[:count])["image"]
        if images.dtype != np.uint8 or images.shape != expected[:count].shape:
            raise ConversionError(f"generate returns {images.dtype} {images.shape}, expected uint8 images")
        apart = float(np.abs(images.astype(np.float64) - expected[:count]).mean())
        if not apart <= _MOST_APART:
            raise ConversionError(
                f"the converted generator draws other images: pixels differ by {apart:.1f} on average, expected at most "
                f"{_MOST_APART:g}; convert with --quantize none, or leave out --generator"
            )


def _to_pixels(images: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(images * 127.5 + 127.5), 0.0, 255.0), tf.uint8)
