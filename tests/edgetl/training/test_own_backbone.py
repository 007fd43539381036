"""Fine-tuning of a Keras model of the user's, and where any backbone is cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

import edgetl
from converters.layer_graph import flatten, list_steps
from converters.source import TrainedModel
from edgetl.backbones.own import load_own
from edgetl.cli import main
from edgetl.errors import BackboneError, TrainingError
from edgetl.training.cut import block_starts, split_backbone
from tests import keras_models, tiny


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with twelve photos of each of three colors."""
    tiny.write_photos(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.mark.parametrize("layers", ["head", "blocks", "all"])
def test_a_keras_file_is_fine_tuned_and_converted(layers: str, photos: Path, tmp_path: Path) -> None:
    """The command shows the embedding and the pixels; the folder contains the tuned model, cut after its embedding."""
    keras_models.nested().save(tmp_path / "mine.keras")
    arguments = ["finetune", photos, "--backbone", tmp_path / "mine.keras", "--out", tmp_path / "out"]
    options = ["--resize", "squash", "--layers", layers, "--head-epochs", 20, "--copies", 1]
    options += [] if layers == "head" else ["--epochs", 1]
    done = CliRunner().invoke(main, [str(one) for one in [*arguments, *options]])
    assert done.exit_code == 0, done.output
    assert "mine.keras, embedding: layer 'pool', the last pooled layer before the classifier" in done.stdout
    model = TrainedModel.load(tmp_path / "out")
    assert (model.backbone_name, model.dimensions, model.preprocessing.std) == ("mine.keras", 16, (1.0,) * 3)
    record = json.loads((tmp_path / "out" / "training.json").read_text())["info"]
    assert str(tmp_path) not in json.dumps(record)
    report = edgetl.convert(tmp_path / "out", tmp_path / "m.tflite")
    assert report.labels == tuple(sorted(tiny.COLORS))
    assert report.source["pixels"].startswith("0..255")
    if layers == "head":
        source = load_own(tmp_path / "mine.keras").backbone
        for kept, first in zip(model.backbone.get_weights(), source.get_weights(), strict=True):
            assert np.array_equal(kept, first)


def test_a_wrong_model_is_refused_before_photos_are_read(tmp_path: Path) -> None:
    """The folder of photos does not even exist; nothing is written."""
    keras_models.with_lambda().save(tmp_path / "mine.keras")
    with pytest.raises(BackboneError, match="code from a file is never run"):
        edgetl.finetune(tmp_path / "nowhere", tmp_path / "out", backbone=tmp_path / "mine.keras")
    keras_models.classifier(scaled=False).save(tmp_path / "mine.keras")
    with pytest.raises(BackboneError, match="--input-range"):
        edgetl.finetune(tmp_path / "nowhere", tmp_path / "out", backbone=tmp_path / "mine.keras")
    with pytest.raises(BackboneError, match="contains its own weights"):
        edgetl.finetune(tmp_path / "x", tmp_path / "out", backbone=tmp_path / "mine.keras", weights="w.h5")
    with pytest.raises(BackboneError, match="--embedding-layer can only be used with a Keras model"):
        edgetl.finetune(tmp_path / "nowhere", tmp_path / "out", embedding_layer="pool")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.keras"]


def test_another_file_of_the_same_name_does_not_continue_a_run(photos: Path, tmp_path: Path) -> None:
    """The content of the file is part of what must be the same."""

    def interrupt(task: str, done: int, total: int | None) -> None:
        if task == "features":
            raise KeyboardInterrupt

    path = tmp_path / "mine.keras"
    keras_models.classifier().save(path)
    with pytest.raises(KeyboardInterrupt):
        edgetl.finetune(photos, tmp_path / "out", backbone=path, head_only=True, progress=interrupt)
    keras_models.nested().save(path)
    with pytest.raises(TrainingError, match=r"backbone was .* --restart"):
        edgetl.finetune(photos, tmp_path / "out", backbone=path, head_only=True)


def names_of_blocks(model: object) -> list[str]:
    """Return the layer in front of each block of a model as one graph."""
    flat = flatten(model, tuple(model.inputs[0].shape[1:]), "mine")  # type: ignore[attr-defined]
    makers = {id(tensor): step.name for step in list_steps(flat) for tensor in step.outputs}
    return [makers[id(tensor)] for tensor in block_starts(flat)]


def test_blocks_are_found_in_a_graph_without_their_names() -> None:
    """A section with branches is one block; a normalization belongs to the convolution before it."""
    import keras

    layers, image = keras.layers, keras.Input((16, 16, 3), name="image")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(8, 3, padding="same", name="stem")(image))
    entry = layers.ReLU(name="entry")(x)
    inside = layers.BatchNormalization(name="bn_a")(layers.Conv2D(8, 3, padding="same", name="a")(entry))
    x = layers.Add(name="sum")([entry, layers.Conv2D(8, 3, padding="same", name="b")(inside)])
    x = layers.Conv2D(16, 1, name="expand")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    x = layers.Conv2D(8, 1, name="project")(x)
    x = layers.Conv2D(8, 1, name="head")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x))
    assert names_of_blocks(model) == ["entry", "sum", "project"]


def test_trunk_and_tail_together_are_the_model() -> None:
    """Also where operations and not layers connect them."""
    model = keras_models.nested()
    flat = flatten(model, (32, 32, 3), "mine")
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    for blocks in range(1, len(block_starts(flat)) + 1):
        trunk, tail = split_backbone(flat, blocks)
        cut = tail(trunk(images, training=False), training=False)
        assert np.allclose(cut, flat(images, training=False), atol=1e-5)
    with pytest.raises(TrainingError, match="--layers all"):
        split_backbone(flat, 99)


def test_too_few_photos_for_all_layers_are_refused(tmp_path: Path) -> None:
    """The error comes before the training, and nothing is written."""
    tiny.write_photos(tmp_path / "photos", count=1)
    keras_models.classifier().save(tmp_path / "mine.keras")
    with pytest.raises(TrainingError, match="3 training photos of 3 labels are too few to train all layers"):
        edgetl.finetune(
            tmp_path / "photos",
            tmp_path / "out",
            backbone=tmp_path / "mine.keras",
            layers="all",
            validation=0,
        )
    assert not (tmp_path / "out").exists()
