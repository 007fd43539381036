"""How many bytes does a taught sample write to an SD card?

Usage: ``python -m benchmarks.writes [--samples 1000] [--folder FOLDER]``

Counts the bytes per sample that the process sends to the storage layer, from /proc/self/io: the log and finally the
file itself; with and without thumbnails, one by one (as from a camera) and many in one transaction (as from a folder).
Embeddings have 1,280 numbers, like those of EfficientNet-Lite0; thumbnails show the fake camera's frames.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras.fake import draw
from device.images import thumbnail
from device.store import ModelIdentity, NewSample, Store

from .machine import machine_info, parser_of, percentiles, write_result

DIMENSIONS = 1280


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="Samples per run.  [default: 1000]")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="Folder on the disk to measure, not on a tmpfs, where no bytes are counted.  [default: .]",
    )
    given = parser.parse_args()
    runs = {
        f"{'with' if pictures else 'without'} thumbnails, {'one by one' if at_once == 1 else f'{at_once} at once'}": (
            measure(given.folder, given.samples, pictures, at_once)
        )
        for pictures in (True, False)
        for at_once in (1, 32)
    }
    write_result({"dimensions": DIMENSIONS, "runs": runs, "machine": machine_info(0)}, given.out)


def measure(folder: Path, count: int, pictures: bool, at_once: int) -> dict[str, Any]:
    """Teach `count` samples, `at_once` per transaction, and return the bytes and times."""
    rng = np.random.default_rng(0)
    picture = thumbnail(draw("red", 1))
    times = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "state.db"
        before = _written()
        with Store.open(path, ModelIdentity("0" * 64, DIMENSIONS)) as store:
            for _ in range(count // at_once):
                samples = [_sample(rng, picture if pictures else None) for _ in range(at_once)]
                start = time.perf_counter()
                store.learn(samples)
                times.append(time.perf_counter() - start)
        written, size = _written() - before, path.stat().st_size
    done = count // at_once * at_once
    return {
        "bytes_written_per_sample": round(written / done),
        "file_bytes_per_sample": round(size / done),
        "thumbnail_bytes": len(picture) if pictures else 0,
        "transaction": percentiles(times),
    }


def _sample(rng: np.random.Generator, picture: bytes | None) -> NewSample:
    code = np.rint(4096 * rng.normal(size=DIMENSIONS) / DIMENSIONS**0.5).astype(np.int16)
    return NewSample("mug", code, time.time(), "0", 1, picture)


def _written() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


if __name__ == "__main__":
    main()
