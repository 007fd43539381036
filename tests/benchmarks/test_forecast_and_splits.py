"""The benchmarks of the forecast and of labels that hold two things, on drawn samples."""

import numpy as np
import pytest

from benchmarks import forecast, splits
from device.model.codes import Codes, encode

WIDTH = 20


def clouds(labels: int, count: int) -> tuple[Codes, np.ndarray]:
    """Return samples around one center per label, with their labels as numbers."""
    random = np.random.default_rng(0)
    owners = np.repeat(np.arange(labels), count)
    values = 0.2 * random.normal(size=(len(owners), WIDTH))
    values[np.arange(len(owners)), owners] += 6
    return encode(values.astype(np.float32)), owners


def test_a_draw_has_the_truth_of_every_number_of_samples() -> None:
    """More samples are tested on the rest of the set, and the figures are shares."""
    codes, owners = clouds(2, 120)
    row = forecast._draw(codes, owners, 2, 10, np.random.default_rng(0))
    assert set(row["truth"]) == {"1", "2", "5", "all"}
    assert row["growth"] == 9.0
    judged = forecast._judged([row | {"set": "drawn"}])
    assert len(judged["label"]) == 2
    inside, width, bias = judged["all"][0]
    assert inside in (0.0, 1.0)
    assert 0 < width < 1
    assert abs(bias) < 0.5


def test_a_set_with_too_few_samples_leaves_out_the_larger_numbers() -> None:
    """With 24 samples per label, 18 may be taught: there is no truth for 20."""
    codes, owners = clouds(2, 24)
    assert set(forecast._draw(codes, owners, 2, 10, np.random.default_rng(0))["truth"]) == {"1", "all"}


def test_joined_labels_are_counted_apart_from_ordinary_ones() -> None:
    """Clouds far apart: no ordinary label is reported, and most joined ones are."""
    codes, owners = clouds(4, 60)
    ordinary, labels, joined, pairs = splits._draw(codes, owners, 60, 6, np.random.default_rng(0))
    assert (labels, pairs) == (4, 6)
    assert ordinary <= 1
    assert joined >= 4


@pytest.mark.parametrize("page", [forecast.page, splits.page])
def test_the_pages_have_a_row_per_set(page: object) -> None:
    """They are made from the results in the repository."""
    text = page()  # type: ignore[operator]
    assert all(name in text for name in ("flower-photos5", "elpv", "ants-bees", "digits-photos"))
