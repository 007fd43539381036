"""What does surgery change in a .tflite: its embedding, and the size of the file?

Usage: ``python -m benchmarks.surgery FILE.tflite ... [--images 20] [--photos FOLDER]``

Each file is converted as ``edgetl convert FILE`` does. Its embeddings are compared with those of a bare interpreter on the
original file, in which only the number of the output tensor is overwritten, so that neither the surgery nor its flatbuffer
code makes the comparison. The target for the size is at most 1 % more than the cut backbone and the head as files of their
own. ``--photos`` also teaches three of four photos of a folder with one folder per label, and evaluates on the fourth.
"""

from __future__ import annotations

import struct
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.cutting import cut
from converters.flatbuffer import parse, serialize
from converters.foreign import Source
from converters.head import build_head, initial_weights
from converters.pixels import Pixels, find_pixels
from converters.surgery import convert_tflite
from device.images import Image, read_photo
from device.learner import Learner
from device.model.flatbuffer import root
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter
from device.photos import list_labeled

from .machine import end_judged, machine_info, parser_of

_MOST_LARGER = 0.01  # of the size of backbone and head
_HELD_OUT = 4  # every fourth photo is evaluated
_GRAPHS, _OUTPUTS = 2, 2  # fields of a model and of a graph


def measure(path: Path, count: int, photos: Path | None, scratch: Path) -> dict[str, Any]:
    """Convert a file, and compare embeddings and sizes."""
    out = scratch / f"{path.stem}.tflite"
    start = time.perf_counter()
    report = convert_tflite(path, out, force=True)
    seconds = time.perf_counter() - start
    source, opened = Source.open(path), ModelFile.open(out)
    candidate = source.anatomy.candidate(source.anatomy.default_cut())
    pixels = find_pixels(parse(source.data), source.anatomy, source.metadata, None)
    made = opened.manifest.preprocessing
    images = _images(made, count, photos)
    features = open_interpreter(opened.part, threads=1).get_signature_runner("features")
    given = np.concatenate([features(image=image[np.newaxis])["embedding"] for image in images])
    expected = bare_embeddings(source.data, candidate.tensor, images, pixels)
    alone = len(serialize(cut(parse(source.data), source.data, source.anatomy, candidate)))
    head = len(serialize(build_head(initial_weights(report.dimensions, report.capacity), "signed_sqrt_l2")))
    larger = out.stat().st_size / (alone + head) - 1
    identical = int((given == expected).all(axis=1).sum())
    return {
        "file": path.name,
        "quantization": report.quantization,
        "dimensions": report.dimensions,
        "images": len(images),
        "bit_identical": identical,
        "largest_difference": float(np.abs(given - expected).max()),
        "source_bytes": len(source.data),
        "backbone_bytes": alone,
        "head_bytes": head,
        "file_bytes": out.stat().st_size,
        "larger": round(larger, 5),
        "seconds": round(seconds, 2),
        "accuracy": None if photos is None else accuracy(out, photos),
        "passed": identical == len(images) and larger <= _MOST_LARGER,
    }


def bare_embeddings(data: bytes, tensor: int, images: list[Image], pixels: Pixels) -> NDArray[np.float32]:
    """Return the embeddings of a bare interpreter on the original file, whose output is redirected to `tensor`."""
    changed = bytearray(data)
    place, _ = root(data).tables(_GRAPHS)[0].vector(_OUTPUTS)
    struct.pack_into("<i", changed, place, tensor)
    interpreter = open_interpreter(bytes(changed), threads=1)
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in images:
        interpreter.set_tensor(entry["index"], _as_input(image, pixels, np.dtype(entry["dtype"])))
        interpreter.invoke()
        values = interpreter.get_tensor(end["index"]).reshape(-1)
        scale, zero = end["quantization"]
        rows.append((values.astype(np.float32) - np.float32(zero)) * np.float32(scale) if scale else values)
    return np.stack(rows)


def accuracy(model: Path, photos: Path) -> dict[str, Any]:
    """Teach three of four photos of each label, and return the accuracy on the others."""
    listed = list_labeled(photos).photos
    by_label: dict[str, list[Path]] = {}
    for photo in listed:
        by_label.setdefault(str(photo.label), []).append(photo.path)
    taught = [
        (path, label) for label, paths in by_label.items() for n, path in enumerate(paths) if n % _HELD_OUT
    ]
    held = [(path, label) for label, paths in by_label.items() for path in paths[::_HELD_OUT]]
    with Learner.open(model, None, thumbnails=False) as learner:
        learner.learn_many((read_photo(path) for path, _ in taught), [label for _, label in taught])
        found = learner.predict_many(read_photo(path) for path, _ in held)
    right = sum(one.label == label for one, (_, label) in zip(found, held, strict=True))
    return {"taught": len(taught), "held_out": len(held), "accuracy": round(right / len(held), 4)}


def _images(made: Preprocessing, count: int, photos: Path | None) -> list[Image]:
    if photos is not None:
        paths = [photo.path for photo in list_labeled(photos).photos]
        chosen = np.linspace(0, len(paths) - 1, count).round().astype(int)
        return [made.prepare(read_photo(paths[place])) for place in chosen]
    random = np.random.default_rng(0)
    shape = (made.height, made.width, made.channels)
    return [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def _as_input(image: Image, pixels: Pixels, dtype: np.dtype[Any]) -> NDArray[Any]:
    batch = image[np.newaxis]
    if dtype == np.float32:
        return (batch.astype(np.float32) - np.array(pixels.mean, np.float32)) / np.array(
            pixels.std, np.float32
        )
    return batch if dtype == np.uint8 else (batch.astype(np.int16) - 128).astype(np.int8)


def main() -> None:
    """Measure, write the result, and exit with 1 if a target is missed."""
    parser = parser_of(__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="Files to convert.")
    parser.add_argument("--images", type=int, default=20, help="Images to compare.  [default: 20]")
    parser.add_argument(
        "--photos", type=Path, help="Photos to compare and to teach; random pixels otherwise."
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = [measure(path, options.images, options.photos, Path(scratch)) for path in options.files]
    passed = all(run["passed"] for run in runs)
    end_judged({"passed": passed, "runs": runs, "machine": machine_info(0)}, options.out)


if __name__ == "__main__":
    main()
