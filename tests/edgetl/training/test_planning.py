"""The choice of layers and epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import TrainingError
from edgetl.training.planning import ENOUGH_PHOTOS, Plan, caution, may_train_all, plan_by_time, resolve_layers
from edgetl.training.settings import held_out_fraction

OPEN: dict[str, Any] = {"head_only": False, "blocks": None, "epochs": None}


@pytest.mark.parametrize(
    ("layers", "options", "chosen"),
    [
        ("auto", {}, "auto"),
        ("auto", {"epochs": 6}, "auto"),
        ("auto", {"blocks": 2, "epochs": 6}, "blocks"),
        ("auto", {"blocks": 0}, "head"),
        ("auto", {"epochs": 0}, "head"),
        ("auto", {"head_only": True}, "head"),
        ("all", {"epochs": 6}, "all"),
        ("blocks", {"blocks": 3}, "blocks"),
        ("head", {"head_only": True}, "head"),
    ],
)
def test_options_name_the_layers(layers: str, options: dict[str, Any], chosen: str) -> None:
    """A number of blocks means the last blocks, none means the head."""
    assert resolve_layers(layers, **OPEN | options) == chosen


@pytest.mark.parametrize(
    ("layers", "options"),
    [
        ("all", {"blocks": 2}),
        ("all", {"head_only": True}),
        ("head", {"blocks": 1}),
        ("blocks", {"epochs": 0}),
    ],
)
def test_options_that_contradict_each_other_are_refused(layers: str, options: dict[str, Any]) -> None:
    """Before the long work begins."""
    with pytest.raises(TrainingError, match=f"layers='{layers}' contradicts"):
        resolve_layers(layers, **OPEN | options)


def test_unknown_layers_are_refused() -> None:
    """The message has the known ones."""
    with pytest.raises(TrainingError, match="auto, head, blocks, all"):
        resolve_layers("some", **OPEN)


def test_few_photos_or_none_held_out_rule_out_all_layers() -> None:
    """The last blocks are trained, and the reason is given."""
    assert may_train_all(ENOUGH_PHOTOS, 25) is None
    few, unjudged = may_train_all(ENOUGH_PHOTOS - 1, 25), may_train_all(900, 0)
    assert few is not None
    assert (few.layers, "99 training photos" in few.reason) == ("blocks", True)
    assert unjudged is not None
    assert (unjudged.layers, "held out" in unjudged.reason) == ("blocks", True)


@pytest.mark.parametrize("layers", ["auto", "all"])
@pytest.mark.parametrize(
    ("seconds", "plan"), [(4000, ("all", 12)), (1000, ("all", 10)), (399, ("blocks", 0)), (199, ("head", 0))]
)
def test_the_measured_speed_decides_how_many_epochs_fit(
    layers: str, seconds: float, plan: tuple[str, int]
) -> None:
    """At 100 seconds per epoch; below four epochs something shorter is trained."""
    made = plan_by_time(layers, None, 15, seconds, 100)
    assert (made.layers, made.epochs) == plan
    assert bool(made.reason) == (plan[0] != "all")


def test_a_number_of_epochs_is_kept() -> None:
    """All layers: whatever the time; auto: where they fit."""
    assert plan_by_time("all", 30, 15, 10, 100) == Plan("all", 30)
    assert plan_by_time("auto", 6, 15, 1000, 100) == Plan("all", 6)
    assert plan_by_time("auto", 12, 15, 1000, 100).layers == "blocks"


def test_a_plan_that_does_not_fit_has_the_minutes_that_would_do() -> None:
    """Four epochs of 100 seconds with 300 seconds left of five minutes: seven minutes."""
    assert "--minutes 7 " in plan_by_time("auto", None, 5, 280, 100).reason


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    """An interrupted run continues with it."""
    assert Plan.load(tmp_path) is None
    Plan("all", 8, "because").save(tmp_path)
    assert Plan.load(tmp_path) == Plan("all", 8, "because")


def test_few_photos_for_all_layers_are_a_caution() -> None:
    """Only where the user chose them and could choose otherwise."""
    (warning,) = caution("all", False, 40)
    assert "40 training photos are few" in warning
    assert caution("all", True, 40) == caution("blocks", False, 40) == caution("all", False, 300) == ()


@pytest.mark.parametrize(
    ("photos", "fraction"), [(0, 0.2), (10, 0.2), (1000, 0.2), (1600, 0.125), (2000, 0.1), (50_000, 0.1)]
)
def test_about_200_photos_are_held_out(photos: int, fraction: float) -> None:
    """A fifth of a few photos, a tenth of many."""
    assert held_out_fraction(photos) == pytest.approx(fraction)
