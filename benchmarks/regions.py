"""How many frames per second do 1, 2, 4 and 8 regions of one camera reach, and do batches pay?

Usage: ``python -m benchmarks.regions [MODEL] [--rounds 5]``

Frames of 640x480 are in RAM, so that no camera limits the rate. Each region is cut out, embedded and predicted, with a state of
its own and one backbone, on one thread. The rate is that of a processor which does nothing else: frames per second of CPU
time. ``batches`` embeds several images in one run of the interpreter. Rounds alternate, so that the load of a shared
machine affects all cases. ``ram_mb`` is the resident memory after the learners are open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras import Frame
from device.cameras.fake import draw
from device.cameras.regions import Region
from device.images import preview
from device.learner import Learner
from device.live.regions import WatchedRegion
from device.live.watching import Watcher

from .machine import machine_info, model_to_measure, parser_of, warn_of_noise, write_result

COUNTS = (1, 2, 4, 8)


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__, model=True)
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of 16 frames per case.  [default: 5]")
    given = parser.parse_args()
    warn_of_noise()
    model = model_to_measure(given.model)
    frames = [_frame(number) for number in range(16)]
    with ExitStack() as stack:
        first = stack.enter_context(Learner.open(model, None, threads=1))
        ram = {"1": _ram()}
        learners = [first, *(stack.enter_context(first.beside(None)) for _ in range(max(COUNTS) - 1))]
        ram[str(max(COUNTS))] = _ram()
        for learner in learners:
            learner.learn_many(
                [draw("red", n) for n in range(5)] + [draw("blue", n) for n in range(5)],
                ["a"] * 5 + ["b"] * 5,
            )
        watched = [
            WatchedRegion(f"r{place}", region, Watcher(learner))
            for place, (region, learner) in enumerate(zip(_regions(max(COUNTS)), learners, strict=True))
        ]
        rates = _measure(watched, frames, given.rounds)
        batches = _batches(first, frames, given.rounds)
    one = rates["1"]
    result: dict[str, Any] = {
        "frames_per_cpu_second": rates,
        "share_of_one_over_n": {count: round(rates[count] * int(count) / one, 3) for count in rates},
        "batches_cpu_ms_per_embedding": batches,
        "ram_mb": ram,
        "model": Path(model).name,
    }
    write_result({**result, "machine": machine_info()}, given.out)


def _measure(watched: list[WatchedRegion], frames: list[Frame], rounds: int) -> dict[str, float]:
    """Return the frames per CPU second by the number of regions."""
    spent: dict[int, float] = dict.fromkeys(COUNTS, 0.0)
    for _ in range(rounds):
        for count in COUNTS:
            spent[count] += _cpu(partial(_observe, watched[:count]), frames)
    return {str(count): round(rounds * len(frames) / seconds, 2) for count, seconds in spent.items()}


def _batches(learner: Learner, frames: list[Frame], rounds: int) -> dict[str, float]:
    """Return the CPU milliseconds per embedding, by the number of images in one run of the interpreter."""
    runner = learner.embedder.signature("features")
    prepare = learner.model.manifest.preprocessing.prepare
    spent: dict[int, float] = dict.fromkeys(COUNTS, 0.0)
    for _ in range(rounds):
        for count in COUNTS:
            batches = [np.stack([prepare(frame.image)] * count) for frame in frames[: len(frames) // count]]
            runner(image=batches[0])  # resizes the graph
            spent[count] += _cpu(partial(_embed, runner), batches) / (len(batches) * count)
    return {str(count): round(1e3 * seconds / rounds, 2) for count, seconds in spent.items()}


def _observe(watched: list[WatchedRegion], frame: Frame) -> None:
    for one in watched:
        one.observe(frame, print)


def _embed(runner: Any, batch: Any) -> None:
    runner(image=batch)


def _cpu(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the CPU seconds that the work takes for all items."""
    began = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - began


def _regions(count: int) -> list[Region]:
    """Return regions of equal size, side by side in two rows."""
    columns = count // 2
    return [
        Region(
            f"r{n}",
            (n % columns) / columns,
            (n // columns) / 2,
            (n % columns + 1) / columns,
            (n // columns + 1) / 2,
        )
        for n in range(count)
    ]


def _frame(number: int) -> Frame:
    image = np.kron(draw("red", number), np.ones((2, 2, 1), np.uint8))
    return Frame(preview(image), 0.0, number, "memory")


def _ram() -> float:
    """Return the resident memory of this process in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * 4096 / 1e6, 1)


if __name__ == "__main__":
    main()
