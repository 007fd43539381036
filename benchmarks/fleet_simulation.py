"""The fleets of `benchmarks.fleet_scale` in Flower's simulation engine, which runs the devices in Ray's processes.

Only this module imports Flower; it runs in an environment of its own (``make .venv-simulation/ready``).
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.fleet import Contribution, Total, pack_contribution, unpack_contribution
from device.heads.trainer import VARIABLES, empty_weights

from .fleet_devices import Split, assign, contribution, train_locally
from .machine import process_memory

WAVE = 50  # messages that are under way at the same time; more of them would wait in the server's RAM
_DATA = "EDGETL_FLEET_DATA"
_TIMEOUT = 3600.0


def save_split(split: Split, path: Path) -> None:
    """Write a split where the processes of the devices find it."""
    np.savez(path, **{name: getattr(split, name) for name in Split.__annotations__})
    os.environ[_DATA] = str(path)


def load_split() -> Split:
    """Return the split that `save_split` wrote; a process reads it once."""
    return _read(os.environ[_DATA])


@functools.cache
def _read(path: str) -> Split:
    with np.load(path, allow_pickle=False) as arrays:
        return Split(**{name: arrays[name] for name in Split.__annotations__})


def simulate_round(split: Split, devices: int) -> dict[str, Any]:
    """Run one round of exact statistics with this number of devices.

    Returns:
        Digest of the sum, bytes up and down per device, seconds, processor seconds of the server, and its RAM in MB.
    """
    found: dict[str, Any] = {}

    def serve(grid: Any, context: Any) -> None:
        before, began, own = process_memory("VmRSS"), time.perf_counter(), time.thread_time()
        total, up = Total(split.model), 0
        nodes = _nodes(grid, devices)
        for start in range(0, len(nodes), WAVE):
            for answer in _ask(grid, nodes[start : start + WAVE], {"step": "contribute"}):
                up += len(answer["data"])
                total.add(unpack_contribution(answer["data"], split.model, answer["device"]))
        counted = time.perf_counter() - began
        sent = pack_contribution(Contribution("fleet", split.model, total.sums))
        for start in range(0, len(nodes), WAVE):
            for answer in _ask(grid, nodes[start : start + WAVE], {"step": "receive", "data": sent}):
                assert answer["digest"] == hashlib.sha256(sent).hexdigest()
        found.update(
            devices=devices,
            samples=total.samples,
            digest=total.digest(),
            bytes_up=round(up / devices),
            bytes_down=len(sent),
            seconds_to_the_sum=round(counted, 1),
            seconds=round(time.perf_counter() - began, 1),
            server_processor_seconds=round(time.thread_time() - own, 1),
            server_ram_before_mb=round(before / 2**20),
            server_ram_peak_mb=round(process_memory("VmHWM") / 2**20),
        )

    _run(serve, _contribute, devices)
    return found


def simulate_fedavg(
    split: Split, devices: int, evenness: float, *, rounds: int, epochs: int, rate: float
) -> dict[str, Any]:
    """Average the softmax head with Flower's FedAvg, and return the accuracy after each round and the bytes per round.

    The devices train in this process, one after another: what is sent, and what becomes of it, is the same as with Ray.
    """
    from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
    from flwr.serverapp.strategy import FedAvg

    accuracies: list[float] = []

    def evaluate(number: int, arrays: Any) -> Any:
        weights = dict(zip(VARIABLES, arrays.to_numpy_ndarrays(), strict=False))
        accuracies.append(split.accuracy(weights["W"], weights["b"], split.classes))
        return MetricRecord({"accuracy": accuracies[-1]})

    weights = empty_weights(split.model.dimensions, len(split.classes))
    strategy = FedAvg(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=devices, min_available_nodes=devices
    )
    strategy.start(
        grid=_InProcess(devices),
        initial_arrays=ArrayRecord([weights["W"], np.zeros_like(weights["b"])]),
        num_rounds=rounds,
        train_config=ConfigRecord({"epochs": epochs, "rate": rate, "devices": devices, "evenness": evenness}),
        evaluate_fn=evaluate,
    )
    size = 4 * (split.model.dimensions + 1) * len(split.classes)
    return {"accuracies": [round(one, 4) for one in accuracies], "bytes_per_round_each_way": size}


class _InProcess:
    """Flower's grid, as far as its strategies use it, with devices in this process."""

    def __init__(self, devices: int) -> None:
        from flwr.supercore.task_identity import TaskIdentity

        self._devices = devices
        # messages name the program that sends them; Flower sets this before it starts a program
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 0

    def get_node_ids(self) -> list[int]:
        """Return the numbers of the devices, from 1."""
        return list(range(1, self._devices + 1))

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Any]:
        """Deliver messages, and return the answers."""
        return [_train(message, _Device(message.metadata.dst_node_id - 1)) for message in messages]


class _Device:
    """The context of a device: its number."""

    def __init__(self, number: int) -> None:
        self.node_config = {"partition-id": number}


def _run(serve: Any, answer: Any, devices: int) -> None:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    server, client = ServerApp(), ClientApp()
    server.main()(serve)
    client.query()(answer)
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=devices,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": os.cpu_count() or 1, "include_dashboard": False},
        },
    )


def _contribute(message: Any, context: Any) -> Any:
    """Answer the server on a device."""
    from flwr.app import ConfigRecord, Message, RecordDict

    split, device = load_split(), int(context.node_config["partition-id"])
    asked = dict(message.content["fleet"])
    if asked["step"] == "contribute":
        fields = {"device": f"device-{device}", "data": pack_contribution(contribution(split, device))}
    else:
        fields = {"digest": hashlib.sha256(asked["data"]).hexdigest()}
    return Message(RecordDict({"fleet": ConfigRecord(fields)}), reply_to=message)


def _train(message: Any, context: Any) -> Any:
    """Train the softmax head on a device."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

    split, device = load_split(), int(context.node_config["partition-id"])
    chosen, arrays = message.content["config"], message.content["arrays"].to_numpy_ndarrays()
    part = assign(split, int(chosen["devices"]), float(chosen["evenness"]))[device]
    empty = empty_weights(split.model.dimensions, len(split.classes))
    weights = train_locally(
        split, part, empty | {"W": arrays[0], "b": arrays[1]},
        epochs=int(chosen["epochs"]), rate=float(chosen["rate"]), seed=int(chosen["server-round"]),
    )  # fmt: skip
    content = {
        "arrays": ArrayRecord([weights["W"], weights["b"]]),
        "metrics": MetricRecord({"num-examples": len(part)}),
    }
    return Message(RecordDict(content), reply_to=message)


def _nodes(grid: Any, devices: int) -> list[int]:
    while len(nodes := list(grid.get_node_ids())) < devices:
        time.sleep(0.1)
    return nodes


def _ask(grid: Any, nodes: list[int], fields: dict[str, Any]) -> list[dict[str, Any]]:
    from flwr.app import ConfigRecord, Message, MessageType, RecordDict

    sent = [
        Message(
            RecordDict({"fleet": ConfigRecord(dict(fields))}),
            dst_node_id=node,
            message_type=MessageType.QUERY,
        )
        for node in nodes
    ]
    answers = [dict(reply.content["fleet"]) for reply in grid.send_and_receive(sent, timeout=_TIMEOUT)]
    assert len(answers) == len(nodes)
    return answers
