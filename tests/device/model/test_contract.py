"""The signatures of a model file match its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from device.errors import ModelFileError
from device.learner import Learner
from device.model.modelfile import ModelFile
from tests.hostile import TakenApart
from tests.tiny import TINY_TAUGHT, TINY_VERSION_1

GOOD, OLD = TakenApart.read(TINY_TAUGHT), TakenApart.read(TINY_VERSION_1)
MANIFEST = json.loads(GOOD.members["edgetl.json"])
PLACES, SIZE = MANIFEST["head_weights"], MANIFEST["preprocessing"]


def written(folder: Path, changed: TakenApart) -> Path:
    """Write a changed file with checksums that match."""
    path = folder / "changed.tflite"
    path.write_bytes(changed.mended().packed())
    return path


@pytest.mark.parametrize("good", [GOOD, OLD], ids=["version 2", "version 1"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": 33}, "embedding of features"),
        ({"capacity": 7}, "classify"),
        ({"preprocessing": {**SIZE, "height": 31}}, "image of features"),
        ({"preprocessing": {**SIZE, "channels": 1, "mean": [127], "std": [128]}}, "image of features"),
        ({"head_weights": {}}, "head_weights places"),
        ({"head_weights": {"W": PLACES["W"]}}, "head_weights places"),
        ({"head_weights": {**PLACES, "W": [8, 1024]}}, "head_weights places W at 8"),
        ({"head_weights": {**PLACES, "b": PLACES["b_momentum"]}}, "two variables in one buffer"),
    ],
)
def test_a_manifest_that_does_not_fit_the_graphs_is_refused(
    tmp_path: Path, good: TakenApart, fields: dict[str, Any], message: str
) -> None:
    """LiteRT would silently resize a graph, and an export would overwrite something else."""
    places = json.loads(good.members["edgetl.json"])["head_weights"]
    if "head_weights" in fields and fields["head_weights"].keys() == PLACES.keys():
        fields = {
            "head_weights": places | {n: p for n, p in fields["head_weights"].items() if p == [8, 1024]}
        }
        fields["head_weights"] |= {"b": places["b_momentum"]} if "two" in message else {}
    with pytest.raises(ModelFileError, match=message):
        ModelFile.open(written(tmp_path, good.with_manifest(**fields)))


def test_an_output_of_another_name_is_refused(tmp_path: Path) -> None:
    """The learner never gets to use it."""
    renamed = TakenApart(GOOD.part.replace(b"embedding\0", b"embeddinG\0"), GOOD.members)
    path = written(tmp_path, renamed)
    with pytest.raises(ModelFileError, match="embeddinG"):
        ModelFile.open(path)


def test_a_file_without_a_signature_is_not_run(tmp_path: Path) -> None:
    """It can be opened and described; the learner names the missing signatures."""
    path = written(tmp_path, TakenApart(GOOD.part.replace(b"features\0", b"featureS\0"), GOOD.members))
    assert ModelFile.open(path).missing == ("features",)
    with pytest.raises(ModelFileError, match="lacks the signatures features"):
        Learner.open(path, None)
