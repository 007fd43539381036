"""The folder of a trained model between fine-tuning and conversion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import ConversionError, TrainedModel
from device.errors import LabelError, StorageError

Pairs = list[tuple[Path, str]]
HEAD = (np.ones((32, 3), np.float32), np.arange(3, dtype=np.float32))


def test_a_saved_model_is_loaded_unchanged(source: Any, tmp_path: Path) -> None:
    """Backbone, head, labels, photos and figures."""
    model = replace(source, head=HEAD, info={"accuracy": 0.5})
    loaded = TrainedModel.load(model.save(tmp_path / "trained"))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert np.allclose(loaded.backbone(images), model.backbone(images))
    assert loaded.head is not None
    assert all(np.array_equal(one, other) for one, other in zip(loaded.head, HEAD, strict=True))
    assert (loaded.labels, loaded.photos, loaded.info) == (model.labels, model.photos, model.info)
    assert loaded.preprocessing == model.preprocessing


def test_photos_may_have_moved(source: Any, tmp_path: Path) -> None:
    """Their paths are kept relative to the folder they share."""
    loaded = TrainedModel.load(source.save(tmp_path / "trained"), photos_root=tmp_path / "elsewhere")
    assert loaded.photos[0][0] == tmp_path / "elsewhere" / "blue" / "000.png"


def test_a_trained_model_is_not_overwritten_without_force(source: Any, tmp_path: Path) -> None:
    """With force it is overwritten, and a head that the new model lacks is removed."""
    replace(source, head=HEAD).save(tmp_path)
    with pytest.raises(StorageError, match="--force"):
        source.save(tmp_path)
    assert TrainedModel.load(source.save(tmp_path, force=True)).head is None


def test_a_folder_without_a_trained_model_is_refused(tmp_path: Path) -> None:
    """The message names what was expected and how to create it."""
    with pytest.raises(ConversionError, match=r"contains no training\.json.*edgetl finetune"):
        TrainedModel.load(tmp_path)
    with pytest.raises(ConversionError, match="does not exist"):
        TrainedModel.load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}', '{"format_version": 1}'])
def test_damaged_training_files_are_refused(tmp_path: Path, text: str) -> None:
    """Truncated, foreign, of a newer version, incomplete."""
    (tmp_path / r"training.json").write_text(text)
    with pytest.raises(ConversionError, match="train the model again"):
        TrainedModel.load(tmp_path)


def test_a_damaged_backbone_or_head_is_refused(source: Any, tmp_path: Path) -> None:
    """Each by its name."""
    folder = replace(source, head=HEAD).save(tmp_path / "trained")
    (folder / "head.npz").write_bytes(b"PK nothing")
    with pytest.raises(ConversionError, match=r"head\.npz is damaged"):
        TrainedModel.load(folder)
    (folder / "backbone.keras").write_bytes(b"PK nothing")
    with pytest.raises(ConversionError, match=r"backbone\.keras cannot be read"):
        TrainedModel.load(folder)


def test_an_interrupted_save_leaves_no_trained_model(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """training.json is written last, so an incomplete folder is recognized."""
    monkeypatch.setattr(TrainedModel, "_training", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        source.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"backbone.keras"}
    with pytest.raises(ConversionError, match=r"contains no training\.json"):
        TrainedModel.load(tmp_path)


def test_a_head_must_fit_and_labels_must_differ(source: Any) -> None:
    """Wrong shapes, NaN, equal labels and photos of unknown labels are refused at once."""
    with pytest.raises(ConversionError, match=r"must have W \(32, 3\)"):
        replace(source, head=(np.ones((32, 2), np.float32), np.ones(2, np.float32)))
    with pytest.raises(ConversionError, match="NaN"):
        replace(source, head=(np.full((32, 3), np.nan, np.float32), HEAD[1]))
    with pytest.raises(LabelError, match="more than once"):
        replace(source, labels=("a", "a"))
    with pytest.raises(ConversionError, match="photos of blue, green"):
        replace(source, labels=("red",))
