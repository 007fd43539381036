"""What does the page cost: its weight over the wire, and the CPU time that viewers take from the loop?

Usage: ``python -m benchmarks.page [MODEL] [--seconds 8]``

`edgetl serve` runs in a separate process on drawn photos of 640x480 at 15 frames per second, with two labels taught.
Its CPU time is read from /proc without viewers and while 1, 4 and 10 viewers read the pictures and events: of the
whole process, which mostly embeds, and of the thread that answers viewers, which shows the cost of one viewer. The
viewers' own CPU time is not counted; encoding, which is done once for all viewers, is timed separately. The weight is
what a browser's first visit transfers, headers included, with and without compression; a second visit transfers only
the headers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras.fake import draw
from device.images import Image, encode_jpeg, preview
from device.page.loop import QUALITY

from .figures import Figure
from .machine import model_to_measure, percentiles
from .measurement import Measurement, Table, question_parser

VIEWERS = (0, 1, 4, 10)  # the page accepts 12, and counting frames reads the events too
FPS = 15
_TICKS = os.sysconf("SC_CLK_TCK")
# not the icon that only iOS loads, when the page is added to the home screen
_LINKS = re.compile(r'(?<!apple-touch-icon" )(?:src|href)="(/[^"]+)"|from "\./([^"]+)"')


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("page", __doc__, model=True)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="Seconds per number of viewers.  [default: 8]"
    )
    given = parser.parse_args()
    model = model_to_measure(given.model)
    measurement = Measurement("page")
    with tempfile.TemporaryDirectory() as folder, _serving(model, Path(folder)) as (process, port):
        weight = weigh(port)
        watched = [_watched(process, port, number, given.seconds) for number in VIEWERS]
    result = {
        "weight": weight,
        "encode": time_encoding(),
        "viewers": watched,
        "answering_percent_per_viewer": per_viewer(watched),
        "fps": FPS,
        "model": model.name,
    }
    measurement.finish(measurement.result(figures(result), [table(result)], result), given)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared."""
    return [
        Figure("first visit", round(result["weight"]["bytes"] / 1000, 1), "kB", tolerance=1.1),
        Figure(
            "answering a viewer",
            result["answering_percent_per_viewer"],
            "% of a core",
            tolerance=1.6,
            slack=0.3,
        ),
        Figure("encoding a frame, once for all viewers", result["encode"]["p50_ms"], "ms", tolerance=1.6),
    ]


def table(result: dict[str, Any]) -> Table:
    """Return what viewers cost."""
    columns = ("viewers", "cpu_percent", "answering_percent", "fps", "kB_per_second_and_viewer")
    shown = (
        "viewers",
        "CPU of the server, % of a core",
        "of this, answering",
        "frames per second",
        "kB per second and viewer",
    )
    return Table("Viewers", shown, tuple(tuple(row[name] for name in columns) for row in result["viewers"]))


def weigh(port: int) -> dict[str, int]:
    """Return the number and bytes of the files that a first visit loads: the page, and what it and its scripts link."""
    wanted, seen = ["/", "/lang/en.json"], {}  # one file of texts, for a browser in English
    while wanted:
        path = wanted.pop()
        body, plain = _transfer(port, path, "identity")
        seen[path] = (plain, _transfer(port, path, "gzip")[1])
        if path == "/" or path.endswith(".js"):
            found = [one or f"/{other}" for one, other in _LINKS.findall(body.decode())]
            wanted += [link for link in dict.fromkeys(found) if link not in seen and link not in wanted]
            wanted = [link for link in wanted if not link.startswith("/api/")]
    plain, packed = (sum(sizes[kind] for sizes in seen.values()) for kind in (0, 1))
    return {"files": len(seen), "bytes": packed, "bytes_uncompressed": plain}


def time_encoding(rounds: int = 200) -> dict[str, float]:
    """Time the work that is done once for all viewers: shrinking a frame of 640x480 if needed, and its JPEG."""
    picture = _picture(0)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        encode_jpeg(preview(picture), QUALITY)
        times.append(time.perf_counter() - began)
    return percentiles(times)


def per_viewer(watched: list[dict[str, Any]]) -> float:
    """Return the CPU time of the answering thread per additional viewer (a slope), in percent of a core."""
    viewers = np.array([one["viewers"] for one in watched], float)
    percent = np.array([one["answering_percent"] for one in watched], float)
    return round(float(np.polyfit(viewers, percent, 1)[0]), 2)


def _picture(number: int) -> Image:
    doubled: Image = np.kron(draw(("red", "blue")[number // 30], number), np.ones((2, 2, 1), np.uint8))
    return doubled


def _transfer(port: int, path: str, encoding: str) -> tuple[bytes, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept-Encoding": encoding})
        answer = connection.getresponse()
        head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
        body = answer.read()
    return body, head + len(body)


@contextlib.contextmanager
def _serving(model: Path, folder: Path) -> Iterator[tuple[int, int]]:
    photos = folder / "photos"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number:03}.jpg").write_bytes(encode_jpeg(_picture(number), 95))
    command = [sys.executable, "-m", "edgetl", "serve", str(model), "--state", str(folder / "state.db")]
    options = ["--camera", str(photos), "--loop", "--fps", str(FPS), "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(json.loads(process.stdout.readline())["url"].rstrip("/").rpartition(":")[2])
            _teach(port)
            yield process.pid, port
        finally:
            process.terminate()


def _teach(port: int) -> None:
    """Teach two labels, so that every frame is predicted too."""
    headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    for number in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(connection):
            body = json.dumps({"label": ("one", "two")[number % 2], "hold": ""})
            connection.request("POST", "/api/teach", body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"teaching failed: {answer.read().decode()}")


def _watched(process: int, port: int, viewers: int, seconds: float) -> dict[str, Any]:
    """Measure the server's CPU time, frames and bytes with this number of viewers."""
    received = [0] * viewers
    done = threading.Event()
    paths = ("/api/stream.mjpg", "/api/events")
    threads = [
        threading.Thread(target=_view, args=(port, path, received, number, done))
        for number in range(viewers)
        for path in paths
    ]
    for thread in threads:
        thread.start()
    time.sleep(1.0)  # until all viewers are connected
    cpu, answering, frame, sent = _cpu(process), _cpu(process, process), _frame(port), sum(received)
    began = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    cpu, answering = _cpu(process) - cpu, _cpu(process, process) - answering
    frames, sent = _frame(port) - frame, sum(received) - sent
    done.set()
    for thread in threads:
        thread.join()
    return {
        "viewers": viewers,
        "cpu_percent": round(100 * cpu / took, 1),  # of one core
        "answering_percent": round(100 * answering / took, 1),
        "fps": round(frames / took, 1),
        "kB_per_second_and_viewer": round(sent / took / 1000 / viewers) if viewers else 0,
    }


def _view(port: int, path: str, received: list[int], number: int, done: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        while not done.is_set():
            part = answer.read1(65536)
            if not part:
                raise RuntimeError(f"{path} ended")
            received[number] += len(part)


def _cpu(process: int, thread: int | None = None) -> float:
    """Return the CPU seconds of a process, or of one of its threads; the first thread answers viewers."""
    place = f"/proc/{process}/task/{thread}/stat" if thread else f"/proc/{process}/stat"
    fields = Path(place).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime


def _frame(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        connection.request("GET", "/api/events")
        answer = connection.getresponse()
        while True:
            line = answer.readline()
            if line.startswith(b"data: "):
                return int(json.loads(line[6:])["frame"])
            if not line:
                raise RuntimeError(f"the events ended with status {answer.status}")


if __name__ == "__main__":
    main()
