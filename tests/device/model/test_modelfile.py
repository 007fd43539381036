"""The model file: its content, and the errors for other files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelFileError, StorageError
from device.model.codes import content_keys
from device.model.manifest import HeldOut, Manifest
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile, write_model_file
from device.model.packing import pack_memory, unpack_memory
from tests.tiny import DIMENSIONS, TINY

MODEL = ModelFile.open(TINY).model_part()
MANIFEST = ModelFile.open(TINY).manifest
TAUGHT = Samples(np.arange(6 * DIMENSIONS, dtype=np.int16).reshape(6, -1), ("a", "b", "a", "ü c", "a", "b"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model file with three labels and a memory of six samples."""
    return write_model_file(tmp_path / "m.tflite", MODEL, MANIFEST, ("a", "b", "ü c"), TAUGHT).path


def test_a_written_file_is_read_back_equal(path: Path) -> None:
    """Manifest, labels, memory and the flatbuffer itself."""
    read = ModelFile.open(path)
    assert read.labels == ("a", "b", "ü c")
    assert read.manifest == replace(
        MANIFEST, model_sha256=read.sha256, model_bytes=len(MODEL), members=read.manifest.members
    )
    assert isinstance(read.memory, Samples)
    assert (read.memory.codes == TAUGHT.codes).all()
    assert read.memory.labels == TAUGHT.labels
    assert read.model_part() == MODEL
    assert 0 < read.memory_bytes < path.stat().st_size


def test_sums_as_memory_make_the_round_trip(tmp_path: Path) -> None:
    """The other form of memory, exact in integers."""
    codes = np.random.default_rng(0).integers(-4096, 4097, (50, DIMENSIONS)).astype(np.float64)
    sums = np.stack([codes[:20].sum(0), codes[20:].sum(0)]).astype(np.int64)
    keys = np.unique(content_keys(codes.astype(np.int16)))
    taught = Sums(("a", "b"), np.array([20, 30]), sums, codes.T @ codes, keys)
    read = write_model_file(tmp_path / "m.tflite", MODEL, MANIFEST, ("a", "b"), taught).memory
    assert isinstance(read, Sums)
    assert (read.gram == taught.gram).all()
    assert (read.sums == taught.sums).all()
    assert (read.keys == keys).all()


def test_keys_that_no_samples_have_are_refused() -> None:
    """Keys are sorted and unique, and at most as many as the samples."""
    codes = np.random.default_rng(0).integers(-4096, 4097, (3, 4), dtype=np.int16)
    taught = Sums.of(codes, ["a", "a", "b"])
    for keys in (taught.keys[::-1], np.arange(4, dtype=np.uint64)):
        with pytest.raises(ModelFileError, match="keys must be sorted"):
            unpack_memory(pack_memory(replace(taught, keys=keys)), 4)


def test_equal_content_makes_equal_files(tmp_path: Path) -> None:
    """The file contains no time and no random number."""
    one, two = (
        write_model_file(tmp_path / name, MODEL, MANIFEST, ("a", "b", "ü c"), TAUGHT).path
        for name in ("1", "2")
    )
    assert one.read_bytes() == two.read_bytes()


def test_a_file_truncated_anywhere_is_refused(path: Path) -> None:
    """At every length there is a clear error, never a wrong model."""
    data = path.read_bytes()
    for length in [*range(0, len(data), 397), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match=r"m\.tflite"):
            ModelFile.open(path)


def test_a_changed_byte_of_the_model_part_is_found(path: Path) -> None:
    """The checksum does not match."""
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="checksum"):
        ModelFile.open(path)


def test_a_foreign_tflite_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """The error names the command that makes a model file."""
    (tmp_path / "foreign.tflite").write_bytes(MODEL)
    with pytest.raises(ModelFileError, match="edgetl convert"):
        ModelFile.open(tmp_path / "foreign.tflite")


def test_a_tflite_with_labels_of_another_maker_is_refused(tmp_path: Path) -> None:
    """The zip of TFLite metadata has labels but no manifest."""
    target = io.BytesIO(MODEL)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog")
    (tmp_path / "foreign.tflite").write_bytes(target.getvalue())
    with pytest.raises(ModelFileError, match=r"edgetl\.json"):
        ModelFile.open(tmp_path / "foreign.tflite")


def test_a_photo_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    """The error names the path."""
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    for name in ("photo.jpg", "none.tflite", "."):
        with pytest.raises(ModelFileError):
            ModelFile.open(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 4}, "update edgetl"),
        ({"dimensions": -1}, "dimensions"),
        ({"dimensions": "many"}, "damaged"),
        ({"embedding_map": "cube"}, "map"),
        ({"head_weights": {"W": "x"}}, "damaged"),
        ({"preprocessing": None}, "preprocessing"),
        ({"dimensions": "32"}, "dimensions"),
        ({"dimensions": 32.9}, "dimensions"),
        ({"dimensions": 65537}, "dimensions"),
        ({"capacity": True}, "capacity"),
        ({"model_bytes": None}, "model_bytes"),
        ({"model_bytes": 10**30}, "model_bytes"),
        ({"backbone": 7}, "backbone"),
        ({"backbone": "a\x1b[2Jb"}, "backbone"),
        ({"origin": "\u202egnp"}, "origin"),
        ({"versions": {"a": 3}}, "versions"),
        ({"extra": [1]}, "extra"),
        ({"parity": "x"}, "parity"),
        ({"format_version": True}, "damaged"),
        ({"format_version": "2"}, "damaged"),
        ({"head_weights": {"W": [-8, -8]}}, "head_weights"),
        ({"members": {"labels.txt": {"sha256": "x", "bytes": 1}}}, "sha256"),
        ({"held_out": {"accuracy": 1.5, "correct": 1, "photos": 1, "how": "", "labels": {}}}, "accuracy"),
        ({"held_out": {"accuracy": 0.5, "correct": 2, "photos": 1, "how": "", "labels": {}}}, "held_out"),
        ({"held_out": {"accuracy": 0.5}}, "held_out"),
    ],
)
def test_a_wrong_manifest_is_refused(change: dict[str, object], message: str) -> None:
    """Each field is checked before it is used."""
    fields = {**json.loads(MANIFEST.to_json()), **change}
    with pytest.raises(ModelFileError, match=message):
        Manifest.from_json(json.dumps(fields))


@pytest.mark.parametrize("name", ["embedding_map", "capacity", "members", "preprocessing"])
def test_a_missing_field_is_refused(name: str) -> None:
    """A default in its place could change the answers."""
    fields = json.loads(MANIFEST.to_json())
    del fields[name]
    with pytest.raises(ModelFileError, match=f"lacks {name}"):
        Manifest.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", "Infinity"),
        ("width", "NaN"),
        ("height", "0"),
        ("mean", "[NaN, 0, 0]"),
        ("mean", '"127"'),
        ("mean", "[1, 2]"),
        ("std", "[Infinity, 1, 1]"),
        ("std", "[1, 2, 0]"),
        ("std", '[1, 2, "x"]'),
        ("crop_fraction", "1e999"),
        ("crop_fraction", "true"),
        ("resize", '"stretch"'),
    ],
)
def test_wrong_preprocessing_is_refused(name: str, value: str) -> None:
    """Numbers that JSON does not have are refused too."""
    fields = json.loads(MANIFEST.to_json())
    fields["preprocessing"][name] = "HERE"
    with pytest.raises(ModelFileError, match=r"edgetl\.json"):
        Manifest.from_json(json.dumps(fields).replace('"HERE"', value))


def test_the_figure_on_photos_held_out_makes_the_round_trip() -> None:
    """With its photos per label."""
    held_out: HeldOut = {"accuracy": 0.9, "correct": 9, "photos": 10, "how": "x", "labels": {"a": (9, 10)}}
    assert Manifest.from_json(replace(MANIFEST, held_out=held_out).to_json()).held_out == held_out


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "[" * 100_000, '{"extra":' * 100_000, "\ud800"])
def test_other_text_than_a_manifest_is_refused(text: str) -> None:
    """A deeply nested text does not crash the reader."""
    with pytest.raises(ModelFileError):
        Manifest.from_json(text)


def test_unknown_fields_are_ignored() -> None:
    """Additions of a later minor version do not break this one."""
    assert Manifest.from_json(json.dumps({**json.loads(MANIFEST.to_json()), "new": 1})) == MANIFEST


def test_memory_of_another_size_is_refused(tmp_path: Path) -> None:
    """Embeddings of ten numbers do not fit a model of 32."""
    narrow = Samples(np.zeros((6, 10), np.int16), TAUGHT.labels)
    with pytest.raises(ModelFileError, match=r"codes must be int16 \[32, any\]"):
        write_model_file(tmp_path / "m.tflite", MODEL, MANIFEST, ("a", "b", "ü c"), narrow)


def test_nothing_is_overwritten_without_force_and_no_partial_file_is_left(path: Path) -> None:
    """The old file stays."""
    before = path.read_bytes()
    with pytest.raises(StorageError, match="--force"):
        write_model_file(path, MODEL, MANIFEST)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_more_labels_than_columns_are_refused(tmp_path: Path) -> None:
    """The head has a capacity."""
    with pytest.raises(ModelFileError, match="capacity"):
        write_model_file(tmp_path / "m.tflite", MODEL, MANIFEST, tuple("abcdefghi"))
