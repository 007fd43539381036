"""Does an exported classifier predict what the learner predicts, in a bare interpreter and in MediaPipe?

Usage: ``python -m benchmarks.classifier PHOTOS [--model MODEL] [--taught 20] [--tested 20]``

PHOTOS has one folder of photos per label. The first photos of each label are taught, the next ones are tested, in three
ways: the learner; the classifier in a bare interpreter, on images that were fitted to the input by the learner; and the
classifier in MediaPipe on whole photos, which it squashes itself, if ``make .venv-mediapipe/ready`` was run.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from device.images import Image, read_photo
from device.learner import Learner
from device.learner.classifier import run_once
from device.model.runtime import open_interpreter
from device.photos import list_labeled

from .machine import machine_info, model_to_measure, parser_of, write_result

PYTHON = Path(__file__).resolve().parents[1] / ".venv-mediapipe" / "bin" / "python"
CHILD = Path(__file__).parent / "peers" / "mediapipe_child.py"

Scores = dict[str, float]


def measure(model: Path, photos: Path, taught: int, tested: int, python: Path = PYTHON) -> dict[str, Any]:
    """Teach, export, and compare the predictions for the tested photos."""
    lesson, exam = split(photos, taught, tested)
    with tempfile.TemporaryDirectory() as scratch, Learner.open(model, None) as learner:
        learner.learn_many([read_photo(path) for path, _ in lesson], [label for _, label in lesson])
        made = learner.export_classifier(Path(scratch) / "classifier.tflite")
        images, labels = [read_photo(path) for path, _ in exam], [label for _, label in exam]
        ours = [scores_of(learner, image) for image in images]
        fit = learner.model.manifest.preprocessing.prepare
        gray = learner.model.manifest.preprocessing.channels == 1
        interpreter = open_interpreter(made.path)
        bare = [
            dict(zip(made.labels, run_once(interpreter, colored(fit(image), gray))[0].tolist(), strict=True))
            for image in images
        ]
        result = {
            "model": model.name,
            "resize": made.resize,
            "quantization": learner.model.manifest.quantization,
            "photos": len(exam),
            "bytes_model_file": model.stat().st_size,
            "bytes_classifier": made.bytes,
            "learner": {"accuracy": accuracy(ours, labels)},
            "bare_interpreter": compared(bare, ours, labels),
        }
        if python.exists():
            found = mediapipe(python, made.path, images)
            result["mediapipe"] = {**compared(found["scores"], ours, labels), "version": found["mediapipe"]}
        return result


def split(photos: Path, taught: int, tested: int) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Return the photos to teach and those to test, with their labels."""
    by_label: dict[str, list[Path]] = {}
    for photo in list_labeled(photos).photos:
        by_label.setdefault(photo.label or "", []).append(photo.path)
    lesson = [(path, label) for label, paths in by_label.items() for path in paths[:taught]]
    exam = [(path, label) for label, paths in by_label.items() for path in paths[taught : taught + tested]]
    return lesson, exam


def scores_of(learner: Learner, image: Image) -> Scores:
    """Return the learner's probability of every label."""
    return learner.predict_embedding(learner.embed_one(image), all_scores=True).scores


def colored(image: Image, gray: bool) -> Image:
    """Return a prepared image as RGB; the luma of gray is the same gray."""
    return np.repeat(image, 3, axis=2) if gray else image


def compared(found: list[Scores], ours: list[Scores], labels: list[str]) -> dict[str, float]:
    """Return accuracy, agreement with the learner, and the differences of probabilities."""
    gaps = [
        max(abs(one[label] - score) for label, score in wanted.items())
        for one, wanted in zip(found, ours, strict=True)
    ]
    same = [best(one) == best(wanted) for one, wanted in zip(found, ours, strict=True)]
    return {
        "accuracy": accuracy(found, labels),
        "same_label": int(sum(same)),
        "largest_difference": float(f"{max(gaps):.2g}"),
        "mean_difference": float(f"{np.mean(gaps):.2g}"),
    }


def accuracy(found: list[Scores], labels: list[str]) -> float:
    """Return the share of photos whose most probable label is theirs."""
    return round(float(np.mean([best(one) == label for one, label in zip(found, labels, strict=True)])), 4)


def best(scores: Scores) -> str:
    """Return the most probable label."""
    return max(scores, key=lambda label: scores[label])


def mediapipe(python: Path, model: Path, images: list[Image]) -> dict[str, Any]:
    """Return what MediaPipe finds in whole images; it runs in an environment of its own."""
    path = model.with_suffix(".npz")
    np.savez(path, *images)
    done = subprocess.run([python, CHILD, model, path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("photos", type=Path, help="Folder with one folder of photos per label.")
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[None], help="Model files.  [default: the cached one]"
    )
    parser.add_argument("--taught", type=int, default=20, help="Photos per label to teach.  [default: 20]")
    parser.add_argument("--tested", type=int, default=20, help="Photos per label to test.  [default: 20]")
    options = parser.parse_args()
    runs = [
        measure(model_to_measure(model), options.photos, options.taught, options.tested)
        for model in options.model
    ]
    write_result({"runs": runs, "machine": machine_info()}, options.out)


if __name__ == "__main__":
    main()
