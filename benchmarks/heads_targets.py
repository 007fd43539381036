"""The targets for the heads, and whether a result of `benchmarks.heads` reaches them."""

from __future__ import annotations

from typing import Any

OFFLINE = "logistic regression (offline)"
STREAMING = ("Coral imprinting", "kNN-3", "one-pass SGD", "SGD + replay", "Deep SLDA", "River softmax")
FEW_SHOT = (*STREAMING, "Coral SGD head", OFFLINE)

PLAIN, LONGER = "digits", "digits-products"

Target = dict[str, Any]


def judged(result: dict[str, Any]) -> list[Target]:
    """Return each target with the measured figures and whether it holds; parts that were not run are left out."""
    targets: list[Target] = []
    for name, rows in result.get("full", {}).items():
        targets += _full(name, rows)
    for name, rows in result.get("k_shot", {}).items():
        targets += [_few(name, rows, k) for k in ("5", "10")]
    targets += _lengthened(result)
    for name, rows in result.get("honesty", {}).items():
        for k, row in rows.items():
            gap = f"{row['gap']:+.4f} ± {row['gap_error']:.4f}"
            targets.append(
                _target(f"estimate within 3 points, {name}, k = {k}", gap, abs(row["gap"]) <= 0.03)
            )
        targets.append(
            _target(f"calibration error <= 3 %, {name}", rows["all"]["ece"], rows["all"]["ece"] <= 0.03)
        )
    for name, row in result.get("bursts", {}).items():
        gap = f"{row['gap']:+.4f} ± {row['gap_error']:.4f}"
        targets.append(_target(f"bursts: estimate within 3 points, {name}", gap, abs(row["gap"]) <= 0.03))
    for name, row in result.get("projection", {}).items():
        loss = round(row["accuracy"] - row["accuracy_projected"], 4)
        targets.append(_target(f"256 dimensions lose at most a point, {name}", loss, loss <= 0.01))
        sizes = [kept["statistics"] for kept in row["bytes"].values()]
        targets.append(
            _target(
                f"256 dimensions, statistics <= 150 KiB at N = 1,000, 10,000 and 100,000, {name}",
                sizes,
                max(sizes) <= 150 * 1024,
            )
        )
    return targets + _costs(result.get("cost", {}))


def _full(name: str, rows: dict[str, Any]) -> list[Target]:
    ours, ceiling = rows["exact"]["accuracy"], rows[OFFLINE]["accuracy"]
    best = _best(rows, STREAMING)
    return [
        _target(
            f"exact >= offline - 1 point, {name}",
            [ours, ceiling],
            ours >= ceiling - 0.01,
            _not_behind(rows[OFFLINE], 0.01),
        ),
        _target(
            f"exact > every streaming peer, {name}",
            [ours, best, rows[best]["accuracy"]],
            ours > rows[best]["accuracy"],
            _not_behind(rows[best]),
        ),
        _target(
            f"order sensitivity exactly 0, {name}",
            rows["exact"]["changed_by_order"],
            rows["exact"]["changed_by_order"] == 0,
        ),
    ]


def _few(name: str, rows: dict[str, Any], k: str) -> Target:
    ours = rows["exact"][k]["accuracy"]
    best = _best({peer: row[k] for peer, row in rows.items()}, FEW_SHOT)
    theirs = rows[best][k]["accuracy"]
    return _target(
        f"k = {k}: exact >= best peer, {name}",
        [ours, best, theirs],
        ours >= theirs,
        _not_behind(rows[best][k]),
    )


def _lengthened(result: dict[str, Any]) -> list[Target]:
    """Compare our head on the digits as `convert --products` embeds them with peers on pixels or products."""
    full = result.get("full", {})
    if not {PLAIN, LONGER} <= set(full):
        return []
    ours = full[LONGER]["exact"]["accuracy"]
    offline = max(full[name][OFFLINE]["accuracy"] for name in (PLAIN, LONGER))
    best, name = max(
        ((_best(full[name], STREAMING), name) for name in (PLAIN, LONGER)),
        key=lambda found: full[found[1]][found[0]]["accuracy"],
    )
    theirs = full[name][best]["accuracy"]
    return [
        _target(
            "digits with --products: exact >= offline - 1 point", [ours, offline], ours >= offline - 0.01
        ),
        _target(
            "digits with --products: exact > every streaming peer on pixels or products",
            [ours, f"{best} on {name}", theirs],
            ours > theirs,
        ),
    ]


def _best(rows: dict[str, Any], peers: tuple[str, ...]) -> str:
    return max((peer for peer in peers if peer in rows), key=lambda peer: float(rows[peer]["accuracy"]))


def _not_behind(row: dict[str, Any], allowed: float = 0.0) -> str:
    """Describe the lead of exact over the draws that both have; "behind" means by more than the standard error."""
    ahead = row["exact_ahead"]
    lead = f"{ahead['mean']:+.4f} ± {ahead['error']:.4f}"
    return lead + (", not behind" if ahead["mean"] + ahead["error"] + allowed >= 0 else ", behind")


def _costs(cost: dict[str, Any]) -> list[Target]:
    if "update" not in cost:
        return []
    small = max(row["amortized_share"] for count, row in cost["update"].items() if int(count) <= 200)
    large, coral = cost["update"]["10000"]["amortized_share"], cost["against_coral"]
    times = cost["stream"]
    grown = times["100000"]["solve_ms"] / times["10000"]["solve_ms"]
    return [
        _target("one sample <= 5 % of an embedding, N <= 200", small, small <= 0.05),
        _target("one sample <= 25 % of an embedding, N = 10,000", large, large <= 0.25),
        *(target for name in ("exact", "exact, 256 numbers") for target in _against_coral(name, coral)),
        _target("100,000 samples: solving does not slow down", round(grown, 2), grown < 1.5),
        _target(
            "ncm state < 70 KiB",
            cost["state_bytes"]["ncm"]["5000"],
            cost["state_bytes"]["ncm"]["5000"] < 70 * 1024,
        ),
    ]


def _against_coral(name: str, coral: dict[str, Any]) -> list[Target]:
    ours, theirs = coral[name], coral["coral"]
    return [
        _target(
            f"{name}: >= 20 times faster than Coral's 500 iterations",
            ours["times_faster"],
            ours["times_faster"] >= 20,
        ),
        _target(
            f"{name}: and at least as accurate",
            [ours["accuracy"], theirs["accuracy"]],
            ours["accuracy"] >= theirs["accuracy"],
        ),
    ]


def _target(name: str, measured: Any, holds: bool, paired: str = "") -> Target:
    return {"target": name, "measured": measured, "holds": bool(holds), "paired": paired}
