"""The figures the heads are to reach, judged on a result of `benchmarks.heads`."""

from __future__ import annotations

from typing import Any

OFFLINE = "logistic regression (offline)"
STREAMING = ("Coral imprinting", "kNN-3", "one-pass SGD", "SGD + replay", "Deep SLDA", "River softmax")
FEW_SHOT = (*STREAMING, "Coral SGD head", OFFLINE)

Target = dict[str, Any]


def judged(result: dict[str, Any]) -> list[Target]:
    """Give each target with what was measured and whether it holds; parts that were not run are left out."""
    targets: list[Target] = []
    for name, rows in result.get("full", {}).items():
        targets += _full(name, rows)
    for name, rows in result.get("k_shot", {}).items():
        targets += [_few(name, rows, k) for k in ("5", "10")]
    for name, rows in result.get("honesty", {}).items():
        for k, row in rows.items():
            targets.append(
                _target(f"estimate within 3 points, {name}, k = {k}", row["gap"], abs(row["gap"]) <= 0.03)
            )
        targets.append(
            _target(f"calibration error <= 3 %, {name}", rows["all"]["ece"], rows["all"]["ece"] <= 0.03)
        )
    for name, row in result.get("projection", {}).items():
        loss = round(row["accuracy"] - row["accuracy_projected"], 4)
        targets.append(_target(f"256 dimensions lose at most a point, {name}", loss, loss <= 0.01))
        size = row["statistics_bytes"]
        targets.append(_target(f"256 dimensions, statistics <= 150 KiB, {name}", size, size <= 150 * 1024))
    return targets + _costs(result.get("cost", {}))


def _full(name: str, rows: dict[str, Any]) -> list[Target]:
    ours, ceiling = rows["exact"]["accuracy"], rows[OFFLINE]["accuracy"]
    best = max((peer for peer in STREAMING if peer in rows), key=lambda peer: rows[peer]["accuracy"])
    return [
        _target(f"exact >= offline - 1 point, {name}", [ours, ceiling], ours >= ceiling - 0.01),
        _target(
            f"exact > every streaming peer, {name}",
            [ours, best, rows[best]["accuracy"]],
            ours > rows[best]["accuracy"],
        ),
        _target(
            f"order sensitivity exactly 0, {name}",
            rows["exact"]["changed_by_order"],
            rows["exact"]["changed_by_order"] == 0,
        ),
    ]


def _few(name: str, rows: dict[str, Any], k: str) -> Target:
    ours = rows["exact"][k]["accuracy"]
    best = max((peer for peer in FEW_SHOT if peer in rows), key=lambda peer: rows[peer][k]["accuracy"])
    theirs = rows[best][k]["accuracy"]
    return _target(f"k = {k}: exact >= best peer, {name}", [ours, best, theirs], ours >= theirs)


def _costs(cost: dict[str, Any]) -> list[Target]:
    if "update" not in cost:
        return []
    small = max(row["amortised_share"] for count, row in cost["update"].items() if int(count) <= 200)
    large, coral = cost["update"]["10000"]["amortised_share"], cost["against_coral"]
    times = cost["stream"]
    grown = times["100000"]["solve_ms"] / times["10000"]["solve_ms"]
    return [
        _target("one sample <= 5 % of an embedding, N <= 200", small, small <= 0.05),
        _target("one sample <= 25 % of an embedding, N = 10,000", large, large <= 0.25),
        _target(
            ">= 20 times faster than Coral's 500 iterations",
            coral["times_faster"],
            coral["times_faster"] >= 20,
        ),
        _target(
            "and at least as accurate",
            [coral["exact"]["accuracy"], coral["coral"]["accuracy"]],
            coral["exact"]["accuracy"] >= coral["coral"]["accuracy"],
        ),
        _target("100,000 samples: solving does not slow down", round(grown, 2), grown < 1.5),
        _target(
            "ncm state < 70 KiB",
            cost["state_bytes"]["ncm"]["5000"],
            cost["state_bytes"]["ncm"]["5000"] < 70 * 1024,
        ),
    ]


def _target(name: str, measured: Any, holds: bool) -> Target:
    return {"target": name, "measured": measured, "holds": bool(holds)}
