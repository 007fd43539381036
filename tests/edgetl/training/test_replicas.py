"""Training on two devices and in two processes has the same result as on one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from converters.source import TrainedModel
from edgetl import finetune
from edgetl.errors import TrainingError
from edgetl.training.replicas import Replicas, find_replicas
from tests import tiny
from tests.edgetl.training.replica_process import SETTINGS, keep_tuned
from tests.edgetl.training.test_whole import make_phase, make_pipeline

REPOSITORY = Path(__file__).parents[3]


def start(way: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a process that trains."""
    command = [sys.executable, "-m", "tests.edgetl.training.replica_process", way, str(folder)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for all and return what they print; stop the others where one fails."""
    try:
        printed = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, printed, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in printed]


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine with ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def test_two_devices_train_as_one_does(tmp_path: Path) -> None:
    """36 photos in batches of 6, halves of 3: the weights after six epochs are equal up to rounding."""
    process = start("mirrored", tmp_path)
    alone = make_phase()
    alone.run(make_pipeline(tmp_path / "alone", batch=7), None)
    finish([process])
    together = np.load(tmp_path / "mirrored.npy").view(np.float32)
    assert np.allclose(together, alone._vector().view(np.float32), atol=1e-4)


@pytest.mark.usefixtures("tiny_backbone")
def test_two_processes_train_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first worker writes the model, the second leaves no file; batches of an odd number are divided unevenly."""
    tiny.write_photos(tmp_path / "photos")
    addresses = free_addresses(2)
    processes = [
        start(
            "worker",
            tmp_path,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]
    first, second = finish(processes)
    assert "worker 1 of 2: worker 0 writes the model" in second
    assert "worker 0 writes" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "together"]
    keep_tuned(monkeypatch.setattr)
    alone = finetune(tmp_path / "photos", tmp_path / "alone", **SETTINGS)
    metrics = json.loads((tmp_path / "together" / "metrics.json").read_text())
    assert metrics["epochs"]["all_kept"] == alone.metrics["epochs"]["all_kept"] > 0
    for one, other in zip(metrics["history"], alone.metrics["history"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    weights = TrainedModel.load(tmp_path / "together").backbone.get_weights()
    for mine, theirs in zip(alone.model.backbone.get_weights(), weights, strict=True):
        assert np.allclose(mine, theirs, atol=1e-4)


@pytest.fixture
def _fresh() -> Iterator[None]:
    """Let `find_replicas` look again, before and after."""
    find_replicas.cache_clear()
    yield
    find_replicas.cache_clear()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_wrong_configuration_of_workers_is_reported(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    """With an example; TensorFlow would wait for the others forever."""
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(TrainingError, match=r"TF_CONFIG .* expected"):
        find_replicas()


@pytest.mark.usefixtures("_fresh")
def test_a_single_worker_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a platform that always sets TF_CONFIG."""
    monkeypatch.setenv(
        "TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    replicas = find_replicas()
    assert (replicas.strategy, replicas.count, replicas.chief) == (None, 1, True)


def test_one_process_agrees_with_itself() -> None:
    """Values pass unchanged."""
    replicas = Replicas()
    assert replicas.agree([1.5, np.nan]).tolist()[0] == 1.5
    replicas.require_same(3, "the number of epochs")
