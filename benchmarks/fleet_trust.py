"""What can a lying device do to a fleet, does the server find it, and what does noise on the embeddings cost?

Usage: ``python -m benchmarks.fleet_trust [--sets digits,flower-photos5] [--devices 10] [--samples 30] [--seeds 3]``

Ten devices have 30 photos each, drawn at random; 300 others test the exact head of the sum, without any sample. One of the
devices lies, with statistics that samples could have: its labels are shifted to the next one, or drawn at random, or shifted and
counted a hundred times. "Excluded" is the sum without the devices that `device.fleet.influence` finds unlike the others. Noise is
that of ``edgetl fleet join --noise`` on all devices; epsilon is that of differential privacy of one embedding for delta 1e-5.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import embeddings
from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from device.fleet import Contribution, FleetModel, Total, pack_contribution
from device.fleet.influence import explained_by_others, unlike_the_others
from device.fleet.ledger import Ledger
from device.fleet.noise import add_noise, epsilon
from device.model.codes import Codes

RESULT = Path(__file__).parent / "results" / "fleet_trust.json"
TESTED = 300
NOISES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TIMES = 100

Samples = tuple[Codes, list[str]]


def main() -> None:
    """Measure and print a table per set."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--sets", default="digits,flower-photos5")
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warn_of_noise()
    result: dict[str, Any] = {"machine": machine_info(options.seeds), "sets": {}}
    for dataset in embeddings.load_each(options.sets.split(",")):
        rows = [measure(dataset, seed, options.devices, options.samples) for seed in range(options.seeds)]
        result["sets"][dataset.name] = found = _means(rows)
        _show(dataset.name, found)
    write_result(result, options.out)


def measure(dataset: embeddings.Dataset, seed: int, devices: int, samples: int) -> dict[str, Any]:
    """Return the accuracies of one draw."""
    rng = np.random.default_rng(seed)
    codes, labels = dataset.codes, np.asarray(dataset.labels)
    order = rng.permutation(len(labels))
    tested, pool = order[:TESTED], order[TESTED:]
    names = sorted(set(labels.tolist()))
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    own = [pool[at * samples : (at + 1) * samples] for at in range(devices)]
    honest: list[Samples] = [(codes[mine], labels[mine].tolist()) for mine in own]
    lies: dict[str, Callable[[Codes, list[str]], Samples]] = {
        "honest": lambda mine, theirs: (mine, theirs),
        "shifted": lambda mine, theirs: (mine, [following[label] for label in theirs]),
        "random": lambda mine, theirs: (mine, rng.permutation(theirs).tolist()),
        "shifted x100": lambda mine, theirs: (
            np.tile(mine, (_TIMES, 1)),
            [following[label] for label in theirs] * _TIMES,
        ),
    }
    model = FleetModel("0" * 64, codes.shape[1])

    def accuracy(total: Total) -> float:
        predicted = [found.label for found in total.head().predict_many(codes[tested])]
        return float(np.mean(np.array(predicted) == labels[tested]))

    found: dict[str, Any] = {"lies": {}, "noise": {}}
    for name, lie in lies.items():
        ledger = _ledger(model, [lie(*honest[0]), *honest[1:]])
        unlike = unlike_the_others(explained_by_others(ledger))
        found["lies"][name] = {
            "all": accuracy(ledger.total()),
            "excluded": accuracy(ledger.total(unlike)),
            "found": float("d0" in unlike),
            "wrongly found": float(len([device for device in unlike if device != "d0" or name == "honest"])),
        }
    for noise in NOISES:
        noisy = [(add_noise(mine, noise, b"%d" % at), theirs) for at, (mine, theirs) in enumerate(honest)]
        found["noise"][str(noise)] = accuracy(_ledger(model, noisy).total())
    return found


def _ledger(model: FleetModel, devices: list[Samples]) -> Ledger:
    ledger = Ledger(model)
    for at, (codes, labels) in enumerate(devices):
        ledger.put(f"d{at}", pack_contribution(Contribution.of(f"d{at}", model, codes, labels)))
    return ledger


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    lies = {
        name: {key: statistics.mean(row["lies"][name][key] for row in rows) for key in rows[0]["lies"][name]}
        for name in rows[0]["lies"]
    }
    noise = {
        name: {
            "accuracy": statistics.mean(row["noise"][name] for row in rows),
            "epsilon": epsilon(float(name)) if float(name) else None,
        }
        for name in rows[0]["noise"]
    }
    return {"lies": lies, "noise": noise}


def _show(name: str, found: dict[str, Any]) -> None:
    print(
        f"\n{name}\n| one of the devices | accuracy | excluded | found | honest ones found |\n|---|---|---|---|---|"
    )
    for lie, row in found["lies"].items():
        print(
            f"| {lie} | {row['all']:.3f} | {row['excluded']:.3f} | {row['found']:.0%} | {row['wrongly found']:.1f} |"
        )
    print("\n| noise | accuracy | epsilon |\n|---|---|---|")
    for noise, row in found["noise"].items():
        bound = "–" if row["epsilon"] is None else f"{row['epsilon']:.3g}"
        print(f"| {noise} | {row['accuracy']:.3f} | {bound} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
