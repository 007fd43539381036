"""A head that gets more columns on the device: every signature of the new file works as after a conversion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import LabelError, ModelFileError
from device.heads import Linear
from device.heads.trainer import MASKED, VARIABLES, NumpyTrainer
from device.learner import Learner
from device.learner.export import write_personal
from device.learner.growth import MOST, capacity_for, grow
from device.model.codes import apply_map
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests import tiny

FILES = [tiny.TINY, tiny.TINY_TAUGHT, tiny.TINY_INFER, tiny.TINY_VERSION_1]
UNUSED = np.zeros(1, np.float32)
MANY = tuple(f"label {number:02d}" for number in range(30))


def linear(labels: int, seed: int = 0) -> Linear:
    """Return a random linear map."""
    chooser = np.random.default_rng(seed)
    return Linear(chooser.normal(size=(32, labels)), chooser.normal(size=labels))


def runners(path: Path) -> dict[str, Any]:
    """Return the signature runners of a file by name."""
    interpreter = open_interpreter(path, threads=1)
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_grown_file_answers_and_learns_like_numpy(tmp_path: Path, path: Path) -> None:
    """All signatures have the new columns; the backbone is the same to the bit."""
    wanted = linear(30)
    made = write_personal(ModelFile.open(path), tmp_path / "grown.tflite", wanted, MANY)
    assert (made.manifest.capacity, made.labels) == (48, MANY)
    before, after = runners(path), runners(made.path)
    images = np.stack([tiny.photo(label, 3) for label in tiny.COLORS])
    embeddings = after["features"](image=images)["embedding"]
    assert np.array_equal(embeddings, before["features"](image=images)["embedding"])
    given = after["classify"](embedding=embeddings)
    assert given["logits"].shape == (3, 48)
    assert np.allclose(given["logits"][:, :30], apply_map(embeddings) @ wanted.W + wanted.b, atol=1e-5)
    assert not given["probabilities"][:, 30:].any()
    if "infer" in after:
        assert np.array_equal(after["infer"](image=images)["probabilities"], given["probabilities"])
    label = np.eye(48, dtype=np.float32)[[0, 29, 31 if path != tiny.TINY_VERSION_1 else 28]]
    oracle = NumpyTrainer(32, 48)
    oracle.set_weights(after["get_weights"](unused=UNUSED))
    for _ in range(5):
        step = {"embedding": embeddings, "label": label}
        loss = after["train"](**step, learning_rate=np.full(1, 0.1, np.float32))["loss"]
        assert loss[0] == pytest.approx(oracle.train(**step, learning_rate=0.1), rel=1e-5)
    trained = after["get_weights"](unused=UNUSED)
    for name in VARIABLES:
        assert np.allclose(trained[name], oracle.get_weights()[name], rtol=1e-5, atol=1e-5), name
    fresh = runners(made.path)
    fresh["set_weights"](**trained)
    assert all(np.array_equal(fresh["get_weights"](unused=UNUSED)[name], trained[name]) for name in VARIABLES)


def test_a_head_grows_again_even_when_it_has_as_many_columns_as_dimensions(tmp_path: Path) -> None:
    """Columns are traced through the graph, not recognized by their number."""
    model = ModelFile.open(tiny.TINY_INFER)
    for count, columns in ((20, 32), (33, 48), (60, 80)):
        labels = tuple(f"label {number:02d}" for number in range(count))
        model = write_personal(model, tmp_path / f"{count}.tflite", linear(count), labels)
        assert model.manifest.capacity == columns
    embedding = np.abs(np.random.default_rng(1).normal(size=(2, 32))).astype(np.float32)
    given = runners(model.path)["classify"](embedding=embedding)["logits"]
    wanted = linear(60)
    assert np.allclose(given[:, :60], apply_map(embedding) @ wanted.W + wanted.b, atol=1e-5)
    assert (given[:, 60:] == np.float32(MASKED)).all()


def test_a_learner_with_more_labels_than_columns_exports(tmp_path: Path) -> None:
    """And the exported file is taught further."""
    names = [f"label {number:02d}" for number in range(43)]
    with Learner.open(tiny.TINY, tmp_path / "s.db", threads=1) as learner:
        learner.learn_many([tiny.photo("red", seed) for seed in range(43)], names)
        exported = learner.export(tmp_path / "p.tflite")
    assert (exported.labels, exported.manifest.capacity) == (tuple(names), 64)
    with Learner.open(exported, None, head="softmax", threads=1) as learner:
        assert learner.labels == tuple(names)
        learner.learn_one(tiny.photo("blue", 0), "one more")


@pytest.mark.parametrize("cut", ["buffers", "manifest", "root"])
def test_the_error_for_another_layout_names_the_next_step(cut: str) -> None:
    """Weights in other places, no places at all, an offset out of the file."""
    model = ModelFile.open(tiny.TINY)
    part, manifest = bytearray(model.model_part()), model.manifest
    if cut == "buffers":
        places = {name: (start + 4, length) for name, (start, length) in manifest.head_weights.items()}
        manifest = replace(manifest, head_weights=places)
    elif cut == "manifest":
        manifest = replace(manifest, head_weights={})
    else:
        part[:4] = b"\xff\xff\xff\x7f"
    with pytest.raises(ModelFileError, match=r"--capacity|offset leads to"):
        grow(bytes(part), manifest, 48)


def test_damage_anywhere_in_the_head_never_ends_in_another_error() -> None:
    """Any byte of the graph may be wrong in a file with a forged checksum."""
    model, chooser = ModelFile.open(tiny.TINY), np.random.default_rng(0)
    part = model.model_part()
    for place in chooser.integers(0, len(part), 300):
        damaged = bytearray(part)
        damaged[place] ^= 1 << int(chooser.integers(8))
        try:
            grown, _ = grow(bytes(damaged), model.manifest, 48)
        except ModelFileError:
            continue
        assert len(grown) > len(part)


@pytest.mark.parametrize(
    ("labels", "columns"), [(0, 32), (24, 32), (25, 48), (43, 64), (100, 128), (4000, MOST)]
)
def test_the_capacity_leaves_room(labels: int, columns: int) -> None:
    """For eight labels at least, up to the most a head can have."""
    assert capacity_for(labels) == columns


def test_more_labels_than_a_head_can_have_are_refused() -> None:
    """The message has the possible number."""
    with pytest.raises(LabelError, match="at most 4096 labels, got 4097"):
        capacity_for(MOST + 1)
