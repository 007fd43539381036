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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.backbone import FloatGraph
from converters.parity import compare, converted_embeddings
from device.heads import create_head
from device.images import Image
from device.model.codes import encode
from device.model.runtime import open_interpreter
from edgetl.backbones import load_backbone
from edgetl.errors import MissingExtraError

from .convert import bare_int8, time_conversions
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
    timed = None if options.no_time else time_conversions(REFERENCE, CALIBRATION, REPEATS)
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
