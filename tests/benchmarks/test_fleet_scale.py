"""The scale of fleets: trees of sums are exact, and the comparison with federated averaging counts what was sent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.fleet_devices import Split, assign, contribution, exact_round, one_device, train_locally
from benchmarks.fleet_scale import join, reached, tables, tree
from benchmarks.fleet_tree import level_growth, paper_rows, tree_sum
from device.errors import FleetError
from device.fleet import pack_contribution
from device.heads.trainer import empty_weights

LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def split() -> Split:
    """Three labels in 16 dimensions, with 40 samples each."""
    chooser = np.random.default_rng(0)
    centers = np.repeat(chooser.normal(0, 1, (3, 16)), 40, axis=0)
    embeddings = (centers + chooser.normal(0, 0.5, (120, 16))).astype(np.float32)
    return Split.of(embeddings, np.repeat(LABELS, 40))


@pytest.mark.parametrize(
    ("devices", "fan", "levels"), [(27, 3, 3), (20, 3, 3), (125, 5, 3), (8, 2, 3), (5, 5, 1)]
)
def test_a_tree_of_sums_is_exact(split: Split, devices: int, fan: int, levels: int) -> None:
    """Messages of bytes go up three levels, complete or not; the digest is that of one head that learned everything."""
    messages = [pack_contribution(contribution(split, device)) for device in range(devices)]
    total, found = tree_sum(split.model, messages, fan)
    assert total.digest() == one_device(split, devices)
    assert len(found) == levels
    assert found[-1].nodes == 1
    assert total.digest() == tree_sum(split.model, messages[::-1], fan)[0].digest()


def test_a_message_grows_by_the_bits_of_a_sum(split: Split) -> None:
    """The bound that the computation for a million devices uses."""
    messages = [pack_contribution(contribution(split, device)) for device in range(27)]
    _, levels = tree_sum(split.model, messages, 3)
    room = 16 * 17 + 3 * 16 * 8  # whole bits per row, and the sums per label
    for below, above in itertools.pairwise(levels):
        assert above.largest - below.largest <= level_growth(split.model, 3) + room


def test_a_damaged_message_in_a_tree_is_refused(split: Split) -> None:
    """Every node checks what it adds."""
    messages = [pack_contribution(contribution(split, device)) for device in range(9)]
    with pytest.raises(FleetError):
        tree_sum(split.model, [*messages[:-1], messages[-1][:-50]], 3)


def test_a_million_devices_need_three_levels_of_a_hundred(split: Split) -> None:
    """Nodes, messages per node, bytes and seconds per level."""
    messages = [pack_contribution(contribution(split, device)) for device in range(9)]
    _, levels = tree_sum(split.model, messages, 3)
    rows = paper_rows(split.model, levels, 10**6, 100, 100)
    assert [row[:2] for row in rows] == [[10_000, 100], [100, 100], [1, 100]]
    assert rows[0][2] == 100 * levels[0].largest


@pytest.mark.parametrize("evenness", [float("inf"), 0.3])
def test_each_sample_belongs_to_one_device(split: Split, evenness: float) -> None:
    """Even shares are equal; the result of the exact head depends on neither."""
    parts = assign(split, 5, evenness)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(split.labels)))
    if np.isinf(evenness):
        assert {len(part) for part in parts} == {18}
    accuracy, sizes, _ = exact_round(split, parts)
    assert accuracy == exact_round(split, [np.arange(len(split.labels))])[0]
    assert len(sizes) == 5


def test_a_device_trains_the_softmax_head_on_its_own_samples(split: Split) -> None:
    """An epoch makes the held-out samples more probable; nothing is trained without samples."""
    start = empty_weights(16, 3) | {"b": np.zeros(3, np.float32)}
    none = train_locally(split, np.zeros(0, np.intp), start, epochs=1, rate=1.0, seed=0)
    np.testing.assert_array_equal(none["W"], start["W"])
    trained = train_locally(split, np.arange(len(split.labels)), start, epochs=5, rate=1.0, seed=0)
    assert split.accuracy(trained["W"], trained["b"], split.classes) > 0.9


def test_rounds_and_bytes_are_those_until_the_accuracy_is_reached() -> None:
    """The accuracy of the start does not count."""
    found = {"accuracies": [0.95, 0.5, 0.9, 0.8, 0.92], "bytes_per_round_each_way": 10}
    one = reached(found, 0.9)
    assert (one["rounds"], one["bytes_up"], one["best"], one["best_round"]) == (2, 20, 0.92, 4)
    assert reached(found, 0.99)["rounds"] is None


def test_results_of_several_runs_are_joined(split: Split) -> None:
    """A run with a thousand devices takes long, so the sizes may be measured one by one."""
    row = {
        "bytes_up": 5, "bytes_down": 6, "seconds": 1.0, "server_processor_seconds": 0.5, "server_ram_before_mb": 10,
        "server_ram_peak_mb": 20, "exact": True,
    }  # fmt: skip
    averaged = {
        "labels": "even",
        "exact": {"accuracy": 0.9, "bytes_up": 7, "bytes_down": 8},
        "fedavg": reached({"accuracies": [0.1, 0.8], "bytes_per_round_each_way": 3}, 0.9),
    }
    result = {"simulated": [row | {"devices": 100, "dimensions": 16}], "averaged": [], "tree": tree(split)}
    join(
        result,
        {
            "simulated": [row | {"devices": 10, "dimensions": 16}],
            "averaged": [averaged],
            "machine": {"cores": 2},
        },
    )
    assert [one["devices"] for one in result["simulated"]] == [10, 100]
    assert result["runs"] == [{"cores": 2}]
    simulated, million, beside = tables(result)
    assert [one[0] for one in simulated.rows] == [10, 100]
    assert len(million.rows) == 3
    assert [one[1:4] for one in beside.rows] == [("exact", 1, 7), ("fedavg", None, None)]
