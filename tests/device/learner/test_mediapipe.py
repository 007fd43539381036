"""MediaPipe's ImageClassifier runs an exported classifier: the oracle for its graph, its metadata and its labels.

MediaPipe brings an OpenCV of its own, so it has an environment of its own: `make .venv-mediapipe/ready`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.learner import Learner
from tests import tiny

REPOSITORY = Path(__file__).parents[3]
CHILD = REPOSITORY / "benchmarks" / "peers" / "mediapipe_child.py"
CLOSE = 0.02  # MediaPipe's own kernels may round int8 in another way than the runtime of the learner
LARGE = 3 * tiny.SIDE  # pixels; MediaPipe resizes in another way than edgetl


@pytest.fixture(scope="module")
def mediapipe() -> Path:
    """Return a Python that can import MediaPipe; skip the test where there is none, or fail where it is required."""
    python = Path(
        os.environ.get("EDGETL_MEDIAPIPE_PYTHON", REPOSITORY / ".venv-mediapipe" / "bin" / "python")
    )
    problem = "MediaPipe is not installed: make .venv-mediapipe/ready"
    if python.exists():
        tried = run(python, "-c", "from mediapipe.tasks.python import vision")
        if tried.returncode == 0:
            return python
        last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
        problem = f"MediaPipe cannot be imported ({last}): sudo apt-get install libegl1 libgles2"
    if os.environ.get("EDGETL_MEDIAPIPE") == "required":
        pytest.fail(problem)
    pytest.skip(problem)


EXAMPLE = re.compile(
    r"^<!-- mediapipe -->\n(?:<!-- not run: [^\n]*-->\n)?```python\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def run(python: Path, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program in MediaPipe's environment, without this one's paths."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def classify(python: Path, model: Path, images: Any) -> dict[str, Any]:
    """Return what MediaPipe finds in a file and in images."""
    np.savez(model.with_suffix(".npz"), *images)
    done = run(python, CHILD, model, model.with_suffix(".npz"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("model", "normalization"), [(tiny.TINY_TAUGHT, [127.0, 128.0]), (tiny.TINY_GRAY, [0.0, 1.0])]
)
def test_mediapipe_classifies_like_the_learner(
    model: Path, normalization: list[float], mediapipe: Path, tmp_path: Path
) -> None:
    """It needs no file beside the model: labels, color and normalization come from the metadata."""
    images = [tiny.photo(label, seed) for label in tiny.COLORS for seed in (60, 61)]
    with Learner.open(model, None) as learner:
        made = learner.export_classifier(tmp_path / "c.tflite")
        expected = [
            learner.predict_embedding(learner.embed_one(one), all_scores=True).scores for one in images
        ]
        version = learner.model.sha256[:16]
    found = classify(mediapipe, made.path, images)
    for given, wanted in zip(found["scores"], expected, strict=True):
        assert given == pytest.approx(wanted, abs=CLOSE)
    assert (found["normalization"], found["color"], found["size"]) == (normalization, 1, [32, 32])
    assert (tuple(found["labels"]), found["version"]) == (made.labels, version)


def test_mediapipe_squashes_whole_frames_like_a_model_that_was_taught_so(
    mediapipe: Path, tmp_path: Path
) -> None:
    """A frame of another size and shape has the same label in both."""
    images = [tiny.photo(label, 60, LARGE)[: LARGE // 2 + 20] for label in tiny.COLORS]
    with Learner.open(tiny.TINY_TAUGHT, None) as learner:
        made = learner.export_classifier(tmp_path / "c.tflite")
        expected = [one.label for one in learner.predict_many(images)]
    found = classify(mediapipe, made.path, images)
    assert [max(scores, key=scores.get) for scores in found["scores"]] == expected


def test_the_example_for_mediapipe_in_the_docs_runs_as_written(mediapipe: Path, tmp_path: Path) -> None:
    """It reads a photo and prints the labels, best first."""
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.cvtColor(tiny.photo("green", 60), cv2.COLOR_RGB2BGR))
    with Learner.open(tiny.TINY_TAUGHT, None) as learner:
        learner.export_classifier(tmp_path / "classifier.tflite")
    example = EXAMPLE.search((REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8"))
    assert example
    done = run(mediapipe, "-c", example[1], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3].split()[0] == "green"
