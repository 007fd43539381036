"""A head learns the memory of a model file under the present names of its labels."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import HeadError
from device.heads import create_head
from device.heads.memory import learn_memory
from device.model.memory import Samples, Sums

from .conftest import D, samples

CODES, LABELS = samples(30)
NAMES = {LABELS[0]: "renamed"}


def test_a_head_learns_samples_and_sums_alike() -> None:
    """The digest is that of a head that was taught the samples under the present names."""
    expected = create_head("exact", D)
    expected.learn_many(CODES, [NAMES.get(label, label) for label in LABELS])
    for memory in (Samples(CODES, tuple(LABELS)), Sums.of(CODES, LABELS)):
        head = create_head("exact", D)
        learn_memory(head, memory, NAMES)
        assert head.digest() == expected.digest()


def test_samples_of_a_deleted_label_that_tuned_the_backbone_still_do_not_judge() -> None:
    """The same photo may be taught again on the device, under another label."""
    judge = np.array([label != LABELS[0] for label in LABELS])
    head = create_head("exact", D)
    learn_memory(head, Samples(CODES, tuple(LABELS), judge), {LABELS[0]: None})
    assert LABELS[0] not in head.labels
    assert not head.may_judge(CODES[~judge]).any()
    assert head.may_judge(CODES[judge]).all()


def test_a_head_that_needs_samples_refuses_sums() -> None:
    """The error names a head that can learn from sums."""
    with pytest.raises(HeadError, match="--head exact"):
        learn_memory(create_head("knn", D), Sums.of(CODES, LABELS))
