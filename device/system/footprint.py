"""Cold start and peak RAM of a model, each in a new process: from its start to the first prediction.

Usage: ``python -m device.system.footprint MODEL HEAD [THREADS [DELEGATE]]`` writes one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..progress import Progress, no_progress
from .grid import CPU, Combination
from .outside import environment

_PATIENCE = 120.0  # seconds for one start


@dataclass(frozen=True)
class Footprint:
    """What a process with one model takes.

    Attributes:
        starts: Number of processes that were started.
        start_ms: Median time from starting Python to the first prediction.
        open_ms: Median time from opening the files to the first prediction; the rest is Python and its imports.
        peak_ram_bytes: Median of the largest RAM of the process.
    """

    starts: int
    start_ms: float
    open_ms: float
    peak_ram_bytes: int

    @classmethod
    def of(cls, found: Sequence[dict[str, Any]]) -> Footprint:
        """Summarize what the processes wrote."""
        middle = {name: median(one[name] for one in found) for name in found[0]}
        return cls(
            len(found),
            round(middle["start_ms"], 1),
            round(middle["open_ms"], 1),
            int(middle["peak_ram_bytes"]),
        )


def measure_footprints(
    combinations: Sequence[Combination], starts: int, progress: Progress = no_progress
) -> list[Footprint | None]:
    """Start processes for each combination, in turn; None where one failed, or for 0 starts.

    Combinations that differ only in their samples share the figures.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    keys = [_command(combination) for combination in combinations]
    found: dict[tuple[str, ...], list[dict[str, Any]] | None] = {key: [] for key in keys}
    runtimes = dict(zip(keys, (combination.runtime for combination in combinations), strict=True))
    for number in range(starts):
        for place, (key, so_far) in enumerate(found.items()):
            one = None if so_far is None else _start(key, environment(runtimes[key]))
            if so_far is not None and one is not None:
                so_far.append(one)
            else:
                found[key] = None
            progress("cold starts", number * len(found) + place + 1, starts * len(found))
    return [Footprint.of(times) if (times := found[key]) else None for key in keys]


def _command(combination: Combination) -> tuple[str, ...]:
    return (
        combination.runtime.python or sys.executable,
        "-m",
        "device.system.footprint",
        str(combination.path.absolute()),
        combination.teaching.name,
        str(combination.threads or 0),
        combination.delegate,
        combination.runtime.name or "",
    )


def _start(command: Sequence[str], variables: dict[str, str]) -> dict[str, Any] | None:
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE, env=variables)
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    passed = 1000 * (time.perf_counter() - start)
    return {**found, "start_ms": passed - found.pop("after_ms")}


def peak_ram_of_this_process() -> int:
    """Return the largest number of bytes of RAM of this process, without that of the one that started it."""
    with contextlib.suppress(OSError):  # not on Linux
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):  # ru_maxrss starts with that of the parent process
                return 1024 * int(line.split()[1])
    from .conditions import peak_ram

    return peak_ram()


def main(arguments: Sequence[str]) -> None:
    """Open a model, teach it one sample, predict once, and write the times."""
    import numpy as np

    from ..learner import Learner
    from ..model.modelfile import ModelFile
    from ..model.runtime import load_runtime

    load_runtime()
    begun = time.perf_counter()
    path, head, threads, delegate = *arguments[:2], int(arguments[2]), arguments[3]
    model = ModelFile.open(path)
    image = np.zeros((480, 640, 3), np.uint8)
    with Learner.open(
        model, None, head=head, threads=threads or None, delegate=None if delegate == CPU else delegate
    ) as learner:
        embedding = learner.embed_one(image)
        if not learner.labels:
            learner.learn_one(image, "first", embedding=embedding)
        learner.predict_embedding(embedding)
        predicted = time.perf_counter()
        found = {
            "open_ms": 1000 * (predicted - begun),
            "peak_ram_bytes": peak_ram_of_this_process(),
        }
    sys.stdout.write(json.dumps({**found, "after_ms": 1000 * (time.perf_counter() - predicted)}))
    sys.stdout.flush()
    os._exit(0)  # ending is not part of a start


if __name__ == "__main__":
    main(sys.argv[1:])
