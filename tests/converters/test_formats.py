"""The comparison of formats: its figures, the layers it names and what it recommends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from converters import ConversionError
from converters.backbone import QUANTIZATIONS, FloatGraph
from converters.formats import FormatResult, compare_quantizations, recommend
from converters.parity import source_embeddings
from converters.sensitivity import find_hurt_layers
from tests import tiny


@pytest.fixture(scope="module")
def compared(photos: list[tuple[Path, str]]) -> Any:
    """The comparison of the tiny backbone on its training photos."""
    return compare_quantizations(tiny.trained_model(photos))


def result(quantization: str, **figures: Any) -> FormatResult:
    """Return a format with invented figures."""
    usual = {"size": 100, "centered_cosine": 1.0, "accuracy": 0.9, "latency_ms": 10.0, "photos": 40}
    return FormatResult(quantization, (), **{**usual, **figures})


def test_every_format_is_compared_on_all_photos(compared: Any) -> None:
    """Floats are like the source; integers are smaller and a little different."""
    formats = {one.quantization: one for one in compared.formats}
    assert set(formats) == set(QUANTIZATIONS)
    assert {one.photos for one in formats.values()} == {36}
    assert formats["none"].centered_cosine == pytest.approx(1, abs=1e-5)
    assert 0.9 < formats["int8"].centered_cosine < formats["float16"].centered_cosine + 1e-6
    assert formats["float16"].size < formats["none"].size
    assert all(one.latency_ms > 0 for one in formats.values())
    assert (compared.how, formats["none"].accuracy) == ("leave-one-out", 1.0)


def test_the_comparison_becomes_json(compared: Any) -> None:
    """The recommendation is the options of convert."""
    fields = compared.to_dict()
    assert fields["recommended"] in [one["options"] for one in fields["formats"]]
    assert fields["reason"]


def test_photos_without_labels_have_no_accuracy(photos: list[tuple[Path, str]]) -> None:
    """Then the similarity decides."""
    compared = compare_quantizations(tiny.trained_model(None), [(path, "") for path, _ in photos])
    assert {one.accuracy for one in compared.formats} == {None}
    assert "no labels" in compared.how
    assert (
        "centered cosine" in compared.reason or compared.formats[compared.recommended].quantization == "none"
    )


def test_a_tuned_backbone_is_judged_on_held_out_photos(photos: list[tuple[Path, str]]) -> None:
    """On the photos that tuned it, any accuracy would be too high."""
    held_out = tuple(number % 4 == 0 for number in range(len(photos)))
    tuned = replace(tiny.trained_model(photos), tuned=True, held_out=held_out)
    assert compare_quantizations(tuned).how == "on 9 photos held out from training"
    unknown = replace(tuned, held_out=())
    assert "no photo was held out" in compare_quantizations(unknown).how


def test_without_photos_there_is_no_comparison() -> None:
    """The message has the next step."""
    with pytest.raises(ConversionError, match="--calibrate PHOTOS"):
        compare_quantizations(tiny.trained_model(None))


def test_unreadable_photos_of_a_folder_are_left_out(photos: list[tuple[Path, str]], tmp_path: Path) -> None:
    """As when convert calibrates."""
    (tmp_path / "broken.png").write_bytes(b"no photo")
    pairs = [*photos, (tmp_path / "broken.png", "red")]
    assert compare_quantizations(tiny.trained_model(None), pairs).photos == 36


@pytest.mark.parametrize(
    ("int8", "expected"),
    [
        ({"accuracy": 0.891}, "int8"),  # costs less than one point
        ({"accuracy": 0.88}, "float16"),  # costs two
        ({"accuracy": None, "photos": 8}, "float16"),  # too slow to know
        ({"latency_ms": 90.0}, "float16"),  # four times smaller, nine times slower
    ],
)
def test_the_recommended_format_is_small_and_fast_without_losing_more_than_a_point(
    int8: dict[str, Any], expected: str
) -> None:
    """The reason compares it with float."""
    formats = [
        result("none"),
        result("float16", size=50),
        result("int8", **{"size": 25, "latency_ms": 5.0, **int8}),
    ]
    number, reason = recommend(formats)
    assert formats[number].quantization == expected
    assert "than float" in reason


def test_float_is_recommended_where_everything_else_loses() -> None:
    """The reason is given."""
    number, reason = recommend([result("none"), result("int8", size=25, accuracy=0.5)])
    assert number == 0
    assert "more than one point" in reason


def test_the_layer_that_int8_hurts_is_named() -> None:
    """One channel with a huge range leaves the others of its layer without precision."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, activation="relu6", name="harmless"),
            layers.Conv2D(16, 1, name="outlier"),
            layers.Conv2D(16, 1, name="after"),
            layers.GlobalAveragePooling2D(name="pool"),
        ]
    )
    chooser = np.random.default_rng(0)
    weights = [chooser.normal(0, 0.5, value.shape) for value in model.get_weights()]
    weights[2][..., 0] *= 3000
    weights[4][:, :, 0, :] = 0  # the rest of the network does not use the channel
    model.set_weights(weights)
    preprocessing = tiny.Preprocessing(16, 16)
    images = [tiny.photo(label, seed, 16) for label in tiny.COLORS for seed in range(8)]
    source = FloatGraph(model, preprocessing, images)
    found = find_hurt_layers(source, images, source_embeddings(model, images, preprocessing))
    assert (found[0].name, found[0].keep) == ("outlier", ("outlier", "after"))
    assert found[0].gain > 0.1
    assert found[0].added > 0
