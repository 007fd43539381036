"""How many photos per second do one and two workers of `edgetl embed` embed, and what do the exact sums cost?

Usage: ``python -m benchmarks.embed [MODEL] [--photos 1000]``

JPEG photos of 640 x 480 pixels are drawn, half of them per label, and embedded once per way. Each way starts in a process of its
own; its time includes the start of the workers. ``same`` says whether its files are equal to those of one worker. ``sum`` is what
a worker takes to sum up the codes of a full shard, ``merge`` what the main process takes to add the result of a worker.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.cameras.fake import draw
from device.heads.statistics import Statistics
from device.images import encode_jpeg
from edgetl.embedding.shards import shard_size

from .machine import model_to_measure
from .measurement import Measurement, Table, question_parser

WAYS = {"one worker": ["--workers", "1"], "two workers": ["--workers", "2"]}
WITH_DASK = {"two Dask workers": ["--engine", "dask", "--workers", "2"]}
SCENES = ("red", "blue")
DIMENSIONS = 1280
_RUN = """
import json, resource, sys
from edgetl.cli import main
main(sys.argv[1:], standalone_mode=False)
print(json.dumps([resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]))
"""


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("embed", __doc__, model=True)
    parser.add_argument("--photos", type=int, default=1000, help="Number of photos.  [default: 1000]")
    given = parser.parse_args()
    measured = Measurement("embed", 0)
    with tempfile.TemporaryDirectory() as folder:
        rows = _ways(Path(folder), model_to_measure(given.model), given.photos)
    sums = sum_costs()
    names = ("way", "seconds", "photos/s", "peak RAM main MB", "peak RAM worker MB", "same")
    ways = tuple(tuple(row[name] for name in names) for row in rows)
    tables = [Table(f"{given.photos} photos", names, ways)]
    result = measured.result([], tables, {"ways": rows, "sums": sums, "photos": given.photos})
    measured.finish(result, given, passed=all(row["same"] for row in rows))


def _ways(folder: Path, model: Path, count: int) -> list[dict[str, Any]]:
    write_photos(folder / "photos", count)
    rows, first = [], ""
    for number, (name, options) in enumerate((WAYS | WITH_DASK).items()):
        out = folder / str(number)
        began = time.perf_counter()
        words = ["embed", str(model), str(folder / "photos"), "--out", str(out), *options]
        command = [sys.executable, "-c", _RUN, *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        seconds = time.perf_counter() - began
        ram = json.loads(done.stdout.splitlines()[-1])
        found = content_digest(out)
        first = first or found
        rows.append(
            {
                "way": name,
                "seconds": round(seconds, 1),
                "photos/s": round(count / seconds, 1),
                "peak RAM main MB": round(ram[0] / 1024),
                "peak RAM worker MB": round(ram[1] / 1024) or None,
                "same": found == first,
            }
        )
    return rows


def write_photos(folder: Path, count: int) -> None:
    """Write `count` different JPEG photos, one folder per scene."""
    for number in range(count):
        scene = SCENES[number % len(SCENES)]
        (folder / scene).mkdir(parents=True, exist_ok=True)
        image = cv2.resize(draw(scene, number), (640, 480))
        image = image // 2 + np.random.default_rng(number).integers(0, 64, image.shape, np.uint8)  # no copies
        (folder / scene / f"{number:06d}.jpg").write_bytes(encode_jpeg(image))


def content_digest(folder: Path) -> str:
    """Return a checksum of the names and bytes of all files, without the lock."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def sum_costs(dimensions: int = DIMENSIONS, repeats: int = 3) -> dict[str, float]:
    """Return the processor seconds of summing up a full shard, and of adding it to the total."""
    count = shard_size(10**6)
    codes = np.random.default_rng(0).integers(-2000, 2000, (count, dimensions)).astype(np.int16)
    labels = [SCENES[number % len(SCENES)] for number in range(count)]
    part = Statistics(dimensions)
    began = time.process_time()
    part.add(codes, labels)
    summed = time.process_time() - began
    total = Statistics(dimensions)
    total.merge(part)
    began = time.process_time()
    for _ in range(repeats):
        total.merge(part)
    return {
        "shard": count,
        "sum_seconds": round(summed, 3),
        "merge_seconds": round((time.process_time() - began) / repeats, 4),
    }


if __name__ == "__main__":
    main()
