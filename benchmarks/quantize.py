"""What does int8 cost in head accuracy, and how long does the conversion take?

Usage: ``python -m benchmarks.quantize [--backbones NAME ...] [--sets NAME ...] [--no-time]``

For each backbone and set, the float and the int8 backbone embed all photos, and the exact head is taught and tested on
four splits: every fourth photo is held out, from the first, the second, the third and the fourth on. int8 may cost at
most one point of the mean accuracy. The int8 backbone is calibrated with 100 photos of the set. For EfficientNet-Lite0,
the int8 file of the bare `tf.lite.TFLiteConverter` is measured too, and the time of both conversions with the same 100
photos in turn, in processor time and in elapsed time: ours, which also compares and verifies, may take 1.3 times as long.

Results are kept in the cache for each pair, so that an interrupted run continues where it was. Pairs whose weights or
photos are not installed are left out and listed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import TrainedModel, convert
from converters.backbone import FloatGraph, full_range
from converters.parity import compare, converted_embeddings
from converters.tensorflow import import_tensorflow, quiet
from device.heads import create_head
from device.images import Image, read_photo
from device.model.codes import encode
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter
from edgetl.backbones import load_backbone
from edgetl.errors import MissingExtraError

from .embeddings import cache_folder, load_photos
from .machine import end_judged, machine_info, parser_of, warn_of_noise

BACKBONES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2")
SETS = ("ants-bees", "flower-photos5", "elpv")
REFERENCE = "efficientnet-lite0"  # also converted by the bare converter
MOST_LOST = 0.01
MOST_TIME = 1.3
CALIBRATION = 100
REPEATS = 3
_SPLITS = 4
_VERSION = 1  # of the kept results

Embeddings = NDArray[np.float32]


def measure(backbone: str, name: str) -> dict[str, Any] | None:
    """Measure one backbone on one set; None if the photos are not available."""
    found = load_photos(name)
    if found is None:
        return None
    model, preprocessing = load_backbone(backbone)
    labels = found[1]
    images = [preprocessing.prepare(image) for image in found[0]]
    calibration = choose(images)
    source = FloatGraph(model, preprocessing, calibration)
    graphs = {"float": source.convert("none"), "int8": source.convert("int8")}
    if backbone == REFERENCE:
        graphs["bare"] = bare_int8(model, preprocessing, calibration)
    embedded = {form: embed(graph, images) for form, graph in graphs.items()}
    return {"photos": len(labels), **{form: figures(embedded, form, labels) for form in embedded}}


def figures(embedded: dict[str, Embeddings], form: str, labels: NDArray[np.str_]) -> dict[str, Any]:
    """Return accuracy and similarity to the float backbone of one format."""
    blank = [np.zeros((4, 4, 3), np.uint8)]  # only embeddings are compared
    parity = compare(embedded["float"], embedded[form], blank, None)
    splits = accuracies(embedded[form], labels)
    return {
        "accuracy": round(float(np.mean(splits)), 4),
        "splits": [round(value, 4) for value in splits],
        "centered_cosine": round(parity.centered_cosine or 0.0, 4),
    }


def accuracies(embeddings: Embeddings, labels: NDArray[np.str_]) -> list[float]:
    """Return the accuracy of the exact head on each of the splits."""
    codes, places = encode(embeddings), np.arange(len(labels))
    results = []
    for split in range(_SPLITS):
        test = places % _SPLITS == split
        head = create_head("exact", codes.shape[1])
        head.learn_many(codes[~test], [str(label) for label in labels[~test]])
        predicted = np.array(head.labels)[head.probabilities(codes[test]).argmax(axis=1)]
        results.append(float((predicted == labels[test]).mean()))
    return results


def embed(graph: bytes, images: list[Image]) -> Embeddings:
    """Embed prepared photos with two threads."""
    return converted_embeddings(open_interpreter(graph, threads=2), images)


def choose(images: list[Image]) -> list[Image]:
    """Return photos to calibrate with, evenly spaced."""
    return [images[at] for at in np.linspace(0, len(images) - 1, CALIBRATION).round().astype(int)]


def bare_int8(model: Any, preprocessing: Preprocessing, images: list[Image]) -> bytes:
    """Convert with TensorFlow's converter alone, frozen first because it loses the weights of Keras 3 otherwise."""
    tf = import_tensorflow()
    from converters.tensorflow import freeze

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


def time_conversions() -> dict[str, Any] | None:
    """Time both conversions of the reference with the same photos, in turn; None without photos."""
    found = load_photos("elpv")
    if found is None:
        return None
    model, preprocessing = load_backbone(REFERENCE)
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(Path(folder), [image for _, image in zip(range(CALIBRATION), found[0], strict=False)])

        def ours() -> None:
            source = TrainedModel(model, REFERENCE, preprocessing)
            convert(source, Path(folder) / "m.tflite", calibrate=paths, force=True)

        def bare() -> None:
            images = [preprocessing.prepare(read_photo(path)) for path in paths]
            bare_int8(model, preprocessing, images)

        bare()  # imports and warms up
        times = [[_time(one) for one in (bare, ours)] for _ in range(REPEATS)]
    median = np.median(times, axis=0)  # [bare and ours, processor and elapsed]
    return {
        "photos": CALIBRATION,
        "bare_s": dict(zip(("processor", "elapsed"), median[0].round(2).tolist(), strict=True)),
        "ours_s": dict(zip(("processor", "elapsed"), median[1].round(2).tolist(), strict=True)),
        "ratio": dict(zip(("processor", "elapsed"), (median[1] / median[0]).round(2).tolist(), strict=True)),
    }


def _time(action: Callable[[], None]) -> tuple[float, float]:
    started = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - started[0], time.perf_counter() - started[1]


def _write(folder: Path, images: list[Image]) -> list[Path]:
    paths = [folder / f"{number:03d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[:, :, ::-1])
    return paths


def _kept(backbone: str, name: str) -> dict[str, Any] | None:
    path = cache_folder() / "quantize" / f"{backbone}-{name}-v{_VERSION}.json"
    if not path.exists():
        print(f"measuring {backbone} on {name}", file=sys.stderr)
        try:
            result = measure(backbone, name)
        except MissingExtraError as error:
            print(error, file=sys.stderr)
            return None
        if result is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result), encoding="utf-8")
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def main() -> None:
    """Run the benchmark and write its result."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="Backbones to measure.")
    parser.add_argument("--sets", nargs="+", default=SETS, help="Sets of photos.")
    parser.add_argument("--no-time", action="store_true", help="Do not time the conversion.")
    options = parser.parse_args()
    warn_of_noise()
    results: dict[str, dict[str, Any]] = {}
    left_out = []
    for backbone in options.backbones:
        for name in options.sets:
            result = _kept(backbone, name)
            if result is None:
                left_out.append(f"{backbone} on {name}")
            else:
                lost = round(result["float"]["accuracy"] - result["int8"]["accuracy"], 4)
                results.setdefault(backbone, {})[name] = {**result, "lost": lost, "passed": lost <= MOST_LOST}
    timed = None if options.no_time else time_conversions()
    passed = all(one["passed"] for sets in results.values() for one in sets.values()) and bool(results)
    if timed is not None:
        passed = passed and timed["ratio"]["processor"] <= MOST_TIME
    end_judged(
        {
            "benchmark": "quantize",
            "machine": machine_info(),
            "results": results,
            "left_out": left_out,
            "time": timed,
            "limits": {"lost": MOST_LOST, "time_ratio": MOST_TIME},
            "passed": passed,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
