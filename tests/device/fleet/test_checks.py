"""Statistics that no set of samples can have are refused, and genuine ones are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.arrays import pack_arrays, unpack_arrays
from device.errors import FleetError
from device.fleet import Contribution, FleetModel, check_contribution, pack_contribution, unpack_contribution
from device.model.codes import encode
from device.model.memory import Sums

from .conftest import DIMENSIONS


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_genuine_statistics_pass(count: int, classes: int, dimensions: int, seed: int) -> None:
    """Samples may repeat, be zero, or be fewer than dimensions."""
    rng = np.random.default_rng(seed)
    model = FleetModel("5" * 64, dimensions)
    codes = encode(rng.standard_normal((count, dimensions)) * (rng.random((count, 1)) > 0.1))
    codes[rng.integers(count)] = codes[0]
    labels = [f"label {number}" for number in rng.integers(classes, size=count)]
    genuine = Contribution.of("shed", model, codes, labels)
    data = pack_contribution(genuine)
    read = unpack_contribution(data, model)
    assert read.digest() == genuine.digest()
    assert pack_contribution(read) == data


def test_genuine_statistics_of_the_longest_embeddings_pass() -> None:
    """All numbers of an embedding are rounded up, so that its code is longer than 4096."""
    model = FleetModel("5" * 64, 1000)
    codes = encode(np.ones((3, 1000)))
    assert (codes == 130).all()  # 4096 / sqrt(1000) is 129.5
    check_contribution(Contribution.of("shed", model, codes, ["a", "a", "b"]), model)


def test_genuine_statistics_of_many_samples_pass(model, draw) -> None:
    """Rounding of the scatter stays within the tolerance."""
    codes, labels = draw(1, 20_000)
    check_contribution(Contribution.of("shed", model, codes, labels), model)


def test_an_empty_contribution_passes(model) -> None:
    """A device without samples sends empty arrays."""
    nothing = Contribution.of("shed", model, np.zeros((0, DIMENSIONS), np.int16), [])
    assert unpack_contribution(pack_contribution(nothing), model).samples == 0


def changed(sums: Sums, row: int, column: int, added: float) -> Sums:
    """Return the statistics with something added to one number of the second moment."""
    gram = sums.gram.copy()
    gram[row, column] += added
    return replace(sums, gram=gram)


def indefinite(sums: Sums) -> Sums:
    """Return statistics whose second moment has a negative eigenvalue and still looks like one otherwise."""
    lie = 2 * np.sqrt(sums.gram[3, 3] * sums.gram[4, 4]).round() - sums.gram[3, 4]
    return changed(changed(sums, 3, 4, lie), 4, 3, lie)


def too_small(sums: Sums) -> Sums:
    """Return statistics whose second moment is positive, but too small for these sums."""
    return replace(sums, gram=np.diag(np.diagonal(sums.gram) // 4 * 2 + np.abs(sums.sums.sum(axis=0)) % 2))


def moved_count(sums: Sums) -> Sums:
    """Return statistics in which one label claims the samples of another."""
    return replace(sums, numbers=sums.numbers + np.array([sums.numbers[1] - 1, 1 - sums.numbers[1], 0]))


LIES: dict[str, tuple[Callable[[Sums], Sums], str]] = {
    "a negative count": (lambda sums: replace(sums, numbers=sums.numbers * [-1, 1, 1]), "samples, got -"),
    "long sums": (lambda sums: replace(sums, sums=sums.sums * 100), "is longer than that of"),
    "a large moment": (lambda sums: replace(sums, gram=sums.gram * 3), "second moment is larger"),
    "an odd square": (lambda sums: changed(sums, 3, 3, 1), "does not fit the sums"),
    "an indefinite moment": (indefinite, "positive semi-definite"),
    "a small moment": (too_small, "positive semi-definite"),
    "NaN": (lambda sums: changed(sums, 0, 0, np.nan), "NaN or infinity"),
    "infinity": (lambda sums: changed(sums, 2, 1, -np.inf), "NaN or infinity"),
    "a fraction": (lambda sums: changed(sums, 0, 0, 0.5), "must contain integers"),
    "a lopsided moment": (lambda sums: changed(sums, 0, 1, 2), "not symmetric"),
    "sums as floats": (lambda sums: replace(sums, sums=sums.sums * 1.0), "sums must be int64"),
    "one row less": (lambda sums: replace(sums, sums=sums.sums[:2]), "sums must be int64"),
    "one label more": (lambda sums: replace(sums, labels=(*sums.labels, "zebra")), "counts must be int64"),
    "unsorted labels": (lambda sums: replace(sums, labels=sums.labels[::-1]), "must be sorted"),
    "a label twice": (lambda sums: replace(sums, labels=("cup", "cup", "mug")), "more than once"),
    "a label of two lines": (
        lambda sums: replace(sums, labels=("a\nb", "cup", "mug")),
        "line breaks or control",
    ),
    "a moved count": (moved_count, "is longer than that of 1 embeddings"),
}


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=LIES)
def test_impossible_statistics_are_refused_with_the_name_of_the_device(
    lie: Callable[[Sums], Sums], reason: str, model, contribute
) -> None:
    """Each kind of lie has its own reason."""
    genuine = contribute(7, 60)
    with pytest.raises(FleetError, match=f"the contribution of device 7 is refused: .*{reason}"):
        check_contribution(replace(genuine, sums=lie(genuine.sums)), model)


def test_more_directions_than_samples_are_refused(model, draw) -> None:
    """Seven samples of three labels have at most four directions around the means of their labels."""
    codes, labels = draw(3, 7)
    genuine = Contribution.of("shed", model, codes, labels)
    check_contribution(genuine, model)
    gram = genuine.sums.gram + np.diag(np.full(DIMENSIONS, 2000.0))
    smaller = replace(genuine.sums, gram=gram)
    wide = FleetModel("5" * 64, DIMENSIONS, "identity")
    with pytest.raises(FleetError, match="more directions than samples"):
        check_contribution(Contribution("shed", wide, smaller), wide)


@pytest.mark.parametrize(
    "other",
    [
        FleetModel("6" * 64, DIMENSIONS),
        FleetModel("5" * 64, DIMENSIONS, "l2"),
        FleetModel("5" * 64, DIMENSIONS, views="flip"),
        FleetModel("5" * 64, DIMENSIONS + 1),
    ],
)
def test_the_statistics_of_another_model_are_refused(other: FleetModel, model, contribute) -> None:
    """Backbone, map, views and dimensions must be the same; the message names both models."""
    data = pack_contribution(contribute(1))
    with pytest.raises(
        FleetError, match=r"the contribution of shed is refused: .*555555555555.*the fleet uses"
    ):
        unpack_contribution(data, other, "shed")
    with pytest.raises(FleetError, match="device 1 is refused: it was taught to the model 555555555555"):
        check_contribution(contribute(1), other)


@pytest.mark.parametrize("length", [0, 10, 500, -1])
def test_bytes_that_are_cut_are_refused(length: int, model, contribute) -> None:
    """A message that was cut is no contribution."""
    data = pack_contribution(contribute(1))
    with pytest.raises(FleetError, match="the contribution of shed is refused"):
        unpack_contribution(data[:length], model, "shed")


@pytest.mark.parametrize(
    "name", ["header", "names", "counts", "sums", "gram_diagonal", "gram_widths", "gram_bits"]
)
def test_a_missing_or_wrong_array_is_refused(name: str, model, contribute) -> None:
    """An array of floats, in place of each, and none at all."""
    arrays = unpack_arrays(pack_contribution(contribute(1)))
    wrong = arrays | {name: np.full(3, np.nan)}
    missing = {other: array for other, array in arrays.items() if other != name}
    for changed in (wrong, missing):
        with pytest.raises(FleetError, match="is refused"):
            unpack_contribution(pack_arrays(changed), model, "shed")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_changed_bytes_are_refused_or_are_statistics_that_samples_can_have(seed: int) -> None:
    """No bytes raise anything but a `FleetError`."""
    rng = np.random.default_rng(seed)
    model = FleetModel("5" * 64, 3)
    arrays = unpack_arrays(
        pack_contribution(Contribution.of("shed", model, encode(rng.standard_normal((6, 3))), list("aabbcc")))
    )
    name = sorted(arrays)[rng.integers(len(arrays))]
    flat = arrays[name].reshape(-1).view(np.uint8)
    if flat.size:
        flat[rng.integers(flat.size)] ^= np.uint8(1 << rng.integers(8))
    try:
        read = unpack_contribution(pack_arrays(arrays), model, "shed")
    except FleetError:
        return
    check_contribution(read, model)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "\x1b[31m"])
def test_a_device_needs_a_printable_name(name: str, model) -> None:
    """The name is shown to people."""
    with pytest.raises(FleetError, match="name of a device"):
        Contribution.of(name, model, np.zeros((0, DIMENSIONS), np.int16), [])
