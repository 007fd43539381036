"""The crash harness with a few kills; ``python -m benchmarks.crash`` runs hundreds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from benchmarks import crash
from device.learner import Learner


def test_acknowledged_changes_survive_a_few_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page, checksum and journal entry is correct after each kill."""
    monkeypatch.setattr(crash, "LONGEST", 0.05)
    tally = crash.crash(12, 7, tmp_path)
    assert (tally.kills, tally.failures) == (12, [])
    assert tally.acknowledged > 0


def test_the_harness_notices_a_lost_sample(tmp_path: Path) -> None:
    """The check fails if an acknowledged sample is missing."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.store.learn([])
    crash._check(path, {}, [["try", "learn", ["mug"]], ["done"]], tally)
    assert tally.failures != []


def test_the_harness_notices_a_duplicated_sample(tmp_path: Path) -> None:
    """The duplicate has its own id, so checksums alone would accept it."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_many([crash.np.zeros((16, 16, 3), crash.np.uint8)] * 2, ["mug", "mug"])
    crash._check(path, {}, [["try", "learn", ["mug"]], ["done"]], tally)
    assert tally.failures != []


def test_the_harness_notices_a_refused_change_in_the_file(tmp_path: Path) -> None:
    """A change that was refused on a full disk must leave no trace."""
    path, tally = tmp_path / "state.db", crash.Tally()
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_one(crash.np.zeros((16, 16, 3), crash.np.uint8), "mug")
    crash._check(path, {}, [["try", "learn", ["mug"]], ["refused"]], tally)
    assert (tally.refused, len(tally.failures)) == (1, 1)


def test_the_harness_notices_damage(tmp_path: Path) -> None:
    """A row is changed without the store."""
    path = tmp_path / "state.db"
    with Learner.open(crash.MODEL, path, threads=1) as learner:
        learner.learn_one(crash.np.zeros((16, 16, 3), crash.np.uint8), "mug")
    damaged = sqlite3.connect(path)
    damaged.execute("UPDATE codes SET code = zeroblob(length(code))")
    damaged.commit()
    damaged.close()
    with pytest.raises(ValueError, match="checksum"):
        crash._check(path, {1: "mug"}, [], crash.Tally())
