"""What does the HTTP API cost: predictions per second and latency against `predict_one` in Python?

Usage: ``python -m benchmarks.http_api [MODEL] [--seconds 5]``

`edgetl serve --no-camera` runs in a separate process with two labels taught. 1, 4 and 16 clients, threads of this process,
send JPEG photos of 640x480 one after another, each over a connection that stays open. The same photos are predicted in
this process without HTTP, from their JPEG bytes and from decoded images, with the same number of threads per prediction.
Rounds alternate, so that the load of a shared machine affects all of them; each figure is over all rounds. The clients'
own CPU time, which on a busy machine takes from the server, is included.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras.fake import draw
from device.images import Image, encode_jpeg, read_photo
from device.learner import Learner

from .machine import machine_info, model_to_measure, parser_of, percentiles, warn_of_noise, write_result

CLIENTS = (1, 4, 16)
THREADS = 1  # of the backbone
ROUNDS = 3
_HEADERS = {"Content-Type": "image/jpeg"}


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__, model=True)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="Seconds per case and round.  [default: 5]"
    )
    given = parser.parse_args()
    warn_of_noise()
    model = model_to_measure(given.model)
    images = [_picture(number) for number in range(20)]
    photos = [encode_jpeg(image, 90) for image in images]
    times: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, serving(model, Path(folder)) as port:
        teach(port, photos)
        with Learner.open(model, Path(folder) / "copy.db", threads=THREADS) as learner:
            learner.learn_many(images, [("one", "two")[number % 2] for number in range(len(images))])
            cases: dict[str, Callable[[], list[float]]] = {
                "predict_one": lambda: repeat(given.seconds, images, learner.predict_one),
                "predict_one, from JPEG": lambda: repeat(
                    given.seconds, photos, lambda photo: learner.predict_one(read_photo(photo))
                ),
            }
            for clients in CLIENTS:
                cases[f"HTTP, {clients} client{'s' * (clients > 1)}"] = lambda clients=clients: send(  # type: ignore[misc]  # binds now
                    port, photos, clients, given.seconds
                )
            for _ in range(ROUNDS):
                for name, measure in cases.items():
                    times.setdefault(name, []).append(measure())
    result = {name: summary(rounds, given.seconds) for name, rounds in times.items()}
    write_result(
        {"cases": result, "model": model.name, "threads": THREADS, "machine": machine_info()}, given.out
    )


def summary(rounds: list[list[float]], seconds: float) -> dict[str, Any]:
    """Return the predictions per second, of each round too, and the percentiles of the latency."""
    rates = [round(len(one) / seconds, 1) for one in rounds]
    return {
        "per_second": round(float(np.mean(rates)), 1),
        "rounds": rates,
        **percentiles([one for times in rounds for one in times]),
    }


def repeat(seconds: float, inputs: list[Any], call: Callable[[Any], object]) -> list[float]:
    """Call with one input after another for this time, and return the seconds of each call."""
    call(inputs[0])
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        call(inputs[len(times) % len(inputs)])
        times.append(time.perf_counter() - began)
    return times


def send(port: int, photos: list[bytes], clients: int, seconds: float) -> list[float]:
    """Send photos from this number of clients at the same time, and return the seconds of each request."""
    found: list[list[float]] = []

    def one() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            found.append(repeat(seconds, photos, lambda photo: request(connection, "predict", photo, 200)))

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < clients:
        raise RuntimeError(f"only {len(found)} of {clients} clients were answered")
    return [time for times in found for time in times]


def teach(port: int, photos: list[bytes]) -> None:
    """Teach the photos as two labels."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for number, photo in enumerate(photos):
            request(connection, f"samples?label={('one', 'two')[number % 2]}", photo, 201)


def request(connection: http.client.HTTPConnection, path: str, photo: bytes, status: int) -> dict[str, Any]:
    """Send a photo, and return the JSON of the answer, which must have this status."""
    connection.request("POST", f"/api/v1/{path}", photo, _HEADERS)
    answer = connection.getresponse()
    body: dict[str, Any] = json.loads(answer.read())
    if answer.status != status:
        raise RuntimeError(f"{path} was answered with {answer.status}: {body}")
    return body


@contextlib.contextmanager
def serving(model: Path, folder: Path) -> Iterator[int]:
    """Run a server without a camera in another process; yield its port."""
    command = [sys.executable, "-m", "edgetl", "serve", str(model), "--state", str(folder / "state.db")]
    options = ["--no-camera", "--port", "0", "--json", "--threads", str(THREADS)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(json.loads(process.stdout.readline())["url"].rstrip("/").rpartition(":")[2])
        finally:
            process.terminate()


def _picture(number: int) -> Image:
    doubled: Image = np.kron(draw(("red", "blue")[number % 2], number), np.ones((2, 2, 1), np.uint8))
    return doubled


if __name__ == "__main__":
    main()
