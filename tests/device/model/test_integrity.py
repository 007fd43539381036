"""Every byte that decides an answer is covered by a checksum, and the bytes that were checked are those that run."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelFileError
from device.learner import Learner
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from tests.hostile import TakenApart
from tests.tiny import TINY, TINY_TAUGHT, TINY_VERSION_1, photo

GOOD = TakenApart.read(TINY_TAUGHT)
OLD = TakenApart.read(TINY_VERSION_1)


def refused(folder: Path, data: bytes, message: str) -> None:
    """Opening the file raises an error that names it and what is wrong."""
    path = folder / "changed.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        ModelFile.open(path)
    assert "changed.tflite" in str(caught.value)


def test_one_digest_covers_all_parts(tmp_path: Path) -> None:
    """It changes with any of them."""
    opened = ModelFile.open(TINY_TAUGHT)
    assert opened.manifest.format_version == 2
    assert opened.unchecked == ()
    other = GOOD.with_manifest(backbone="other").mended()
    (tmp_path / "other.tflite").write_bytes(other.packed())
    changed = ModelFile.open(tmp_path / "other.tflite")
    assert len(opened.digest) == 64
    assert changed.digest != opened.digest
    assert changed.sha256 == opened.sha256  # a state file belongs to the model part


@pytest.mark.parametrize("name", ["labels.txt", "taught.npz", "edgetl.json", "edgetl.sha256"])
def test_a_changed_member_is_found(tmp_path: Path, name: str) -> None:
    """Any bit."""
    content = GOOD.members[name]
    for place in range(0, len(content), 1 + len(content) // 7):
        changed = bytearray(content)
        changed[place] ^= 1
        refused(tmp_path, GOOD.with_member(name, bytes(changed)).packed(), "altered or damaged")


def test_a_missing_memory_is_reported(tmp_path: Path) -> None:
    """What the host taught is never lost silently."""
    refused(tmp_path, GOOD.without("taught.npz").packed(), "promises labels.txt, taught.npz")


def test_a_member_that_was_not_promised_is_refused(tmp_path: Path) -> None:
    """For example, a memory that was added to a file without one."""
    memory = GOOD.members["taught.npz"]
    refused(tmp_path, TakenApart.read(TINY).with_member("taught.npz", memory).packed(), "promises labels.txt")


def test_a_manifest_without_its_checksum_is_refused(tmp_path: Path) -> None:
    """Nothing would protect it."""
    refused(tmp_path, GOOD.without("edgetl.sha256").packed(), r"edgetl\.sha256 is missing")


@pytest.mark.parametrize("good", [GOOD, OLD], ids=["version 2", "version 1"])
def test_a_member_under_a_damaged_name_is_refused(tmp_path: Path, good: TakenApart) -> None:
    """One bit in the directory must not hide the memory."""
    for name in ("uaught.npz", "x/taught.npz"):
        body = good.members["taught.npz"]
        refused(tmp_path, good.without("taught.npz").with_member(name, body).packed(), name)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("good", [GOOD, OLD], ids=["version 2", "version 1"])
def test_a_duplicate_member_is_refused(tmp_path: Path, good: TakenApart) -> None:
    """Readers could disagree about which one counts."""
    path = tmp_path / "twice.tflite"
    path.write_bytes(good.packed())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", b"")
    refused(tmp_path, path.read_bytes(), r"labels\.txt twice")


def test_version_1_still_opens_and_names_the_unchecked_parts() -> None:
    """Its labels, manifest and memory have no checksum."""
    opened = ModelFile.open(TINY_VERSION_1)
    assert opened.manifest.format_version == 1
    assert opened.manifest.quantization == "int8"
    assert opened.unchecked == ("labels", "manifest", "memory")
    assert opened.digest == ""


def test_a_state_taught_to_version_1_opens_with_version_1(tmp_path: Path) -> None:
    """The identity of a model did not change with the format."""
    with Learner.open(TINY_VERSION_1, tmp_path / "s.db") as learner:
        learner.learn_one(photo("white", 1), "white")
    with Learner.open(TINY_VERSION_1, tmp_path / "s.db") as learner:
        assert learner.labels == ("blue", "green", "red", "white")
        assert learner.status().model["unchecked"] == ["labels", "manifest", "memory"]


def test_an_export_of_version_1_is_written_as_version_2(tmp_path: Path) -> None:
    """With everything that was taught, and a digest."""
    with Learner.open(TINY_VERSION_1, None) as learner:
        learner.learn_one(photo("white", 1), "white")
        exported = learner.export(tmp_path / "new.tflite")
    assert (exported.manifest.format_version, exported.unchecked) == (2, ())
    assert exported.labels == ("blue", "green", "red", "white")
    assert exported.memory is not None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"red\ngreen\nblue", "not in order"),
        (b"blue\ndog\nred", "samples of green"),
        (b"blue\ngreen", "samples of red"),
        (b"", "samples of blue"),
    ],
)
def test_labels_of_version_1_must_fit_its_memory(tmp_path: Path, labels: bytes, message: str) -> None:
    """Without a checksum, the names in the memory are compared."""
    refused(tmp_path, OLD.with_member("labels.txt", labels).packed(), message)


def test_a_checksum_must_cover_the_whole_model_part(tmp_path: Path) -> None:
    """A manifest that covers nothing is refused."""
    for length in (0, 7, 10**9):
        refused(tmp_path, GOOD.with_manifest(model_bytes=length).packed(), "damaged")
        refused(tmp_path, OLD.with_manifest(model_bytes=length).packed(), "model part")


def test_the_bytes_that_were_checked_run(tmp_path: Path) -> None:
    """A file that is replaced after it was opened changes no answer and no export."""
    path = tmp_path / "model.tflite"
    path.write_bytes(TINY_TAUGHT.read_bytes())
    opened = ModelFile.open(path)
    path.write_bytes(b"something else")
    embedder, expected = Embedder(opened), Embedder(ModelFile.open(TINY_TAUGHT))
    assert np.array_equal(embedder.embed_one(photo("red", 1)), expected.embed_one(photo("red", 1)))
    assert opened.model_part() == GOOD.part


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    """A pipe would block and a device might not end; a link to a regular file is accepted."""
    os.mkfifo(tmp_path / "fifo.tflite")
    (tmp_path / "zero.tflite").symlink_to("/dev/zero")
    for name in ("fifo", "zero"):
        with pytest.raises(ModelFileError, match="no plain file"):
            ModelFile.open(tmp_path / f"{name}.tflite")
    (tmp_path / "endless.tflite").symlink_to("/proc/kmsg")  # a plain file of size 0 whose reader waits
    with pytest.raises(ModelFileError, match="endless"):
        ModelFile.open(tmp_path / "endless.tflite")
    (tmp_path / "link.tflite").symlink_to(TINY_TAUGHT)
    assert ModelFile.open(tmp_path / "link.tflite").labels == ("blue", "green", "red")


def test_a_member_is_never_unpacked_beyond_its_declared_size(tmp_path: Path) -> None:
    """A bomb that declares 100 bytes and contains 64 MiB is read up to 100 bytes, and refused."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(2**26)) + packer.flush()
    data = bytearray(OLD.with_member("labels.txt", packed).packed())
    sizes = struct.pack("<III", zlib.crc32(bytes(100)), len(packed), 100)
    for place, at in (
        (data.index(b"PK\3\4", len(OLD.part)), 8),
        (data.rindex(b"PK\1\2", 0, data.rindex(b"labels.txt")), 10),
    ):
        data[place + at : place + at + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        data[place + at + 6 : place + at + 18] = sizes
    refused(tmp_path, bytes(data), r"labels\.txt")


def test_a_huge_directory_is_not_read(tmp_path: Path) -> None:
    """The archive's directory has a limit of its own."""
    data = bytearray(GOOD.packed())
    end = data.rindex(b"PK\5\6")
    for length in (0x7FFFFFFF, 2**17):
        data[end + 12 : end + 16] = struct.pack("<I", length)
        refused(tmp_path, bytes(data), "directory")
