"""How much disk space, time and RAM does edgetl take up to the first prediction, compared with a bare process and with others?

Usage: ``python -m benchmarks.footprint [MODEL] [--rounds 3] [--samples 200] [--check]``

*Bare* imports OpenCV, NumPy and the runtime, loads the backbone and invokes it once. *edgetl* is ``edgetl run --frames 1``
with a state of 200 samples. TensorFlow, MediaPipe and teachable-machine-lite load the classifier that edgetl exports and
classify the same photo, if they are installed: the latter two in their own environments, made with
``make .venv-mediapipe/ready .venv-teachable/ready``. All are started in turn as new processes; figures are medians. All
find compiled modules, as after a pip installation. The costliest additional imports come from ``python -X importtime``.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.images import encode_jpeg
from device.learner import Learner
from device.model.runtime import load_runtime

from . import installed
from .figures import Figure
from .machine import model_to_measure
from .measurement import Measurement, Table, question_parser
from .processes import Process, import_times, start

TIME_LIMIT, MEMORY_LIMIT = 2.5, 1.5
SIDE = 256
REPOSITORY = Path(__file__).parents[1]
# it takes seconds to import, so that a tenth more or less does not matter
_SLOW, _SLOW_ROUNDS = ("TensorFlow",), 1
_OWN = ("edgetl", "converters", "device")

_BARE = """
import sys, cv2, numpy
from {module} import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=2)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
interpreter.resize_tensor_input(given["index"], [1, *given["shape"][1:]])
interpreter.allocate_tensors()
interpreter.set_tensor(given["index"], numpy.zeros([1, *given["shape"][1:]], given["dtype"]))
interpreter.invoke()
"""
_TENSORFLOW = """
import sys, tensorflow
interpreter = tensorflow.lite.Interpreter(model_path=sys.argv[1], num_threads=2)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
image = tensorflow.io.decode_jpeg(tensorflow.io.read_file(sys.argv[2]))
image = tensorflow.image.resize(image[None], given["shape"][1:3])
interpreter.set_tensor(given["index"], tensorflow.cast(image, tensorflow.uint8).numpy())
interpreter.invoke()
"""
_MEDIAPIPE = """
import sys
import mediapipe
from mediapipe.tasks import python
from mediapipe.tasks.python import vision
options = vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[1]))
with vision.ImageClassifier.create_from_options(options) as classifier:
    assert classifier.classify(mediapipe.Image.create_from_file(sys.argv[2])).classifications[0].categories
"""
_TEACHABLE = """
import sys
from teachable_machine_lite import TeachableMachineLite
model = TeachableMachineLite(model_path=sys.argv[1], labels_file_path=sys.argv[3])
assert model.classify_image(sys.argv[2])["label"]
"""


@dataclass(frozen=True)
class Competitor:
    """Another way to get a first prediction.

    Attributes:
        name: Its name in the tables.
        distribution: What pip installs.
        python: The Python that has it.
        imported: The statement that imports it.
        predicts: A program with the arguments classifier, photo and file of labels.
    """

    name: str
    distribution: str
    python: Path
    imported: str
    predicts: str


def competitors() -> list[Competitor]:
    """Return those that are installed."""
    here, mediapipe, teachable = (
        Path(sys.executable),
        REPOSITORY / ".venv-mediapipe/bin/python",
        REPOSITORY / ".venv-teachable/bin/python",
    )
    found = []
    if importlib.util.find_spec("tensorflow"):
        found.append(Competitor("TensorFlow", "tensorflow", here, "import tensorflow", _TENSORFLOW))
    if mediapipe.exists():
        imported = "import mediapipe; from mediapipe.tasks.python import vision"
        found.append(Competitor("MediaPipe", "mediapipe", mediapipe, imported, _MEDIAPIPE))
    if teachable.exists():
        name = "teachable-machine-lite"
        found.append(Competitor(name, name, teachable, "import teachable_machine_lite", _TEACHABLE))
    return found


def prepare(model: Path, folder: Path, samples: int, labels: int = 5) -> tuple[Path, Path, Path, Path]:
    """Write a photo, a state that was taught `samples` noisy pictures, its classifier and labels; return the paths."""
    chooser = np.random.default_rng(0)
    photo, state = folder / "photo.jpg", folder / "taught.db"
    photo.write_bytes(encode_jpeg(chooser.integers(0, 256, (SIDE, SIDE, 3), np.uint8)))
    tints = chooser.integers(0, 200, (labels, 3))
    with Learner.open(model, state) as learner:
        images = [_picture(chooser, tints[number % labels]) for number in range(samples)]
        learner.learn_many(images, [f"label {number % labels}" for number in range(samples)])
        classifier = learner.export_classifier(folder / "classifier.tflite").path
        names = folder / "labels.txt"
        names.write_text("".join(f"{number} {label}\n" for number, label in enumerate(learner.labels)))
    return photo, state, classifier, names


def costly_imports(bare: dict[str, float], ours: dict[str, float], count: int = 8) -> list[dict[str, Any]]:
    """Return the modules that only edgetl imports and whose own import takes longest, in milliseconds."""
    rows = [{"module": name, "own_ms": own} for name, own in ours.items() if name not in bare]
    return sorted(rows, key=lambda row: -float(str(row["own_ms"])))[:count]


def measure(model: Path, rounds: int, samples: int, others: list[Competitor]) -> dict[str, Any]:
    """Start all programs in turn `rounds` times, after one start each that compiles modules and warms the disk cache."""
    runtime = load_runtime()
    module = f"{runtime.name.replace('-', '_')}.interpreter"
    with tempfile.TemporaryDirectory() as scratch:
        photo, state, classifier, names = prepare(model, Path(scratch), samples)
        here = sys.executable
        run = (
            "run",
            str(model),
            "--state",
            str(state),
            "--camera",
            str(photo),
            "--frames",
            "1",
            "--threads",
            "2",
        )
        predictions = {
            "bare": [here, "-c", _BARE.format(module=module), str(model)],
            "edgetl": [here, "-m", "edgetl", *run],
            **{
                one.name: [str(one.python), "-c", one.predicts, str(classifier), str(photo), str(names)]
                for one in others
            },
        }
        imports = {
            "bare": [here, "-c", f"import cv2, numpy, {module}"],
            "edgetl": [here, "-c", "from edgetl import Learner, open_camera"],
            **{one.name: [str(one.python), "-c", one.imported] for one in others},
        }
        compiled = Path(scratch) / "compiled"
        traced = {name: import_times(predictions[name], compiled) for name in ("bare", "edgetl")}
        return {
            "samples": samples,
            "rounds": rounds,
            "imports": in_turn(imports, rounds, compiled),
            "first_prediction": in_turn(predictions, rounds, compiled),
            "imports_ms": {name: round(sum(times.values()), 1) for name, times in traced.items()},
            "costliest_imports_above_bare": costly_imports(traced["bare"], traced["edgetl"]),
        }


def in_turn(commands: dict[str, list[str]], rounds: int, compiled: Path) -> dict[str, dict[str, float]]:
    """Start each command in turn `rounds` times, and return the medians of each."""
    found: dict[str, list[Process]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            if number <= (min(rounds, _SLOW_ROUNDS) if name in _SLOW else rounds):
                process = start(command, compiled)
                found[name] += [process] if number else []
    return {
        name: {
            field: round(statistics.median(getattr(process, field) for process in processes), 3)
            for field in ("seconds", "processor", "memory")
        }
        for name, processes in found.items()
    }


def disk(others: list[Competitor]) -> dict[str, float]:
    """Return the MB that each takes on the disk with everything it requires, without byte code."""
    own = (
        sum(file.stat().st_size for name in _OWN for file in (REPOSITORY / name).rglob("*") if _counts(file))
        / 1e6
    )
    required = installed.closure("edgetl[device]")
    required.pop("edgetl", None)  # perhaps an editable installation, of which only the address is installed
    sizes = {"edgetl": round(own + sum(required.values()), 1)}
    for one in others:
        command = [str(one.python), str(Path(installed.__file__)), one.distribution]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sizes[one.name] = round(sum(json.loads(done.stdout).values()), 1)
    return sizes


def _counts(file: Path) -> bool:
    return file.is_file() and file.suffix != ".pyc"


def _picture(chooser: np.random.Generator, tint: Any) -> Any:
    noise = chooser.integers(0, 56, (SIDE, SIDE, 3))
    return (noise + tint).astype(np.uint8)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared: our first prediction beside a bare process and the other programs."""
    first, imports = result["first_prediction"], result["imports"]
    ours = first["edgetl"]
    found = []
    for name in first:
        if name != "edgetl":
            bare = name == "bare"
            time, memory = (round(ours[field] / first[name][field], 3) for field in ("processor", "memory"))
            found += [
                Figure(
                    f"first prediction, time / {name}", time, tolerance=1.3, goal=TIME_LIMIT if bare else None
                ),
                Figure(
                    f"first prediction, RAM / {name}",
                    memory,
                    tolerance=1.15,
                    goal=MEMORY_LIMIT if bare else None,
                ),
            ]
    found.append(
        Figure(
            "import, time / bare",
            round(imports["edgetl"]["processor"] / imports["bare"]["processor"], 3),
            tolerance=1.3,
        )
    )
    found.append(Figure("on the disk", result["disk_mb"]["edgetl"], "MB", tolerance=1.1, goal=330.0))
    return found


def table(result: dict[str, Any]) -> Table:
    """Return the footprint of each program."""
    rows = [
        (
            name,
            result["disk_mb"].get(name),
            *(result["imports"][name][field] for field in ("processor", "memory")),
            *(result["first_prediction"][name][field] for field in ("processor", "seconds", "memory")),
        )
        for name in result["first_prediction"]
    ]
    return Table(
        "From the command line to the first prediction",
        (
            "program",
            "on the disk, MB",
            "import, processor, s",
            "import, RAM, MB",
            "first prediction, processor, s",
            "on the clock, s",
            "RAM, MB",
        ),
        tuple(rows),
        "Sizes include everything that pip installs, without byte code. The others load a classifier that cannot be taught.",
    )


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("footprint", __doc__, model=True)
    parser.add_argument("--rounds", type=int, default=3, help="Starts of each process.  [default: 3]")
    parser.add_argument("--samples", type=int, default=200, help="Samples in the state.  [default: 200]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement, others = Measurement("footprint", seed=0), competitors()
    result = {**measure(model, options.rounds, options.samples, others), "disk_mb": disk(others)}
    measurement.finish(measurement.result(figures(result), [table(result)], result), options)


if __name__ == "__main__":
    main()
