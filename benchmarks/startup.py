"""How much more time and RAM than a bare process does edgetl take from the command line to the first prediction?

Usage: ``python -m benchmarks.startup [MODEL] [--rounds 7] [--samples 200]``

Bare: imports OpenCV, NumPy and the runtime, loads the backbone and invokes it once. Ours: ``edgetl run --frames 1``
with a state of 200 samples. Both are started alternately as new processes; the figures are ratios of medians. Both
find compiled modules, as after a pip installation. The costliest additional imports come from ``python -X importtime``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from device.images import encode_jpeg
from device.learner import Learner

from .machine import end_judged, machine_info, model_to_measure, parser_of, warn_of_noise

TIME_LIMIT, MEMORY_LIMIT = 2.5, 1.5
SIDE = 256

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


# The kernel counts the RAM of the forking process as its child's peak, so a small process starts the child.
_START = """
import os, sys, time
before = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - before, usage.ru_maxrss / 1024)
"""


def start(command: list[str], compiled: Path | None = None) -> tuple[float, float]:
    """Run a command and return its seconds and its peak RAM in MB.

    Args:
        command: The program as an absolute path, and its arguments.
        compiled: Folder for compiled modules; overrides the caller's environment.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _START, *command]
    code, seconds, memory = subprocess.run(
        launcher, capture_output=True, text=True, check=True, env=_environment(compiled)
    ).stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return float(seconds), float(memory)


def prepare(model: Path, folder: Path, samples: int, labels: int = 5) -> tuple[Path, Path]:
    """Write a photo and a state file that was taught `samples` noisy pictures; return both paths."""
    chooser = np.random.default_rng(0)
    photo, state = folder / "photo.jpg", folder / "taught.db"
    photo.write_bytes(encode_jpeg(chooser.integers(0, 256, (SIDE, SIDE, 3), np.uint8)))
    tints = chooser.integers(0, 200, (labels, 3))
    with Learner.open(model, state) as learner:
        images = [_picture(chooser, tints[number % labels]) for number in range(samples)]
        learner.learn_many(images, [f"label {number % labels}" for number in range(samples)])
    return photo, state


def _environment(compiled: Path | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return variables if compiled is None else {**variables, "PYTHONPYCACHEPREFIX": str(compiled)}


def import_times(command: list[str], compiled: Path | None = None) -> dict[str, float]:
    """Return the milliseconds that each module imported by `command` takes, its own imports excluded."""
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, capture_output=True, text=True, check=True, env=_environment(compiled))
    times: dict[str, float] = {}
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and parts[0].strip().isdigit():
            times[parts[2].strip()] = int(parts[0]) / 1000
    return times


def costly_imports(bare: dict[str, float], ours: dict[str, float], count: int = 8) -> list[dict[str, Any]]:
    """Return the modules that only edgetl imports and whose own import takes longest, in milliseconds."""
    rows = [{"module": name, "own_ms": own} for name, own in ours.items() if name not in bare]
    return sorted(rows, key=lambda row: -float(str(row["own_ms"])))[:count]


def measure(model: Path, rounds: int, samples: int) -> dict[str, Any]:
    """Start both alternately `rounds` times, after one start each that compiles modules and warms the disk cache."""
    info = machine_info(0)
    module = (
        "tflite_runtime.interpreter" if "tflite" in str(info["runtime"]) else "ai_edge_litert.interpreter"
    )
    with tempfile.TemporaryDirectory() as scratch:
        photo, state = prepare(model, Path(scratch), samples)
        commands = {
            "bare": [sys.executable, "-c", _BARE.format(module=module), str(model)],
            "ours": [
                *(sys.executable, "-m", "edgetl", "run", str(model), "--state", str(state)),
                *("--camera", str(photo), "--frames", "1", "--threads", "2"),
            ],
        }
        figures: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
        compiled = Path(scratch) / "compiled"
        for number in range(rounds + 1):
            for name, command in commands.items():
                figure = start(command, compiled)
                if number:
                    figures[name].append(figure)
        imports = {name: import_times(command, compiled) for name, command in commands.items()}
    seconds = {name: statistics.median(pair[0] for pair in pairs) for name, pairs in figures.items()}
    memory = {name: statistics.median(pair[1] for pair in pairs) for name, pairs in figures.items()}
    return {
        "machine": info,
        "samples": samples,
        "rounds": rounds,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "memory_mb": {name: round(value, 1) for name, value in memory.items()},
        "time_ratio": round(seconds["ours"] / seconds["bare"], 3),
        "memory_ratio": round(memory["ours"] / memory["bare"], 3),
        "limits": {"time": TIME_LIMIT, "memory": MEMORY_LIMIT},
        "imports_ms": {name: round(sum(times.values()), 1) for name, times in imports.items()},
        "costliest_imports_above_bare": costly_imports(imports["bare"], imports["ours"]),
    }


def _picture(chooser: np.random.Generator, tint: Any) -> Any:
    noise = chooser.integers(0, 56, (SIDE, SIDE, 3))
    return (noise + tint).astype(np.uint8)


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__, model=True)
    parser.add_argument("--rounds", type=int, default=7, help="Starts of each process.  [default: 7]")
    parser.add_argument("--samples", type=int, default=200, help="Samples in the state.  [default: 200]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    warn_of_noise()
    result = measure(model, options.rounds, options.samples)
    result["passed"] = result["time_ratio"] <= TIME_LIMIT and result["memory_ratio"] <= MEMORY_LIMIT
    end_judged(result, options.out)


if __name__ == "__main__":
    main()
