"""What a state file contributes."""

from __future__ import annotations

import numpy as np

from device.fleet import Contribution, FleetModel, contribution_of
from device.negatives import BACKGROUND
from device.store import ModelIdentity, NewSample, Store

from .conftest import DIMENSIONS

IDENTITY = ModelIdentity("7" * 64, DIMENSIONS)


def taught(draw, count: int = 30) -> Store:
    """Return a state in RAM that was taught drawn samples."""
    store = Store.open(None, IDENTITY)
    codes, labels = draw(1, count)
    store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
    return store


def test_a_state_contributes_the_statistics_of_its_samples(draw) -> None:
    """The same as those of the samples themselves, also when they are read in several pieces."""
    with taught(draw, 1200) as store:
        found = contribution_of(store, "shed")
        assert found.digest() == Contribution.of("shed", FleetModel.of(IDENTITY), *draw(1, 1200)).digest()
        assert found.counts == store.counts()


def test_a_state_without_samples_contributes_nothing() -> None:
    """It can join nevertheless."""
    with Store.open(None, IDENTITY) as store:
        assert contribution_of(store, "shed").samples == 0


def test_forgotten_and_excluded_samples_and_background_are_not_contributed(draw) -> None:
    """Only what teaches a label now."""
    codes, labels = draw(1)
    with taught(draw) as store:
        store.relabel({1: None})
        store.exclude([2])
        store.learn([NewSample(BACKGROUND, codes[0], 0.0)])
        expected = Contribution.of("shed", FleetModel.of(IDENTITY), codes[2:], labels[2:])
        assert contribution_of(store, "shed").digest() == expected.digest()


def test_personal_and_rare_labels_stay_on_the_device(draw) -> None:
    """Neither their samples nor their names are in the contribution."""
    with taught(draw) as store:
        store.learn([NewSample("guest", np.ones(DIMENSIONS, np.int16), 0.0)] * 2)
        found = contribution_of(store, "shed", personal=["mug"], min_count=3)
        assert found.sums.labels == ("bowl", "cup")
        codes, labels = draw(1)
        mine = [place for place, label in enumerate(labels) if label != "mug"]
        expected = Contribution.of(
            "shed", FleetModel.of(IDENTITY), codes[mine], [labels[place] for place in mine]
        )
        assert found.digest() == expected.digest()
