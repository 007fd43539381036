"""Inspecting any .tflite: a model file, a foreign one, one for the Edge TPU, a truncated one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.errors import ConversionError
from converters.inspection import inspect
from device.errors import ModelFileError
from device.model.flatbuffer import root
from device.model.manifest import Manifest
from device.model.modelfile import ModelFile
from edgetl.cli import main
from tests.hostile import TakenApart
from tests.tiny import TINY, TINY_TAUGHT, TINY_VERSION_1


def test_a_model_file_is_described_completely() -> None:
    """Signatures with shapes, labels, sizes that add up, memory, ops."""
    found = inspect(TINY_TAUGHT)
    assert found.teachable
    assert found.labels == ("blue", "green", "red")
    assert found.memory == "36 samples of 3 labels"
    assert list(found.signatures) == ["features", "classify", "train", "get_weights", "set_weights"]
    assert found.signatures["features"] == {
        "inputs": {"image": "uint8 [N, 32, 32, 3]"},
        "outputs": {"embedding": "float32 [N, 32]"},
    }
    assert found.signatures["train"]["inputs"]["learning_rate"] == "float32 [1]"
    assert found.ops["CONV_2D"] == 2
    sizes = found.sizes
    assert sizes["head"] == 2 * 4 * (32 * 8 + 8)
    assert sizes["backbone"] + sizes["head"] + sizes["memory"] < sizes["total"] == TINY_TAUGHT.stat().st_size
    assert json.loads(json.dumps(found.to_dict()))["manifest"]["dimensions"] == 32


def test_a_device_without_the_schema_counts_ops_by_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """tflite-runtime has no schema; then the ops of the first graph are counted."""

    def missing(_: bytes) -> dict[str, int]:
        raise ConversionError("no schema here")

    monkeypatch.setattr("converters.flatbuffer.count_ops", missing)
    assert inspect(TINY).ops["CONV_2D"] == 2


def test_a_foreign_file_is_shown_with_the_reason_why_it_cannot_be_taught(tmp_path: Path) -> None:
    """A model part without what edgetl appends."""
    (tmp_path / "foreign.tflite").write_bytes(ModelFile.open(TINY).model_part())
    found = inspect(tmp_path / "foreign.tflite")
    assert not found.teachable
    assert "no manifest" in found.reason
    assert "edgetl convert" in found.reason
    assert found.manifest is None
    assert next(iter(found.signatures)) == "features"


@pytest.mark.parametrize("cut", [0, 7, 100, 20000, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    """Truncated in the header, in the model, or in the archive."""
    data = TINY.read_bytes()
    (tmp_path / "cut.tflite").write_bytes(data[:cut])
    with pytest.raises(ModelFileError):
        inspect(tmp_path / "cut.tflite")


def test_an_altered_model_file_is_refused(tmp_path: Path) -> None:
    """The checksum is verified, and the message names it."""
    data = bytearray(TINY.read_bytes())
    data[3000] ^= 1
    (tmp_path / "altered.tflite").write_bytes(data)
    with pytest.raises(ModelFileError, match="altered or damaged"):
        inspect(tmp_path / "altered.tflite")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """So is a missing file."""
    (tmp_path / "text.tflite").write_text("this is no model at all")
    with pytest.raises(ModelFileError, match=r"no \.tflite"):
        inspect(tmp_path / "text.tflite")
    with pytest.raises(ModelFileError, match="there is no model file"):
        inspect(tmp_path / "nowhere.tflite")


def changed(folder: Path, old: bytes, new: bytes) -> Path:
    """Write a model file with other bytes in its flatbuffer and checksums that match."""
    good = TakenApart.read(TINY_TAUGHT)
    path = folder / "changed.tflite"
    path.write_bytes(TakenApart(good.part.replace(old, new), good.members).mended().packed())
    return path


def test_a_model_file_that_lacks_a_signature_is_described(tmp_path: Path) -> None:
    """The missing signatures are named; a file whose signature has another output is refused."""
    found = inspect(changed(tmp_path, b"features\0", b"featureS\0"))
    assert not found.teachable
    assert "features" in found.reason
    with pytest.raises(ModelFileError, match="embeddinG"):
        inspect(changed(tmp_path, b"embedding\0", b"embeddinG\0"))


def test_a_padded_model_file_is_not_reported_as_foreign(tmp_path: Path) -> None:
    """The manifest is in the file, but too far from its end to be found."""
    (tmp_path / "padded.tflite").write_bytes(TINY_TAUGHT.read_bytes() + bytes(80_000))
    with pytest.raises(ModelFileError, match="no readable edgetl manifest"):
        inspect(tmp_path / "padded.tflite")


def test_a_foreign_file_is_checked_before_it_is_run(tmp_path: Path) -> None:
    """An op with an unknown code, in a .tflite without a manifest."""
    part = ModelFile.open(TINY).model_part()
    operator = root(part).tables(2)[0].tables(3)[-1]
    place = operator.field(0)
    assert place is not None
    (tmp_path / "foreign.tflite").write_bytes(part[:place] + bytes([77]) + part[place + 1 :])
    with pytest.raises(ModelFileError, match="kind 77"):
        inspect(tmp_path / "foreign.tflite")


def test_versions_1_and_2_show_what_is_checked() -> None:
    """A digest of the whole file, or the parts that no checksum covers."""
    assert inspect(TINY_TAUGHT).digest == ModelFile.open(TINY_TAUGHT).digest
    assert inspect(TINY_TAUGHT).unchecked == ()
    old = inspect(TINY_VERSION_1)
    assert old.to_dict()["unchecked"] == ["labels", "manifest", "memory"]
    assert old.manifest is not None
    assert old.manifest.keys() == Manifest.__dataclass_fields__.keys()


@pytest.mark.parametrize("path", [TINY_TAUGHT, TINY_VERSION_1], ids=lambda path: path.name)
def test_both_versions_are_shown(path: Path) -> None:
    """By the command, as text."""
    done = CliRunner().invoke(main, ["inspect", str(path)])
    assert done.exit_code == 0, done.output
    assert ("Not checked" in done.output) == (path == TINY_VERSION_1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("coral/mobilenet_v2_1.0_224_quant.tflite", "lacks the signatures features"),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", "compiled for the Edge TPU"),
        ("coral/model_invoking_error.tflite", "fake-op-double"),
        ("signatures/training_model.tflite", "lacks the signatures features, classify and"),
        ("signatures/training_model_flex.tflite", "lacks the signatures features"),
    ],
)
def test_published_models_are_described(dev_data: Path, name: str, reason: str) -> None:
    """Real files of Coral and of a trainable model with Select TF ops."""
    found = inspect(dev_data / name)
    assert not found.teachable
    assert reason in found.reason
    assert found.ops
