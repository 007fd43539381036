"""Do the networks of keras.applications return the same embeddings here as in Keras, and do they convert to int8?

Usage: ``python -m benchmarks.applications [--names ResNet50 MobileNetV3Small ...] [--without-int8]``

Each network gets random weights and random normalization statistics, which are written in the layout of the published
files. The oracle is Keras: ``weights="imagenet"`` with its download replaced by this file, and its own
``preprocess_input``. The result has the largest difference between the embeddings, relative to their largest number, and, for
the int8 file, the cosine to the source and its ops, of which none may need Flex. Random weights say nothing about
accuracy.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from converters import TrainedModel, convert
from converters.flatbuffer import parse
from edgetl.backbones.applications import APPLICATIONS, PREFIX, load_application
from edgetl.backbones.registry import require_keras

# the module with preprocess_input, where it is not the name in lower case
MODULES = {
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "MobileNetV3Large": "mobilenet_v3",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
    "DenseNet121": "densenet",
    "NASNetMobile": "nasnet",
}
SIDE, IMAGES = 224, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("--names", nargs="+", default=list(APPLICATIONS), help="Names in keras.applications.")
    parser.add_argument("--without-int8", action="store_true", help="Compare with Keras only.")
    options = parser.parse_args(arguments)
    warn_of_noise()
    require_keras()
    results = [compare(name, int8=not options.without_int8) for name in options.names]
    write_result({"benchmark": "applications", "machine": machine_info(0), "results": results}, options.out)


def compare(name: str, *, int8: bool = True) -> dict[str, Any]:
    """Return the figures of a network."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(name, Path(folder) / "random.h5")
        model, prepared = load_application(f"{PREFIX}{name}", weights=path)
        images = np.random.default_rng(1).integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
        expected = _embed_with_keras(name, path, images)
        given = np.asarray(model(prepared.normalize(images), training=False))
        difference = float(np.abs(given - expected).max() / np.abs(expected).max())
        result = {"name": name, "parameters": model.count_params(), "largest_difference": difference}
        if int8:
            source = TrainedModel(model, f"{PREFIX}{name}", prepared)
            report = convert(source, Path(folder) / "m.tflite", quantize="int8")
            result |= {"cosine": report.parity.cosine_mean, "centered_cosine": report.parity.centered_cosine}
            result |= {
                "megabytes": round(report.sizes["total"] / 1e6, 1),
                "custom_ops": custom_ops(report.path),
            }
        return result


def custom_ops(path: Path) -> list[str]:
    """Return the ops of a model file that are no builtin ones, such as those of Flex."""
    codes = parse(path.read_bytes()).operatorCodes
    return sorted(bytes(code.customCode).decode() for code in codes if code.customCode)


def write_random(name: str, path: Path) -> Path:
    """Write random weights of a network in the layout of the published files."""
    import h5py

    model = _build(name, None)
    _randomize(model)
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{number}_{weight.name}" for number, weight in enumerate(weights)]
            group.attrs["weight_names"] = [one.encode() for one in names]
            for one, weight in zip(names, weights, strict=True):
                group[one] = np.asarray(weight)
    return path


def _build(name: str, weights: str | None) -> Any:
    import keras

    return getattr(keras.applications, name)(
        include_top=False, pooling="avg", weights=weights, input_shape=(SIDE, SIDE, 3)
    )


def _randomize(model: Any) -> None:
    import keras

    keras.utils.set_random_seed(0)
    chooser = np.random.default_rng(0)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([chooser.uniform(0.7, 1.3, value.shape) for value in values])
        elif isinstance(layer, keras.layers.Normalization) and values:
            mean, variance = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            layer.set_weights([mean.reshape(values[0].shape), variance.reshape(values[1].shape), values[2]])


def _embed_with_keras(name: str, path: Path, images: Any) -> Any:
    module = importlib.import_module(f"keras.applications.{MODULES.get(name, name.lower())}")
    with mock.patch("keras.src.utils.file_utils.get_file", return_value=str(path)):
        original = _build(name, "imagenet")
    return np.asarray(original(module.preprocess_input(images.astype(np.float32)), training=False))


if __name__ == "__main__":
    main()
