"""Does one round over real Flower processes have the digest of one device that saw everything, with 2, 5 and 10 devices?

Usage: ``.venv-fleet/bin/python -m benchmarks.fleet_flower [--devices 2 5 10] [--rounds 3] [--samples 30]``

``edgetl fleet serve`` and one ``edgetl fleet join`` per device run on this machine, with TLS and the keys of the devices. Each
device has a state file with samples of five labels for a generic int8 EfficientNet-Lite0. After the first round, a device forgets
a third of its samples. The digest of each round is compared with that of a head that learned every present sample. "First round"
is the time from the start of all processes; most of it is importing Flower, several times on the same two cores.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import embeddings
from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from device.heads.exact import ExactHead
from device.learner.learner import identity_of
from device.model.codes import encode
from device.model.modelfile import ModelFile
from device.store import NewSample, Store
from edgetl.fleet.invitation import invite
from edgetl.fleet.joining import take_part
from edgetl.fleet.processes import free_port
from edgetl.fleet.serving import serve

RESULT = Path(__file__).parent / "results" / "fleet_flower.json"
_LABELS = 5
_TIMEOUT = 300.0


def main() -> None:
    """Measure and print a line per number of devices."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--devices", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=30)
    options = parser.parse_args()
    warn_of_noise()
    rows = []
    for devices in options.devices:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), devices, options.rounds, options.samples))
        print(rows[-1])
    equal = all(row["equal"] for row in rows)
    write_result({"machine": machine_info(0), "equal": equal, "rows": rows}, options.out)
    sys.exit(0 if equal else 1)


def measure(folder: Path, devices: int, rounds: int, samples: int) -> dict[str, Any]:
    """Run a fleet and return what its rounds took, and whether each digest was right."""
    model = ModelFile.open(embeddings.model_file())
    port, states = free_port(), [folder / f"d{at}.db" for at in range(devices)]
    rng = np.random.default_rng(devices)
    for state in states:
        codes = encode(rng.standard_normal((samples, model.manifest.dimensions)))
        labels = [f"label {number}" for number in rng.integers(_LABELS, size=samples)]
        with Store.open(state, identity_of(model)) as store:
            store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
        invite(folder / "fleet", state.stem, f"127.0.0.1:{port}", folder / f"{state.stem}.invitation")
    stop = threading.Event()

    def join(state: Path) -> None:
        with closing(take_part(model.path, folder / f"{state.stem}.invitation", state=state)) as events:
            for _ in events:
                if stop.is_set():
                    return

    threads = [threading.Thread(target=join, args=(state,)) for state in states]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    found: list[dict[str, Any]] = []
    first = 0.0
    expected = _digest(states)
    with closing(
        serve(
            model.path,
            folder / "fleet",
            port=port,
            devices=devices,
            rounds=rounds,
            every=5,
            timeout=_TIMEOUT,
        )
    ) as events:
        for event in events:
            if event["event"] != "round":
                continue
            if not found:
                first = time.monotonic() - started
                forgotten = dict.fromkeys(range(1, 1 + samples // 3))
                with Store.open(states[0]) as store:
                    store.relabel(forgotten)
            found.append(event | {"equal": event["digest"] in (expected, _digest(states))})
    stop.set()
    for state in states:  # each device notices its own end with the next change
        with Store.open(state) as store:
            store.set_setting("fleet", None)
    for thread in threads:
        thread.join()
    last = found[-1]
    return {
        "devices": devices,
        "equal": all(event["equal"] for event in found) and last["digest"] == _digest(states),
        "first_round_seconds": first,
        "round_seconds": [event["seconds"] for event in found],
        "megabytes_up": found[0]["bytes_up"] / 1e6 / devices,
        "megabytes_down": found[0]["bytes_down"] / 1e6 / devices,
        "late": sorted({device for event in found for device in event["late"]}),
    }


def _digest(states: list[Path]) -> str:
    """Return the digest of a head that learned all present samples."""
    head: ExactHead | None = None
    for state in states:
        with Store.open(state, read_only=True) as store:
            head = head or ExactHead(store.identity.dimensions)
            for _, labels, codes in store.taught_chunks():
                head.learn_many(codes, labels)
    assert head is not None
    return head.digest()


if __name__ == "__main__":
    main()
