"""``--weights`` of finetune and convert: what does not fit is refused before the long work, with nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="backbones are Keras models")
from click.testing import CliRunner

from converters.source import TrainedModel
from edgetl import convert, finetune
from edgetl.cli import main
from edgetl.errors import BackboneError, TrainingError
from tests.tiny import trained_model, write_photos


def test_finetune_refuses_a_missing_file_before_it_reads_photos(tmp_path: Path) -> None:
    """Even the folder of photos need not exist for this message."""
    done = CliRunner().invoke(
        main,
        f"finetune {tmp_path / 'none'} --out {tmp_path / 'out'} --backbone resnet50 --weights {tmp_path / 'w.h5'}",
    )
    assert done.exit_code == 1
    assert f"{tmp_path / 'w.h5'} is missing; check the path" in done.output
    assert list(tmp_path.iterdir()) == []


def test_finetune_refuses_weights_of_another_kind(tmp_path: Path) -> None:
    """A PyTorch file for a Keras network is named, and no output is written."""
    write_photos(tmp_path / "photos", 4)
    (tmp_path / "w.pth").write_bytes(b"anything")
    with pytest.raises(BackboneError, match=r"name ends in \.h5, got .*w\.pth"):
        finetune(tmp_path / "photos", tmp_path / "out", backbone="resnet50", weights=tmp_path / "w.pth")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_is_not_continued_with_another_file_of_weights(
    tmp_path: Path, tiny_backbone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of the file counts, not its name."""
    from edgetl.training import run

    write_photos(tmp_path / "photos", 6)
    path = tmp_path / "w.pth"
    path.write_bytes(b"first")

    def train() -> None:
        finetune(tmp_path / "photos", tmp_path / "out", weights=path, head_only=True, head_epochs=1)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run, "fit_head", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train()
    path.write_bytes(b"other")
    with pytest.raises(TrainingError, match="weights"):
        train()
    path.write_bytes(b"first")
    train()
    settings = TrainedModel.load(tmp_path / "out").info["settings"]
    assert settings["weights"] == "w.pth"  # no path of this machine


def test_convert_refuses_weights_for_a_model_that_has_its_own(tmp_path: Path) -> None:
    """A folder that finetune wrote contains its weights."""
    trained_model().save(tmp_path / "mugs")
    with pytest.raises(BackboneError, match="has its own; leave out the weights"):
        convert(tmp_path / "mugs", tmp_path / "mugs.tflite", weights=tmp_path / "w.h5")


def test_convert_refuses_weights_of_another_network(tmp_path: Path) -> None:
    """The message names the file; no model file appears."""
    (tmp_path / "w.pth").write_bytes(b"anything")
    done = CliRunner().invoke(
        main,
        [
            "convert",
            "mobilenet-v2",
            "--weights",
            str(tmp_path / "w.pth"),
            "--out",
            str(tmp_path / "m.tflite"),
        ],
    )
    assert done.exit_code == 1
    assert "w.pth is not a legacy PyTorch file" in done.output
    assert not (tmp_path / "m.tflite").exists()
