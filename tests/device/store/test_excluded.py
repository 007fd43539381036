"""Excluded samples: kept in the state file, and part of nothing that is learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.errors import SampleNotFoundError
from device.store import Store
from device.store.merge import merge
from device.store.recovery import recover

from .test_store import IDENTITY, new


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with four mugs, of which two are excluded, and a bowl."""
    with Store.open(tmp_path / "s.db", IDENTITY) as store:
        store.learn([new("mug", value) for value in range(1, 5)] + [new("bowl", 5)])
        store.exclude([2, 3])
    return tmp_path / "s.db"


def test_excluded_samples_are_listed_apart_and_counted_apart(path: Path) -> None:
    """The label that they had stays known after reopening."""
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"bowl": 1, "mug": 2}
        assert store.excluded_counts() == {"mug": 2}
        assert [sample.id for sample in store.samples("mug")] == [4, 1]
        assert [(one.id, one.label, one.excluded) for one in store.samples(excluded=True)] == [
            (3, "mug", True),
            (2, "mug", True),
        ]
        assert store.ids()[0].tolist() == [1, 4, 5]
        assert [number for numbers, _, _ in store.taught_chunks() for number in numbers] == [1, 4, 5]
        assert store.sample(2).excluded
        assert store.verify() == 5


def test_excluding_and_including_are_one_change_each_and_are_undone(path: Path) -> None:
    """Excluding twice changes nothing the second time."""
    with Store.open(path, IDENTITY) as store:
        assert store.exclude([1, 2]).samples() == 1
        assert store.exclude([1, 2, 3], excluded=False).samples() == 3
        assert store.counts() == {"bowl": 1, "mug": 4}
        for expected in (3, 2, 0):
            store.undo()
            assert sum(store.excluded_counts().values()) == expected
        assert store.counts() == {"bowl": 1, "mug": 4}
        store.verify()


def test_an_unknown_sample_is_not_excluded_and_neither_are_the_others(path: Path) -> None:
    """One wrong id refuses the whole change."""
    with Store.open(path, IDENTITY) as store:
        with pytest.raises(SampleNotFoundError):
            store.exclude([1, 99])
        assert store.counts()["mug"] == 2


def test_a_renamed_label_is_renamed_in_excluded_samples_too(path: Path) -> None:
    """Otherwise including them would bring the old name back; deleting the label forgets them."""
    with Store.open(path, IDENTITY) as store:
        store.rename("mug", "cup")
        assert (store.counts(), store.excluded_counts()) == ({"bowl": 1, "cup": 2}, {"cup": 2})
        store.rename("cup", None)
        assert (store.counts(), store.excluded_counts()) == ({"bowl": 1}, {})


def test_a_relabeled_sample_teaches_again_and_a_forgotten_one_does_not(path: Path) -> None:
    """Purging erases forgotten samples and keeps excluded ones."""
    with Store.open(path, IDENTITY) as store:
        store.relabel({2: "cup"})
        store.relabel({1: None}, "forget")
        assert store.purge() == 1
        assert (store.counts(), store.excluded_counts()) == ({"bowl": 1, "cup": 1, "mug": 1}, {"mug": 1})
        assert store.codes([3]).tolist() == [[3] * 8]


def test_merging_does_not_learn_what_another_device_excludes(path: Path, tmp_path: Path) -> None:
    """What is excluded here stays excluded, even if the other device teaches it."""
    with Store.open(tmp_path / "other.db", IDENTITY) as other:
        merge(other, path)
        assert other.counts() == {"bowl": 1, "mug": 2}
        other.exclude([1])
    with Store.open(path, IDENTITY) as store:
        store.exclude([2, 3], excluded=False)
    with Store.open(tmp_path / "other.db", IDENTITY) as other:
        merge(other, path)
        assert (other.counts(), other.excluded_counts()) == ({"bowl": 1, "mug": 3}, {"mug": 1})


def test_recovery_keeps_excluded_samples_excluded(path: Path, tmp_path: Path) -> None:
    """From the rows, and from the journal where a row is older."""
    found = recover(path, tmp_path / "new.db")
    assert (found.samples, found.forgotten) == ({"bowl": 1, "mug": 2}, 2)
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert store.excluded_counts() == {"mug": 2}
        store.verify()
