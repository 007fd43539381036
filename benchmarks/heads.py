"""How do our heads compare with their peers on frozen features: accuracy, order, forgetting, honesty, cost?

Usage: ``python -m benchmarks.heads [--only PART ...]``

A complete run takes about ten minutes on two cores once the embeddings are cached. Splits are nested: a method tunes
its parameters inside the training part.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from . import heads_costs as costs
from .embeddings import BACKBONE, load
from .heads_protocols import Task, bursts, class_incremental, full, honesty, k_shot
from .heads_targets import judged
from .heads_unknown import unknown
from .machine import machine_info, parser_of, warn_of_noise, write_result
from .peers import Contestant, contestants

SETS = ("elpv", "flower-photos5", "ants-bees", "digits", "digits-products")
PHOTOS = ("elpv", "flower-photos5", "ants-bees")
RESULT = Path(__file__).parent / "results" / "heads.json"
SEED = 2026


def main() -> None:
    """Run the benchmark and write its result."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--only", nargs="+", choices=sorted(_parts()), help="Run only these parts.")
    given = parser.parse_args()
    warn_of_noise()
    result: dict[str, Any] = {"backbone": f"{BACKBONE}, int8, frozen", "seed": SEED}
    with threadpool_limits(1):  # small products are slower on two threads; one thread keeps times comparable
        tasks = [Task(dataset) for dataset in map(load, SETS) if dataset is not None]
        result["sets"] = {
            task.name: {
                "samples": len(task.owners),
                "labels": len(task.labels),
                "dimensions": int(task.features["raw"].shape[1]),
            }
            for task in tasks
        }
        result["skipped"] = sorted(set(SETS) - {task.name for task in tasks})
        for name, part in _parts().items():
            if not given.only or name in given.only:
                began = time.perf_counter()
                result[name] = part(tasks)
                print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    result["targets"] = judged(result)
    write_result({**result, "machine": machine_info(SEED)}, given.out)


def _parts() -> dict[str, Callable[[list[Task]], Any]]:
    return {
        "full": _full,
        "k_shot": _k_shot,
        "class_incremental": _incremental,
        "honesty": lambda tasks: {task.name: honesty(task, 10, SEED) for task in tasks},
        "bursts": lambda tasks: {task.name: bursts(task, 20, SEED) for task in tasks},
        "unknown": lambda tasks: unknown([task for task in tasks if task.name in PHOTOS], SEED),
        "projection": lambda tasks: {
            task.name: costs.projected(task, SEED) for task in tasks if task.name in PHOTOS[:2]
        },
        "cost": _cost,
    }


def _full(tasks: list[Task]) -> Any:
    return {task.name: full(task, _allowed(task, contestants()), SEED) for task in tasks}


def _k_shot(tasks: list[Task]) -> Any:
    chosen = [one for one in contestants() if not one.slow and not one.name.startswith("softmax")]
    return {task.name: k_shot(task, chosen, 20, SEED) for task in tasks}


def _incremental(tasks: list[Task]) -> Any:
    chosen = [one for one in contestants() if one.streaming and not one.slow]
    return {task.name: class_incremental(task, _allowed(task, chosen), 2, SEED) for task in tasks}


def _allowed(task: Task, candidates: list[Contestant]) -> list[Contestant]:
    """Leave out contestants that take minutes on wide embeddings: River needs a dict per sample."""
    wide = task.features["raw"].shape[1] > 2000
    return [one for one in candidates if not (wide and one.name in ("River softmax", "softmax"))]


def _cost(tasks: list[Task]) -> Any:
    dataset = load("elpv") or load("digits-photos")
    photographed = load("digits-photos")
    if dataset is None or photographed is None:
        return {"skipped": "no photos to embed"}
    embedding = costs.embedding_time()
    return {
        "embedding": embedding,
        "update": costs.update_cost(dataset, embedding["p50_ms"]),
        "against_coral": costs.against_coral(Task(photographed), SEED),
        "stream": costs.stream(dataset),
        "state_bytes": costs.sizes(dataset),
    }


if __name__ == "__main__":
    main()
