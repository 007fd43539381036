"""How often is an ordinary label reported as holding two things, and how often are two labels joined into one?

Per set and number of samples per label: the share of the labels that `device.heads.splits` reports as they are, and the
share of the pairs of labels that it reports when half of the samples of each are joined into one label; other labels
stay. A set of two labels has none left to compare with when both are joined.

Usage: python -m benchmarks.splits [--shots 40 100] [--draws 2] [--pairs 12] [--sets NAME...]
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads.splits import find_splits
from device.heads.threads import one_blas_thread
from device.model.codes import Codes

from .embeddings import load_each
from .few import SETS
from .machine import machine_info, parser_of, write_result

RESULT = Path(__file__).parent / "results" / "splits.json"
_SEED = 5

Places = NDArray[np.int64]


def main() -> None:
    """Run the benchmark, print its table and write `results/splits.json`."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", nargs="+", type=int, default=[40, 100])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=12)
    options = parser.parse_args()
    rows = []
    for dataset in load_each(options.sets):
        _, owners = np.unique(dataset.labels, return_inverse=True)
        for shots in options.shots:
            with one_blas_thread():
                found = [
                    _draw(dataset.codes, owners, shots, options.pairs, np.random.default_rng([_SEED, draw]))
                    for draw in range(options.draws)
                ]
            rows.append({"set": dataset.name, "shots": shots, **_sum(found)})
            print(_line(rows[-1]), flush=True)
    write_result({"machine": machine_info(_SEED), "rows": rows}, options.out)


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULT.exists():
        return ""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    lines = ["| set | samples per label | ordinary labels reported | two labels joined into one reported |"]
    lines.append("|---" * 4 + "|")
    lines += [
        f"| {row['set']} | {row['shots']} | {row['ordinary'][0]} of {row['ordinary'][1]} | {_joined(row)} |"
        for row in rows
    ]
    return "\n" + "\n".join(lines) + "\n"


def _joined(row: dict[str, Any]) -> str:
    found, count = row["joined"]
    return f"{found} of {count}" if count else ""


def _line(row: dict[str, Any]) -> str:
    return f"{row['set']}, {row['shots']} per label: ordinary {row['ordinary']}, joined {row['joined']}"


def _sum(found: list[tuple[int, int, int, int]]) -> dict[str, list[int]]:
    totals = np.sum(found, axis=0).tolist()
    return {"ordinary": totals[:2], "joined": totals[2:]}


def _draw(
    codes: Codes, owners: Places, shots: int, most: int, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return the labels reported, the labels, the joined pairs reported and the joined pairs."""
    count = int(owners.max()) + 1
    chosen = [random.permutation(np.flatnonzero(owners == owner))[:shots] for owner in range(count)]
    ordinary = _reported(codes, chosen)
    pairs = list(itertools.combinations(range(count), 2)) if count > 2 else []
    pairs = [pairs[place] for place in random.permutation(len(pairs))[:most]]
    joined = 0
    for first, second in pairs:
        both = np.concatenate([chosen[first][: shots // 2], chosen[second][: shots // 2]])
        rest = [places for owner, places in enumerate(chosen) if owner not in (first, second)]
        joined += "0" in _reported(codes, [random.permutation(both), *rest])
    return len(ordinary), count, joined, len(pairs)


def _reported(codes: Codes, chosen: list[Places]) -> set[str]:
    places = np.concatenate(chosen)
    labels = tuple(str(at) for at in range(len(chosen)))
    owners = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    each = np.arange(len(places))
    return {split.label for split in find_splits(codes[places], labels, owners, each, each)}


if __name__ == "__main__":
    main()
