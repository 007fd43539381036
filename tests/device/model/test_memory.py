"""The memory: counting, renaming and adding what the host taught, as samples or as sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.model.codes import content_keys, encode
from device.model.memory import Memory, Samples, Sums, remember, sums_are_smaller
from device.model.packing import pack_memory


def codes_of(count: int, seed: int = 0) -> Any:
    """Random codes, int16 [count, 32]."""
    return np.random.default_rng(seed).integers(-4096, 4097, (count, 32)).astype(np.int16)


def memories(labels: str) -> list[Memory]:
    """Return both forms of a memory with one sample per label."""
    codes = codes_of(len(labels))
    return [Samples(codes, tuple(labels)), Sums.of(codes, list(labels))]


@pytest.mark.parametrize("memory", memories("bacab"), ids=["samples", "sums"])
def test_both_forms_have_the_same_counts_and_keys(memory: Memory) -> None:
    """Labels are sorted; keys are those of the samples."""
    assert list(memory.counts().items()) == [("a", 2), ("b", 2), ("c", 1)]
    assert set(memory.content_keys()) == set(content_keys(codes_of(5)))
    assert memory.dimensions == 32


@pytest.mark.parametrize("memory", memories("abc"), ids=["samples", "sums"])
def test_a_memory_without_renamed_labels_is_not_copied(memory: Memory) -> None:
    """A memory may have a hundred megabytes."""
    assert memory.renamed({}) is memory
    assert memory.renamed({"other": None}) is memory


def test_a_deleted_label_leaves_samples_but_not_sums() -> None:
    """Sums have only totals, so the label keeps its name."""
    samples, sums = (memory.renamed({"a": None, "b": "c"}) for memory in memories("abc"))
    assert samples.counts() == {"c": 2}
    assert sums.counts() == {"a": 1, "c": 2}


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    """Exactly, in whole numbers, labels in any split."""
    codes, labels = codes_of(50), [f"l{number % 7}" for number in range(50)]
    whole = Sums.of(codes, labels)
    parts = Sums.added([Sums.of(codes[:13], labels[:13]), Sums.of(codes[13:], labels[13:])])
    assert parts.labels == whole.labels
    assert all(
        np.array_equal(getattr(parts, name), getattr(whole, name)) for name in ("numbers", "sums", "gram")
    )


def test_samples_join_a_memory_of_samples_or_of_sums() -> None:
    """A memory of sums stays one."""
    codes, more = codes_of(6), codes_of(3, seed=1)
    joined = Samples(codes, tuple("ababab")).together(more, ["c", "c", "a"])
    assert isinstance(joined, Samples)
    assert joined.labels == (*"ababab", "c", "c", "a")
    assert np.array_equal(joined.codes, np.concatenate([codes, more]))
    summed = Sums.of(codes, list("ababab")).together(more, ["c", "c", "a"])
    assert summed.counts() == {"a": 4, "b": 3, "c": 2}


def test_sums_whose_labels_became_one_are_added() -> None:
    """Renaming to an existing label merges the two."""
    merged = Sums.of(codes_of(6), list("abcabc")).renamed({"c": "a"})
    assert merged.labels == ("a", "b")
    assert merged.counts() == {"a": 4, "b": 2}


def test_the_form_of_a_memory_is_chosen_without_packing_it() -> None:
    """The samples, unless their sums are clearly smaller."""
    chooser = np.random.default_rng(4)
    middles = chooser.exponential(1, (3, 64))
    forms = set()
    for count in (20, 60, 120, 200, 400):
        codes = encode(np.maximum(middles[np.arange(count) % 3] + chooser.normal(size=(count, 64)), 0))
        labels = [f"label {number % 3}" for number in range(count)]
        chosen = remember(codes, labels)
        sizes = {
            type(memory): len(pack_memory(memory))
            for memory in (Samples(codes, tuple(labels)), Sums.of(codes, labels))
        }
        assert sizes[type(chosen)] < 1.5 * min(sizes.values()), (count, sizes)
        forms.add(type(chosen))
    assert forms == {Samples, Sums}
    assert not sums_are_smaller(256, 64)
    assert sums_are_smaller(257, 64)


def test_judges_and_groups_survive_renaming_and_new_samples() -> None:
    """Samples of the device may judge, and are groups of their own."""
    wide = np.zeros((4, 200), np.int16)
    judge, groups = np.array([True, False, True, False]), np.array([0, 0, 1, 1], np.int32)
    memory = Samples(wide, ("a", "b", "b", "c"), judge, groups).renamed({"c": None, "a": "x"})
    joined = memory.together(wide[:2], ["y", "y"])
    assert isinstance(joined, Samples)
    assert joined.labels == ("x", "b", "b", "y", "y")
    assert joined.judge is not None
    assert joined.groups is not None
    assert joined.judge.tolist() == [True, False, True, True, True]
    assert joined.groups.tolist() == [0, 0, 1, 2, 3]


def test_groups_of_the_device_do_not_mix_with_those_of_the_host() -> None:
    """In a memory without groups, each sample is a group of its own."""
    wide = np.zeros((3, 200), np.int16)
    memory = remember(wide, ["a", "a", "b"])
    joined = memory.together(wide[:2], ["b", "b"], np.array([0, 0], np.int32))
    assert isinstance(joined, Samples)
    assert joined.groups is not None
    assert joined.groups.tolist() == [0, 1, 2, 3, 3]
    assert joined.judge is None
