"""A fleet over real Flower: SuperLink and SuperNodes as processes on this machine, with TLS and the keys of devices.

Flower has an environment of its own: `make .venv-fleet/ready`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest

from device.fleet import contribution_of
from device.fleet.membership import leave, membership_in
from device.heads.exact import ExactHead
from device.learner.learner import identity_of
from device.learner.shared import load_shared
from device.model.codes import encode
from device.model.modelfile import ModelFile
from device.store import NewSample, Store
from edgetl.fleet.processes import free_port
from tests import tiny

REPOSITORY = Path(__file__).parents[3]
PATIENCE = 300.0  # seconds; several processes import Flower at the same time
DEVICES = ("barn", "gate", "shed")


@pytest.fixture(scope="module")
def flower() -> Path:
    """Return a Python with Flower; skip the test where there is none, or fail where it is required."""
    python = Path(os.environ.get("EDGETL_FLOWER_PYTHON", REPOSITORY / ".venv-fleet" / "bin" / "python"))
    if python.exists() and subprocess.run([python, "-c", "import flwr"], check=False).returncode == 0:
        return python
    problem = "Flower is not installed: make .venv-fleet/ready"
    if os.environ.get("EDGETL_FLOWER") == "required":
        pytest.fail(problem)
    pytest.skip(problem)


class Command:
    """A running command of ``edgetl fleet`` with the events that it writes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self._stopped = process, False
        self._lines: Queue[str] = Queue()
        self.seen: list[dict[str, Any]] = []
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: Any) -> None:
        for line in output:
            self._lines.put(line)

    def stop(self) -> None:
        """Stop it once, as Ctrl-C does."""
        if not self._stopped:
            self._stopped = True
            self.process.send_signal(signal.SIGINT)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next event that is wanted."""
        while True:
            try:
                event: dict[str, Any] = json.loads(self._lines.get(timeout=PATIENCE))
            except Empty:
                pytest.fail(f"no such event within {PATIENCE:g} s, only {self.seen}")
            self.seen.append(event)
            if wanted(event):
                return event


@contextmanager
def started(python: Path, folder: Path, *arguments: object) -> Iterator[Command]:
    """Run ``edgetl fleet ... --json`` in a folder, and stop it as Ctrl-C does."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (folder / f"{arguments[0]}-{arguments[2]}.err".replace("/", "")).open("wb") as errors:
        process = subprocess.Popen(
            [python, "-m", "edgetl", "fleet", *map(str, arguments), "--json"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        command = Command(process)
        try:
            yield command
        finally:
            command.stop()


def teach(folder: Path, name: str, seed: int) -> None:
    """Write a state file with 20 samples."""
    identity = identity_of(ModelFile.open(folder / "mugs.tflite"))
    rng = np.random.default_rng(seed)
    codes = encode(rng.standard_normal((20, identity.dimensions)))
    labels = [f"label {number}" for number in rng.integers(seed + 2, size=20)]
    with Store.open(folder / f"{name}.db", identity) as store:
        store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])


def everything(folder: Path, names: tuple[str, ...]) -> str:
    """Return the digest of a head that learned every sample of these devices."""
    head = ExactHead(tiny.DIMENSIONS)
    for name in names:
        with Store.open(folder / f"{name}.db", read_only=True) as store:
            for _, labels, codes in store.taught_chunks():
                head.learn_many(codes, labels)
    return head.digest()


def test_a_fleet_over_flower_learns_forgets_and_is_left(flower: Path, tmp_path: Path) -> None:
    """Three devices, a stranger whose key was removed, and rounds until each change has arrived."""
    (tmp_path / "mugs.tflite").write_bytes(tiny.TINY.read_bytes())
    port = free_port()

    def invite(name: str, *more: str) -> None:
        command = [flower, "-m", "edgetl", "fleet", "invite", name, "--address", f"127.0.0.1:{port}", *more]
        subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=True
        )  # fmt: skip

    for seed, name in enumerate(DEVICES):
        teach(tmp_path, name, seed)
        invite(name)
    invite("stranger")
    (tmp_path / "fleet" / "devices" / "stranger.pub").unlink()
    with ExitStack() as stack:
        options = ["--port", port, "--devices", 3, "--every", 0.5, "--timeout", PATIENCE]
        server = stack.enter_context(started(flower, tmp_path, "serve", "mugs.tflite", *options))
        devices = {
            name: stack.enter_context(
                started(
                    flower, tmp_path, "join", "mugs.tflite", f"{name}.invitation", "--state", f"{name}.db"
                )
            )
            for name in DEVICES
        }
        stranger = stack.enter_context(
            started(flower, tmp_path, "join", "mugs.tflite", "stranger.invitation", "--state", "stranger.db")
        )

        first = server.until(lambda event: event["event"] == "round")
        assert sorted(first["contributed"]) == sorted(first["received"]) == list(DEVICES)
        assert first["digest"] == everything(tmp_path, DEVICES)
        for name in DEVICES:
            assert devices[name].until(lambda event: event["event"] == "received")["devices"] == 2
            with Store.open(tmp_path / f"{name}.db", read_only=True) as store:
                shared, own = load_shared(store), contribution_of(store, name)
            assert shared is not None
            assert shared.samples == 40 == sum(first["counts"].values()) - own.samples

        with Store.open(tmp_path / "gate.db") as store:
            store.relabel(dict.fromkeys(range(1, 8), None))
        with Store.open(tmp_path / "shed.db") as store:
            assert leave(store)
        # in one round or in two, as it happens
        expected = everything(tmp_path, ("barn", "gate"))
        server.until(lambda event: event["event"] == "round" and event["digest"] == expected)
        rounds = [event for event in server.seen if event["event"] == "round"][1:]
        assert [event["contributed"] for event in rounds if event["contributed"]] == [["gate"]]
        assert [event["left"] for event in rounds if event["left"]] == [["shed"]]
        assert {"barn"} <= {device for event in rounds for device in event["unchanged"]}
        with Store.open(tmp_path / "shed.db", read_only=True) as store:
            assert load_shared(store) is None
            assert membership_in(store) is None

        stranger.until(lambda event: event["event"] == "disconnected")
        assert not any("stranger" in json.dumps(event) for event in server.seen)
        for command in (server, stranger, *devices.values()):  # all at once, because each takes a moment
            command.stop()
