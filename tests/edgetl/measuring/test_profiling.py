"""The time of each layer; from a fake clock where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from converters.prefixes import Prefixes
from device.model.modelfile import ModelFile
from edgetl.measuring import profiling
from edgetl.measuring.profiling import profile, profile_models
from tests.tiny import TINY, TINY_TAUGHT

MODEL = ModelFile.open(TINY)


def test_a_profile_names_every_layer_and_adds_up() -> None:
    """Shares add up to 1, and so do those of the kinds."""
    found = profile(MODEL, threads=1, rounds=4)
    assert [layer.index for layer in found.layers] == list(range(len(found.layers)))
    assert found.clock == "CPU time"
    assert sum(layer.ms for layer in found.layers) == pytest.approx(found.total_ms, abs=1e-2)
    assert sum(layer.share for layer in found.layers) == pytest.approx(1, abs=1e-2)
    assert sum(row["share"] for row in found.by_op()) == pytest.approx(1, abs=1e-2)
    assert sum(row["layers"] for row in found.by_op()) == len(found.layers)


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_the_cost_of_a_layer_is_the_difference_of_two_cuts(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A machine that gets slower between two groups of cuts does not change the differences."""
    costs = [1.0, 5.0, 0.5, 3.0, 0.25, 2.0]
    ends, drift = np.cumsum(costs), iter(range(100))

    def time_cuts(runs: Sequence[Any], rounds: int, _: Any) -> Any:
        later = 10.0 * next(drift)
        return np.array([[ends[run - 1] + later] * rounds for run in runs])

    monkeypatch.setattr(profiling, "_AT_ONCE", at_once)
    monkeypatch.setattr(profiling, "_open", lambda part, *_: part)
    monkeypatch.setattr(profiling, "_time_in_turn", time_cuts)
    monkeypatch.setattr(Prefixes, "cut", lambda _, count: count)
    found = profile(MODEL, threads=1, rounds=2)
    assert [layer.ms for layer in found.layers] == pytest.approx(costs)
    assert found.resolution_ms == 0
    assert [layer.op for layer in sorted(found.layers, key=lambda layer: -layer.ms)[:2]] == [
        "CONV_2D",
        "CONV_2D",
    ]


def test_a_cut_that_seems_faster_than_a_shorter_one_is_averaged() -> None:
    """Times never fall, and the sum stays that of the whole backbone."""
    assert profiling._rising(np.array([0.0, 2.0, 1.0, 4.0])).tolist() == [0.0, 1.5, 1.5, 4.0]
    assert profiling._rising(np.array([0.0, 3.0, 2.0, 1.0])).tolist() == [0.0, 2.0, 2.0, 2.0]


def test_models_with_the_same_backbone_file_are_profiled_once() -> None:
    """The head and the memory do not belong to the backbone."""
    found = profile_models([MODEL, MODEL, ModelFile.open(TINY_TAUGHT)], threads=1, rounds=2)
    assert len(found["models"]) == len({MODEL.sha256, ModelFile.open(TINY_TAUGHT).sha256})
    assert "cut after each op" in found["method"]
