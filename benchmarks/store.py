"""How many lessons per second become durable beside the disk's own rate of flushes, and how fast does a large state open?

Usage: ``python -m benchmarks.store [MODEL] [--samples 600] [--opened 10000 100000] [--folder FOLDER] [--check]``

A disk that honors fsync limits the rate of durable commits. A *flush* appends about as many bytes as a commit writes to
another file and waits until they are on the disk; flushes and commits alternate. The bytes per sample are those that
the process sends to the storage layer, from /proc/self/io: the log and finally the file itself. Embeddings have as many
numbers as those of EfficientNet-Lite0; thumbnails show the fake camera's frames. A state is opened for the first time, when
the head learns every sample, and again, with the head that is kept in the file; each time up to the first prediction.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras.fake import draw
from device.images import thumbnail
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.store import ModelIdentity, NewSample, Store
from device.system.conditions import file_system

from .export import Photos, prepare
from .figures import Figure
from .machine import model_to_measure, percentiles
from .measurement import Measurement, Table, question_parser

DIMENSIONS = 1280
AT_ONCE = (1, 32)
# bytes of a commit of one sample, with and without a thumbnail
_FLUSHED = {True: 20 * 1024, False: 16 * 1024}
_FLUSHED_AT_ONCE = 8 * 1024  # the same per sample of a larger commit
_SEED = 0
_COLUMNS = (
    "samples",
    "commit, p50, ms",
    "p95, ms",
    "flush, p50, ms",
    "p95, ms",
    "commit / flush",
    "samples per second",
    "bytes written per sample",
)


def measure(folder: Path, count: int, pictures: bool, at_once: int) -> dict[str, Any]:
    """Teach `count` samples, `at_once` per transaction, and return the bytes and times."""
    rng = np.random.default_rng(_SEED)
    picture = thumbnail(draw("red", 1)) if pictures else None
    size = _FLUSHED[pictures] if at_once == 1 else _FLUSHED_AT_ONCE * at_once
    times: dict[str, list[float]] = {"flush": [], "commit": []}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "state.db"
        raw = os.open(Path(place) / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        before = _written()
        try:
            with Store.open(path, ModelIdentity("0" * 64, DIMENSIONS)) as store:
                for number in range(count // at_once):
                    samples = [_sample(rng, picture) for _ in range(at_once)]
                    steps: dict[str, Callable[[], Any]] = {
                        "flush": lambda: _flush(raw, size),
                        "commit": lambda samples=samples: store.learn(samples),  # type: ignore[misc]  # bound now
                    }
                    for name, step in steps.items() if number % 2 else reversed(steps.items()):
                        times[name].append(_seconds(step))
        finally:
            os.close(raw)
        written, kept = _written() - before - size * len(times["flush"]), path.stat().st_size
    done = count // at_once * at_once
    return {
        "samples_at_once": at_once,
        "thumbnail_bytes": len(picture) if picture else 0,
        "bytes_written_per_sample": round(written / done),
        "file_bytes_per_sample": round(kept / done),
        "commit": percentiles(times["commit"]),
        "flush": percentiles(times["flush"]),
        "flushed_bytes": size,
        "commit_to_flush": round(statistics.median(times["commit"]) / statistics.median(times["flush"]), 3),
        "samples_per_second": round(done / sum(times["commit"]), 1),
    }


def measure_opening(model: Path, folder: Path, count: int) -> dict[str, Any]:
    """Write a state of `count` samples and open it twice, each time up to the first prediction."""
    opened = ModelFile.open(model)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        state = Path(place) / "state.db"
        writing = _seconds(lambda: prepare(opened, state, count))
        embedding = Photos(opened.manifest.dimensions, seed=1).draw(1)[0][0]

        def use() -> None:
            with Learner.open(model, state, threads=1, thumbnails=False) as learner:
                learner.predict_embedding(embedding)

        first, again = _both(use), _both(use)
        size = state.stat().st_size
    return {
        "samples": count,
        "file_bytes": size,
        "writing_s": round(writing, 2),
        "first": dict(zip(("clock_s", "processor_s"), first, strict=True)),
        "again": dict(zip(("clock_s", "processor_s"), again, strict=True)),
    }


def figures(runs: list[dict[str, Any]], openings: list[dict[str, Any]]) -> list[Figure]:
    """Return what is compared."""
    found = []
    for run in runs:
        name = _name(run)
        found += [
            Figure(
                f"commit / flush, {name}",
                run["commit_to_flush"],
                tolerance=2 if run["samples_at_once"] == 1 else 4,
            ),
            Figure(f"bytes written per sample, {name}", run["bytes_written_per_sample"], "B", tolerance=1.1),
            Figure(f"durable, {name}", run["samples_per_second"], "samples/s", "higher", tolerance=3),
        ]
    for row in openings:
        share = row["again"]["processor_s"] / row["first"]["processor_s"]
        found += [
            Figure(f"second / first opening of {row['samples']:,} samples", round(share, 3), tolerance=1.5),
            Figure(
                f"second opening of {row['samples']:,} samples",
                row["again"]["processor_s"],
                "s",
                tolerance=1.6,
            ),
        ]
    return found


def tables(runs: list[dict[str, Any]], openings: list[dict[str, Any]], disk: str | None) -> list[Table]:
    """Return the commits and the openings."""
    commits = Table(
        "Commits",
        _COLUMNS,
        tuple(
            (
                _name(run),
                *(run[step][f"p{place}_ms"] for step in ("commit", "flush") for place in (50, 95)),
                run["commit_to_flush"],
                run["samples_per_second"],
                run["bytes_written_per_sample"],
            )
            for run in runs
        ),
        f"On {disk or 'an unknown file system'}. The disk's own rate of flushes is 1,000 / flush p50 per second.",
    )
    opened = Table(
        "Opening a state, up to the first prediction",
        ("samples", "file, MB", "first time, s", "processor, s", "again, s", "processor, s"),
        tuple(
            (
                row["samples"],
                row["file_bytes"] / 1e6,
                *(row[when][clock] for when in ("first", "again") for clock in ("clock_s", "processor_s")),
            )
            for row in openings
        ),
    )
    return [commits, opened]


def _name(run: dict[str, Any]) -> str:
    pictures = "with thumbnails" if run["thumbnail_bytes"] else "without thumbnails"
    return f"{pictures}, {'one by one' if run['samples_at_once'] == 1 else str(run['samples_at_once']) + ' at once'}"


def _sample(rng: np.random.Generator, picture: bytes | None) -> NewSample:
    code = np.rint(4096 * rng.normal(size=DIMENSIONS) / DIMENSIONS**0.5).astype(np.int16)
    return NewSample("mug", code, time.time(), "0", 1, picture)


def _flush(file: int, size: int) -> None:
    os.write(file, bytes(size))
    os.fdatasync(file)


def _seconds(work: Callable[[], Any]) -> float:
    return _both(work)[0]


def _both(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds on the clock and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return round(time.perf_counter() - start, 6), round(time.process_time() - used, 6)


def _written() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("store", __doc__, model=True)
    parser.add_argument("--samples", type=int, default=600, help="Samples per run.  [default: 600]")
    parser.add_argument(
        "--opened",
        type=int,
        nargs="*",
        default=[10_000, 100_000],
        help="Samples of the states that are opened.",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="Folder on the disk to measure, not on a tmpfs, where no bytes are counted.  [default: .]",
    )
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement = Measurement("store", _SEED)
    runs = [
        measure(options.folder, options.samples, pictures, at_once)
        for pictures in (True, False)
        for at_once in AT_ONCE
    ]
    openings = [measure_opening(model, options.folder, count) for count in options.opened]
    disk = file_system(options.folder)
    details = {"dimensions": DIMENSIONS, "file_system": disk, "runs": runs, "openings": openings}
    result = measurement.result(figures(runs, openings), tables(runs, openings, disk), details)
    measurement.finish(result, options)


if __name__ == "__main__":
    main()
