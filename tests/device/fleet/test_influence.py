"""Devices whose labels contradict the others are found, whatever they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from device.fleet import Contribution, FleetModel, pack_contribution
from device.fleet.influence import explained, explained_by_others, unlike_the_others
from device.fleet.ledger import Ledger
from device.fleet.rounds import run_round
from device.heads.exact import ExactHead
from device.model.codes import SCALE, Codes, encode

from .conftest import DIMENSIONS, LABELS

SHIFTED = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
Lie = Callable[[Codes, list[str]], tuple[Codes, list[str]]]
LIES: dict[str, Lie] = {
    "other labels": lambda codes, labels: (codes, [SHIFTED[label] for label in labels]),
    "other labels, a hundred times": lambda codes, labels: (
        np.tile(codes, (100, 1)),
        [SHIFTED[label] for label in labels] * 100,
    ),
    "random labels": lambda codes, labels: (codes, np.random.default_rng(0).permutation(labels).tolist()),
}


def ledger_of(model: FleetModel, draw: Any, lie: Lie | None = None, devices: int = 6) -> Ledger:
    """Return the contributions of devices, of which the first may lie."""
    ledger = Ledger(model)
    for seed in range(devices):
        codes, labels = draw(seed, 40)
        if lie and seed == 0:
            codes, labels = lie(codes, labels)
        ledger.put(f"d{seed}", pack_contribution(Contribution.of("x", model, codes, labels)))
    return ledger


def test_the_error_from_statistics_is_that_on_the_samples(model, draw) -> None:
    """The oracle predicts each sample with the ridge regression."""
    (codes, labels), (mine, own) = draw(1, 50), draw(2, 20, ("cup", "mug"))
    head = ExactHead(DIMENSIONS)
    others = Contribution.of("x", model, codes, labels).sums
    head.learn_statistics(others.labels, others.numbers, others.sums, others.gram)
    solution = head.solution()
    Y = np.array([[label == name for name in LABELS] for label in own], float)
    error = ((Y - (mine / SCALE @ solution.W + solution.b)) ** 2).sum()
    chance = ((Y - others.numbers / others.numbers.sum()) ** 2).sum()
    assert explained(others, Contribution.of("x", model, mine, own).sums) == pytest.approx(1 - error / chance)


def test_honest_devices_are_not_unlike_the_others(model, draw) -> None:
    """Also not one with few samples."""
    ledger = ledger_of(model, draw)
    ledger.put("few", pack_contribution(Contribution.of("x", model, *draw(50, 6))))
    shares = explained_by_others(ledger)
    assert sorted(shares) == ["d0", "d1", "d2", "d3", "d4", "d5", "few"]
    assert unlike_the_others(shares) == []


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_liar_is_unlike_the_others(lie: Lie, model, draw) -> None:
    """The honest ones are not, even where the liar claims most of all samples."""
    shares = explained_by_others(ledger_of(model, draw, lie))
    assert unlike_the_others(shares) == ["d0"]


def test_a_device_with_labels_of_its_own_is_not_a_liar(model, draw) -> None:
    """Nobody else can explain them, and they do not count against it."""
    ledger = ledger_of(model, draw)
    rng = np.random.default_rng(60)
    codes = encode(rng.standard_normal(DIMENSIONS) + 0.3 * rng.standard_normal((30, DIMENSIONS)))
    ledger.put("own", pack_contribution(Contribution.of("x", model, codes, ["guest"] * 30)))
    assert "own" not in unlike_the_others(explained_by_others(ledger))


def test_too_few_devices_are_not_compared(model, draw) -> None:
    """Of two that contradict each other, either may be right."""
    ledger = ledger_of(model, draw, LIES["other labels"], devices=3)
    assert unlike_the_others(explained_by_others(ledger)) == []
    assert explained_by_others(Ledger(model)) == {}


def test_a_round_reports_a_liar_and_leaves_it_out_where_that_was_chosen(model, draw) -> None:
    """Excluded, it is not in the sum, and still receives what the others learned."""
    lying = LIES["other labels, a hundred times"]
    honest = ledger_of(model, draw)
    honest.drop("d0")

    def exchange(messages: Any, timeout: float) -> dict[str, Any]:
        return {
            device: {"unchanged": True} if message["step"] == "contribute" else {"changed": True}
            for device, message in messages.items()
        }

    ledger = ledger_of(model, draw, lying)
    rounds = {
        outliers: run_round(ledger, exchange, ledger.devices, number=1, timeout=1, outliers=outliers)
        for outliers in ("report", "exclude", "ignore")
    }
    assert rounds["report"].unlike == rounds["exclude"].unlike == ["d0"]
    assert rounds["ignore"].unlike == []
    assert rounds["report"].digest == rounds["ignore"].digest == ledger.total().digest()
    assert rounds["exclude"].digest == honest.total().digest()
    assert (rounds["exclude"].devices, rounds["exclude"].received) == (5, ledger.devices)
    again = run_round(ledger, exchange, ledger.devices, number=2, timeout=1, previous=rounds["report"])
    assert again.explained is rounds["report"].explained
