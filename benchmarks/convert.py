"""How much longer does our conversion take than the bare converter, and what does its file contain beyond that?

Usage: ``python -m benchmarks.convert [--photos 40] [--repeats 2] [--check]``

Both convert EfficientNet-Lite0 to int8 with the same photos, in turn, in one process: `tf.lite.TFLiteConverter` alone, and
``edgetl convert``, which also measures the parity with the source, corrects biases, adds the trainable head and reopens the
file to verify every signature. Both files then embed other photos, which are compared with those of the float model: the
cosine after the mean is removed. Photos are those of ELPV if it is installed, otherwise scikit-learn's digits.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import TrainedModel, convert
from converters.backbone import full_range
from converters.parity import compare, converted_embeddings, source_embeddings
from converters.tensorflow import freeze, import_tensorflow, quiet
from device.images import Image, read_photo
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter
from edgetl.backbones import load_backbone

from .embeddings import load_photos
from .figures import Figure
from .measurement import Measurement, Table, question_parser

BACKBONE = "efficientnet-lite0"
MOST_TIME = 1.3  # ours / bare
SIDES = ("bare", "ours")


def measure(
    model: Any, preprocessing: Preprocessing, photos: list[Image], held_out: list[Image], repeats: int
) -> dict[str, Any]:
    """Convert in turn, and compare times, sizes and embeddings.

    Args:
        model: A Keras backbone.
        preprocessing: Its preprocessing.
        photos: What both are calibrated with.
        held_out: What their embeddings are compared on.
        repeats: Number of conversions of each, after one that imports and warms up.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, bare = Path(folder) / "ours.tflite", Path(folder) / "bare.tflite"
        conversions = in_turn(model, preprocessing, photos, Path(folder), repeats)
        prepared = [preprocessing.prepare(image) for image in held_out]
        opened = ModelFile.open(out)
        files = {"bare": bare.read_bytes(), "ours": opened.model_part()}
        source = source_embeddings(model, prepared, preprocessing)
        cosines = {name: centered(source, open_file(data), prepared) for name, data in files.items()}
        return {
            **conversions,
            "bytes": {"bare": bare.stat().st_size, "ours": out.stat().st_size},
            "capacity": opened.manifest.capacity,
            "centered_cosine": cosines,
        }


def in_turn(
    model: Any, preprocessing: Preprocessing, photos: list[Image], folder: Path, repeats: int
) -> dict[str, Any]:
    """Convert with both sides in turn, and return the medians of their times and the ratio.

    The files are ``bare.tflite`` and ``ours.tflite`` in `folder`.
    """
    paths = _write(folder, photos)

    def ours() -> None:
        convert(
            TrainedModel(model, BACKBONE, preprocessing), folder / "ours.tflite", calibrate=paths, force=True
        )

    def bare(number: int = len(paths)) -> None:
        images = [preprocessing.prepare(read_photo(path)) for path in paths[:number]]
        (folder / "bare.tflite").write_bytes(bare_int8(model, preprocessing, images))

    bare(1)  # imports and warms up
    times = [[_time(one) for one in (bare, ours)] for _ in range(repeats)]
    median = np.median(times, axis=0)  # [bare and ours, processor and elapsed]
    clocks = ("processor", "elapsed")
    return {
        "photos": len(photos),
        "bare_s": dict(zip(clocks, median[0].round(2).tolist(), strict=True)),
        "ours_s": dict(zip(clocks, median[1].round(2).tolist(), strict=True)),
        "ratio": dict(zip(clocks, (median[1] / median[0]).round(3).tolist(), strict=True)),
    }


def bare_int8(model: Any, preprocessing: Preprocessing, images: list[Image]) -> bytes:
    """Convert with TensorFlow's converter alone, frozen first because it loses the weights of Keras 3 otherwise."""
    tf = import_tensorflow()
    shape = (None, preprocessing.height, preprocessing.width, preprocessing.channels)

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        for image in [*images, full_range(preprocessing)]:
            yield [preprocessing.normalize(image[np.newaxis])]

    with quiet():
        frozen = freeze(lambda values: model(values, training=False), shape)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        return bytes(converter.convert())


def time_conversions(backbone: str, photos: int, repeats: int) -> dict[str, Any] | None:
    """Time both conversions of a backbone with photos of ELPV; None if they are not installed."""
    found = load_photos("elpv")
    if found is None:
        return None
    model, preprocessing = load_backbone(backbone)
    with tempfile.TemporaryDirectory() as folder:
        return in_turn(model, preprocessing, list(islice(found[0], photos)), Path(folder), repeats)


def open_file(data: bytes) -> Any:
    """Open a file whose first graph is a backbone."""
    return open_interpreter(data, threads=2)


def centered(source: NDArray[np.float32], interpreter: Any, images: list[Image]) -> float:
    """Return the cosine to the source's embeddings after the means are removed."""
    blank = [np.zeros((4, 4, 3), np.uint8)]  # only embeddings are compared
    parity = compare(source, converted_embeddings(interpreter, images), blank, None)
    return round(parity.centered_cosine or 0.0, 4)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared."""
    return [
        Figure("time / bare converter", result["ratio"]["processor"], tolerance=1.3, goal=MOST_TIME),
        Figure(
            "file / bare converter",
            round(result["bytes"]["ours"] / result["bytes"]["bare"], 3),
            tolerance=1.05,
        ),
        Figure("centered cosine to the float model", result["centered_cosine"]["ours"], "", "higher", 1.02),
        Figure("conversion, processor time", result["ours_s"]["processor"], "s", tolerance=1.6),
    ]


def table(result: dict[str, Any]) -> Table:
    """Return both sides."""
    return Table(
        f"EfficientNet-Lite0 to int8 with {result['photos']} photos",
        ("converter", "processor, s", "on the clock, s", "file, MB", "centered cosine"),
        tuple(
            (
                {"bare": "TFLiteConverter", "ours": "edgetl convert"}[side],
                result[f"{side}_s"]["processor"],
                result[f"{side}_s"]["elapsed"],
                result["bytes"][side] / 1e6,
                result["centered_cosine"][side],
            )
            for side in SIDES
        ),
        f"Our file also contains a trainable head for {result['capacity']} labels, and was verified in the runtime.",
    )


def _photos(count: int) -> list[Image]:
    for name in ("elpv", "digits-photos"):
        if (found := load_photos(name)) is not None:
            return list(islice(found[0], count))
    raise SystemExit("there are no photos; install some with: pip install elpv-dataset")


def _time(action: Callable[[], None]) -> tuple[float, float]:
    started = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - started[0], time.perf_counter() - started[1]


def _write(folder: Path, images: list[Image]) -> list[Path]:
    paths = [folder / f"{number:03d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[:, :, ::-1])
    return paths


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("convert", __doc__)
    parser.add_argument("--photos", type=int, default=40, help="Photos to calibrate with.  [default: 40]")
    parser.add_argument("--repeats", type=int, default=2, help="Conversions of each.  [default: 2]")
    options = parser.parse_args()
    measurement = Measurement("convert")
    photos = _photos(2 * options.photos)
    model, preprocessing = load_backbone(BACKBONE)
    taken, held_out = photos[: options.photos], photos[options.photos :]
    result = measure(model, preprocessing, taken, held_out, options.repeats)
    measurement.finish(measurement.result(figures(result), [table(result)], result), options)


if __name__ == "__main__":
    main()
