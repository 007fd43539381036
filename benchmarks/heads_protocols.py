"""Protocols to compare heads: full training parts, few shots, one class after another, and their own estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.heads.calibration import expected_calibration_error
from device.heads.report import self_report

from .draws import standard_error
from .embeddings import Dataset
from .peers import Contestant, Features, Owners, Peer
from .peers.ours import codes_of

SHOTS = (1, 2, 5, 10, 20)
_TESTED = 600  # test samples per k-shot draw


class Task:
    """A set with its features in each form that a contestant may use.

    Args:
        dataset: Embeddings with labels.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.name = dataset.name
        raw = dataset.embeddings.astype(np.float64)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        self.features: dict[str, Features] = {
            "raw": raw,
            "l2": raw / np.maximum(length, 1e-12),
            "mapped": dataset.mapped,
        }
        names, owners = np.unique(dataset.labels, return_inverse=True)
        self.owners: Owners = owners.astype(np.int64)
        self.labels = [str(name) for name in names]

    def split(self, random: np.random.Generator, held_out: float = 0.25) -> tuple[Owners, Owners]:
        """Return the indices of a random, stratified training part and test part."""
        test = np.concatenate(
            [
                random.permutation(mine)[: round(held_out * len(mine))]
                for mine in (np.flatnonzero(self.owners == owner) for owner in range(len(self.labels)))
            ]
        )
        train = np.setdiff1d(np.arange(len(self.owners)), test)
        return random.permutation(train), random.permutation(test)

    def shots(self, random: np.random.Generator, k: int) -> tuple[Owners, Owners]:
        """Return the indices of k samples per class to learn, and of others to test on."""
        train = np.concatenate(
            [random.permutation(np.flatnonzero(self.owners == at))[:k] for at in range(len(self.labels))]
        )
        rest = np.setdiff1d(np.arange(len(self.owners)), train)
        return random.permutation(train), random.permutation(rest)[:_TESTED]

    def make(self, contestant: Contestant) -> Peer:
        """Return a new peer for this set."""
        return contestant.make(self.features[contestant.features].shape[1], len(self.labels))

    def taught(self, contestant: Contestant, chosen: Owners) -> Peer:
        """Return a peer that has learned the chosen samples in their order."""
        peer = self.make(contestant)
        peer.learn(self.features[contestant.features][chosen], self.owners[chosen])
        return peer

    def answers(self, contestant: Contestant, peer: Peer, chosen: Owners) -> Owners:
        """Return the peer's predictions for the chosen samples."""
        return peer.predict(self.features[contestant.features][chosen])


def full(task: Task, contestants: Sequence[Contestant], seed: int) -> dict[str, Any]:
    """Learn three quarters in one pass and test on the rest; streaming learners in two orders."""
    results: dict[str, Any] = {}
    accuracies: dict[str, list[float]] = {}
    for contestant in contestants:
        changed, spread, right = [], [], accuracies.setdefault(contestant.name, [])
        for draw in range(1 if contestant.slow else contestant.draws):
            random = np.random.default_rng([seed, draw])
            train, test = task.split(random)
            given = task.answers(contestant, task.taught(contestant, train), test)
            right.append(float((given == task.owners[test]).mean()))
            if contestant.streaming and not contestant.slow and draw < 2:
                again = task.answers(contestant, task.taught(contestant, random.permutation(train)), test)
                changed.append(float((given != again).mean()))
                spread.append(abs(float((again == task.owners[test]).mean()) - right[-1]))
        results[contestant.name] = {
            **_summary(right),
            "changed_by_order": _rounded(changed),
            "accuracy_spread_by_order": _rounded(spread),
        }
    for name, row in results.items():
        row["exact_ahead"] = _paired(accuracies["exact"], accuracies[name])
    return results


def k_shot(task: Task, contestants: Sequence[Contestant], draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Learn k samples per class, with the same draws for all contestants."""
    results: dict[str, dict[str, Any]] = {contestant.name: {} for contestant in contestants}
    for k in SHOTS:
        accuracies: dict[str, list[float]] = {name: [] for name in results}
        for draw in range(draws):
            train, test = task.shots(np.random.default_rng([seed, k, draw]), k)
            for contestant in contestants:
                given = task.answers(contestant, task.taught(contestant, train), test)
                accuracies[contestant.name].append(float((given == task.owners[test]).mean()))
        for name, values in accuracies.items():
            ahead = _paired(accuracies["exact"], values)
            results[name][str(k)] = {**_summary(values), "exact_ahead": ahead}
    return results


def class_incremental(
    task: Task, contestants: Sequence[Contestant], draws: int, seed: int
) -> dict[str, dict[str, float]]:
    """Learn one class after another, one pass; metrics of Lopez-Paz and Ranzato 2017 and Chaudhry et al. 2018."""
    results = {}
    for contestant in contestants:
        rows = [_incremental(task, contestant, np.random.default_rng([seed, draw])) for draw in range(draws)]
        results[contestant.name] = {
            name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]
        }
    return results


def honesty(task: Task, draws: int, seed: int) -> dict[str, Any]:
    """Compare the exact head's own estimate with the accuracy on held-out samples.

    With k samples taught per label, the estimate assumes that labels are equally frequent, so it is compared with
    the mean of the held-out recalls (``held_out``). ``as_they_come`` is the accuracy in the set's own mix of labels,
    which the head cannot know.
    """
    found: dict[str, Any] = {}
    for k in (20, 50, 0):
        pairs, confidences, owners = [], [], []
        for draw in range(6 * draws if k == 20 else draws):  # draws with fewer samples are noisier
            random = np.random.default_rng([seed, k, draw])
            train, test = task.shots(random, k) if k else task.split(random)
            estimate, probabilities = _estimate(task, train, test)
            answers, truth = probabilities.argmax(axis=1), task.owners[test]
            plain = float((answers == truth).mean())
            pairs.append((*estimate, _mean_recall(answers, truth) if k else plain, plain))
            confidences.append(probabilities)
            owners.append(truth)
        loo, low, high, held_out, plain_share = np.array(pairs).T
        pooled = expected_calibration_error(np.concatenate(confidences), np.concatenate(owners))
        found["all" if k == 0 else str(k)] = {
            "estimate": round(float(loo.mean()), 4),
            "held_out": round(float(held_out.mean()), 4),
            "as_they_come": round(float(plain_share.mean()), 4),
            "gap": round(float((loo - held_out).mean()), 4),
            "gap_error": round(standard_error(loo - held_out), 4),
            "largest_gap": round(float(np.abs(loo - held_out).max()), 4),
            "interval_covers": round(float(((low <= held_out) & (held_out <= high)).mean()), 2),
            "ece": round(pooled, 4),
        }
    return found


def _mean_recall(answers: Owners, truth: Owners) -> float:
    return float(np.mean([(answers[truth == owner] == owner).mean() for owner in np.unique(truth)]))


def bursts(task: Task, draws: int, seed: int, k: int = 20, frames: int = 5) -> dict[str, float]:
    """Teach each sample as a burst of near-duplicates, and compare both estimates with the held-out accuracy.

    A frame of a burst is the sample's embedding plus noise of a tenth of its length. The held-out accuracy is the
    mean of the recalls, because every label was taught equally often; see `honesty`.
    """
    rows = np.array(
        [_burst(task, np.random.default_rng([seed, 77, draw]), k, frames) for draw in range(draws)]
    )
    gaps = rows[:, 1] - rows[:, 2]
    one_by_one, aware, held_out = rows.mean(axis=0)
    return {
        "one_by_one": round(float(one_by_one), 4),
        "burst_aware": round(float(aware), 4),
        "held_out": round(float(held_out), 4),
        "gap": round(float(gaps.mean()), 4),
        "gap_error": round(standard_error(gaps), 4),
    }


def _burst(task: Task, random: np.random.Generator, k: int, frames: int) -> tuple[float, float, float]:
    train, test = task.shots(random, k)
    many = np.repeat(train, frames)
    noise = random.normal(size=(len(many), task.features["mapped"].shape[1]))
    noise *= 0.1 / np.linalg.norm(noise, axis=1, keepdims=True)
    head = create_head("exact", noise.shape[1])
    codes = codes_of(task.features["mapped"][many] + noise)
    labels = [task.labels[owner] for owner in task.owners[many]]
    head.learn_many(codes, labels)
    one_by_one = head.leave_out(codes, labels).argmax(axis=1)
    report = self_report(head, codes, labels, bursts=np.repeat(np.arange(len(train)), frames))
    held_out = head.probabilities(codes_of(task.features["mapped"][test])).argmax(axis=1)
    return (
        float((one_by_one == task.owners[many]).mean()),
        report.accuracy or 0.0,
        _mean_recall(held_out, task.owners[test]),
    )


def _estimate(
    task: Task, train: Owners, test: Owners
) -> tuple[tuple[float, float, float], NDArray[np.float64]]:
    codes = codes_of(task.features["mapped"])
    labels = [task.labels[owner] for owner in task.owners[train]]
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes[train], labels)
    report = self_report(head, codes[train], labels)
    return (report.accuracy or 0.0, *report.interval), head.probabilities(codes[test])


def _incremental(task: Task, contestant: Contestant, random: np.random.Generator) -> dict[str, float]:
    train, test = task.split(random)
    order = random.permutation(len(task.labels))
    peer, features = task.make(contestant), task.features[contestant.features]
    right = np.full((len(order), len(task.labels)), np.nan)  # [step, class]
    for step, owner in enumerate(order):
        mine = train[task.owners[train] == owner]
        peer.learn(features[mine], task.owners[mine])
        seen = test[np.isin(task.owners[test], order[: step + 1])]
        given = task.answers(contestant, peer, seen)
        for known in order[: step + 1]:
            asked = task.owners[seen] == known
            right[step, known] = (given[asked] == known).mean()
    best, last = np.nanmax(right, axis=0), right[-1]
    return {
        "final": float(last.mean()),
        "average_incremental": float(np.nanmean(right, axis=1).mean()),
        "forgetting": float((best - last)[order[:-1]].mean()),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "accuracy": round(float(np.mean(values)), 4),
        "deviation": round(float(np.std(values)), 4),
        "draws": len(values),
    }


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the mean lead of the exact head over the draws that both have, with the standard error of the mean."""
    common = min(len(ours), len(theirs))
    ahead = np.array(ours[:common]) - np.array(theirs[:common])
    return {
        "mean": round(float(ahead.mean()), 4),
        "error": round(standard_error(ahead), 4),
        "draws": common,
    }


def _rounded(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
