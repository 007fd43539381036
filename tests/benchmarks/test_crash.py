"""The crash harness itself, for a few kills; the full figure comes from ``python -m benchmarks.crash``."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from benchmarks import crash
from device.learner import Learner


def test_nothing_acknowledged_is_lost_over_a_few_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page, checksum and journal entry is right after each."""
    monkeypatch.setattr(crash, "LONGEST", 0.05)
    tally = crash.crash(12, 7, tmp_path)
    assert (tally.kills, tally.failures) == (12, [])
    assert tally.acknowledged > 0


def test_the_harness_notices_a_lost_sample(tmp_path: Path) -> None:
    """A check that cannot fail proves nothing."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.store.learn([])
    crash._check(path, {}, [["try", "learn", ["mug"]], ["done"]], tally)
    assert tally.failures != []


def test_the_harness_notices_a_sample_that_stands_twice(tmp_path: Path) -> None:
    """Under an id of its own, which the checksums alone would let pass."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_many([crash.np.zeros((16, 16, 3), crash.np.uint8)] * 2, ["mug", "mug"])
    crash._check(path, {}, [["try", "learn", ["mug"]], ["done"]], tally)
    assert tally.failures != []


def test_a_change_that_was_refused_may_not_be_there(tmp_path: Path) -> None:
    """Half a change on a full disk would be as bad as a lost one."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_one(crash.np.zeros((16, 16, 3), crash.np.uint8), "mug")
    crash._check(path, {}, [["try", "learn", ["mug"]], ["refused"]], tally)
    assert (tally.refused, len(tally.failures)) == (1, 1)


def test_the_harness_notices_damage(tmp_path: Path) -> None:
    """A row changed behind the store's back."""
    path = tmp_path / "state.db"
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_one(crash.np.zeros((16, 16, 3), crash.np.uint8), "mug")
    damaged = sqlite3.connect(path)
    damaged.execute("UPDATE codes SET code = zeroblob(length(code))")
    damaged.commit()
    damaged.close()
    with pytest.raises(ValueError, match="checksum"):
        crash._check(path, {1: "mug"}, [], crash.Tally())
