"""What does a round of a fleet cost with 10, 100 and 1,000 devices, in a tree of a million, and beside federated averaging?

Usage: ``.venv-simulation/bin/python -m benchmarks.fleet_scale`` (``make .venv-simulation/ready`` makes the environment)

The first part runs in Flower's simulation engine: each device has 20 samples, drawn with replacement from the flowers, and
sends its exact statistics. The digest of the sum is compared with that of one head that learned all samples. The peak RAM is that
of the process of the server. The second part adds contributions in a tree of three levels, and computes from it what a tree of a
million devices costs. The third part divides the flowers among ten devices and compares one round of the exact head with Flower's
FedAvg of the softmax head, for labels that are evenly divided and for labels that are not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from device.fleet import pack_contribution

from .fleet_devices import PER_DEVICE, Split, assign, contribution, exact_round, one_device
from .fleet_tree import paper_rows, tree_sum
from .measurement import Measurement, Table, question_parser

SIZES = (10, 100, 1000)
TREE, FAN = 125, 5  # three levels
MILLION, WIDE, SAMPLES = 10**6, 100, 100
DEVICES, ROUNDS = 10, 40
EVENNESS = {"even": float("inf"), "uneven": 0.3}
EPOCHS = 5  # per round; with one, FedAvg needed more than 60 rounds
RATE = 1.0  # that of the softmax head of a device


def main() -> None:
    """Measure and write the result."""
    if len(sys.argv) > 1 and sys.argv[1] == "child":
        _child(json.loads(sys.argv[2]))
        return
    parser = question_parser("fleet_scale", __doc__)
    parser.add_argument("--data", default="flower-photos5", help="Set of `benchmarks.embeddings`.")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="Numbers of devices to simulate.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="Rounds of FedAvg.")
    parser.add_argument("--dimensions", type=int, help="Use only the first numbers of each embedding.")
    parser.add_argument(
        "--join", type=Path, nargs="*", default=(), help="Results of other runs, whose parts are added."
    )
    given = parser.parse_args()
    measured = Measurement("fleet_scale", 0)
    result = measured.result([], [], _measure(given))
    for path in given.join:
        join(result, json.loads(path.read_text(encoding="utf-8")))
    result["tables"] = [asdict(table) for table in tables(result)]
    measured.finish(result, given, passed=all(row["exact"] for row in result["simulated"]))


def join(result: dict[str, Any], other: dict[str, Any]) -> None:
    """Add the parts that another run measured, and its machine, to a result."""
    rows = [*result["simulated"], *other["simulated"]]
    result["simulated"] = sorted(rows, key=lambda row: (row["dimensions"], row["devices"]))
    result["averaged"] = result["averaged"] or other["averaged"]
    result["runs"] = [*result.get("runs", []), other["machine"]]


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    from .embeddings import load
    from .fleet_simulation import save_split

    data = load(given.data)
    if data is None:
        raise SystemExit(
            f"the photos of {given.data} are missing; set EDGETL_DEV_DATA to the development data"
        )
    split = Split.of(data.embeddings[:, : given.dimensions], data.labels)
    with tempfile.TemporaryDirectory() as folder:
        save_split(split, Path(folder) / "split.npz")
        simulated = [_simulated(split, size) for size in given.sizes]
        averaged = _compared(split, given.rounds) if given.rounds else []
    return {
        "simulated": simulated,
        "tree": tree(split),
        "averaged": averaged,
        "versions": {name: _version(name) for name in ("flwr", "ray")},
        "dimensions": split.model.dimensions,
    }


def _simulated(split: Split, size: int) -> dict[str, Any]:
    found = _in_child({"devices": size})
    return found | {
        "exact": found["digest"] == one_device(split, size),
        "dimensions": split.model.dimensions,
    }


def _compared(split: Split, rounds: int) -> list[dict[str, Any]]:
    """Return rounds and bytes of both ways, per way to divide the labels."""
    from .fleet_simulation import simulate_fedavg

    rows = []
    for name, evenness in EVENNESS.items():
        accuracy, sizes, returned = exact_round(split, assign(split, DEVICES, evenness))
        row: dict[str, Any] = {
            "labels": name,
            "devices": DEVICES,
            "exact": {
                "accuracy": round(accuracy, 4),
                "bytes_up": round(float(np.mean(sizes))),
                "bytes_down": returned,
            },
        }
        found = simulate_fedavg(split, DEVICES, evenness, rounds=rounds, epochs=EPOCHS, rate=RATE)
        row["fedavg"] = reached(found, accuracy)
        rows.append(row)
    return rows


def reached(found: dict[str, Any], accuracy: float) -> dict[str, Any]:
    """Return after how many rounds, and bytes per device, FedAvg has an accuracy; None if it never has."""
    accuracies = found["accuracies"][1:]  # the first is that of the start
    rounds = next((number for number, one in enumerate(accuracies, 1) if one >= accuracy), None)
    size = found["bytes_per_round_each_way"]
    return {
        "rounds": rounds,
        "bytes_up": None if rounds is None else rounds * size,
        "bytes_down": None if rounds is None else rounds * size,
        "best": max(accuracies),
        "best_round": 1 + accuracies.index(max(accuracies)),
        "accuracies": accuracies,
    }


def tree(split: Split) -> dict[str, Any]:
    """Return what each level of a small tree cost, and what a tree of a million devices would cost."""
    messages = [pack_contribution(contribution(split, device)) for device in range(TREE)]
    total, levels = tree_sum(split.model, messages, FAN)
    flat, _ = tree_sum(split.model, messages, len(messages))
    assert total.digest() == flat.digest() == one_device(split, TREE)
    return {
        "devices": TREE,
        "fan": FAN,
        "levels": [asdict(level) for level in levels],
        "million": paper_rows(split.model, levels, MILLION, WIDE, SAMPLES),
    }


def tables(result: dict[str, Any]) -> list[Table]:
    """Return the tables of a result."""
    names = (
        "devices", "dimensions", "bytes_up", "bytes_down", "seconds", "server_processor_seconds", "server_ram_before_mb",
        "server_ram_peak_mb", "exact",
    )  # fmt: skip
    simulated = tuple(tuple(row[name] for name in names) for row in result["simulated"])
    note = f"{PER_DEVICE} samples per device; bytes are per device."
    averaged = []
    for row in result["averaged"]:
        for way in ("exact", "fedavg"):
            one = {"rounds": 1} | row[way]
            best = one.get("best", one.get("accuracy"))
            averaged.append((row["labels"], way, one["rounds"], one["bytes_up"], one["bytes_down"], best))
    columns = ("labels", "way", "rounds to the accuracy of exact", "bytes up", "bytes down", "best accuracy")
    million = tuple(tuple(row) for row in result["tree"]["million"])
    return [
        Table("A round in Flower's simulation", names, simulated, note),
        Table(
            "A tree of a million devices, computed",
            ("nodes", "messages", "bytes", "processor seconds"),
            million,
        ),
        Table("Beside federated averaging", columns, tuple(averaged)),
    ]


def _in_child(job: dict[str, Any]) -> dict[str, Any]:
    """Simulate in a process of its own, so that its peak RAM is that of one fleet."""
    command = [sys.executable, "-m", "benchmarks.fleet_scale", "child", json.dumps(job)]
    # Ray runs its workers at the priority 15, behind everything else on a busy machine
    # and ends if they do not start within half a minute
    quiet = {"RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "600"}
    quiet |= {"RAY_agent_register_timeout_ms": "600000"}
    quiet |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | quiet)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(job, {name: value for name, value in found.items() if name != "accuracies"}, file=sys.stderr)
    return found


def _child(job: dict[str, Any]) -> None:
    from .fleet_simulation import load_split, simulate_round

    found = simulate_round(load_split(), job["devices"])
    print(json.dumps(found), flush=True)


def _version(name: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
