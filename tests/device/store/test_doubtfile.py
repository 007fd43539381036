"""The file of uncertain frames: what it survives, and that the state file never pays for it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import StorageError
from device.store import Store, doubtfile
from device.store.doubtfile import DoubtFile

from .test_store import IDENTITY, ROOT, new

EMBEDDING = np.arange(8, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be."""
    return tmp_path / "s ?#%.db.doubts"


def opened(path: Path, model: str = "a" * 64, **options: bool) -> DoubtFile:
    """Open the file of a model with eight dimensions."""
    return DoubtFile(path, model, 8, 3, **options)


def test_frames_are_there_after_reopening_with_ids_that_are_never_reused(path: Path) -> None:
    """With their pictures, embeddings and how often they were seen."""
    file = opened(path)
    assert not path.exists()
    numbers = [file.add(5.0 + at, "cam", EMBEDDING + at, b"jpeg%d" % at) for at in range(3)]
    file.count({numbers[1]: 7})
    file.remove([numbers[2]])
    file.close()
    again = opened(path)
    kept = again.frames()
    assert [(one.id, one.time, one.source, one.seen, one.jpeg) for one in kept] == [
        (1, 5.0, "cam", 1, b"jpeg0"),
        (2, 6.0, "cam", 7, b"jpeg1"),
    ]
    assert kept[1].embedding.tolist() == (EMBEDDING + 1).tolist()
    assert again.add(0.0, "", EMBEDDING, b"") == 4
    again.close()


def test_the_latest_settled_frames_are_remembered(path: Path) -> None:
    """At most the given number of them, until they are forgotten."""
    file = opened(path)
    codes = [np.full(8, at, np.int16) for at in range(5)]
    numbers = [file.add(0.0, "", EMBEDDING, b"") for _ in codes]
    for number, code in zip(numbers, codes, strict=True):
        file.remove([number], [code])
    assert [code[0] for code in file.settled()] == [2, 3, 4]
    file.forget_settled()
    assert file.settled() == []
    file.close()


def test_another_process_is_noticed(path: Path) -> None:
    """Each sees what the other wrote."""
    one, other = opened(path), opened(path)
    one.add(0.0, "", EMBEDDING, b"")
    one.changed()
    assert not one.changed()
    assert other.changed()
    other.remove([1])
    assert one.changed()
    assert one.frames() == []
    one.close()
    other.close()


def test_frames_of_another_model_are_dropped(path: Path) -> None:
    """Their embeddings mean nothing to it; a reader drops nothing, and sees none of them."""
    file = opened(path)
    file.add(0.0, "", EMBEDDING, b"")
    file.close()
    reader = opened(path, "b" * 64, read_only=True)
    assert reader.frames() == []
    reader.close()
    mine = opened(path)
    assert len(mine.frames()) == 1
    mine.close()
    other = opened(path, "b" * 64)
    assert other.frames() == []
    other.close()


@pytest.mark.parametrize("garbage", [b"", b"garbage " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path: Path, garbage: bytes) -> None:
    """The queue is worth less than a queue that works."""
    path.write_bytes(garbage)
    file = opened(path)
    assert file.add(0.0, "", EMBEDDING, b"new") == 1
    assert [one.jpeg for one in file.frames()] == [b"new"]
    file.close()
    assert path.with_name(f"{path.name}.damaged").exists() == bool(garbage)


def test_a_row_that_does_not_match_its_checksum_is_skipped(path: Path) -> None:
    """So are an embedding of another width, infinite numbers and an impossible time."""
    file = opened(path)
    for at in range(5):
        file.add(0.0, "", EMBEDDING + at, b"jpeg")
    file.close()
    changed = sqlite3.connect(path)
    changed.execute("UPDATE doubts SET jpeg = x'00' WHERE id = 1")
    changed.execute("UPDATE doubts SET embedding = x'00' WHERE id = 2")
    changed.execute("UPDATE doubts SET time = 1e300 WHERE id = 3")
    infinite = np.full(8, np.inf, "<f4").tobytes()
    crc = doubtfile._checksum(infinite, b"jpeg")
    changed.execute("UPDATE doubts SET embedding = ?, crc = ? WHERE id = 4", (infinite, crc))
    changed.commit()
    changed.close()
    again = opened(path)
    assert [one.id for one in again.frames()] == [5]
    again.close()


def test_nothing_is_written_where_the_disk_is_nearly_full(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last free bytes are for samples, which can still be taught."""
    monkeypatch.setattr(doubtfile, "RESERVE", 1 << 62)
    file = opened(path)
    with pytest.raises(StorageError, match="left to samples"):
        file.add(0.0, "", EMBEDDING, b"")
    assert not path.exists()
    with Store.open(path.with_suffix(""), IDENTITY) as store:
        store.learn([new("mug")])


def test_the_file_cannot_grow_beyond_its_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses then, and what is there stays readable."""
    monkeypatch.setattr(doubtfile, "MAX_BYTES", 200_000)
    file = opened(path)

    def fill() -> None:
        for _ in range(50):
            file.add(0.0, "", EMBEDDING, bytes(20_000))

    with pytest.raises(sqlite3.OperationalError, match="full"):
        fill()
    assert 1 < len(file.frames()) < 10
    file.remove([1])
    file.add(0.0, "", EMBEDDING, bytes(20_000))
    file.close()
    assert path.stat().st_size <= 200_000


def test_a_reader_changes_nothing(path: Path) -> None:
    """Neither does it make a file."""
    reader = opened(path, read_only=True)
    assert (reader.frames(), reader.settled(), reader.changed()) == ([], [], False)
    with pytest.raises(StorageError, match="read-only"):
        reader.add(0.0, "", EMBEDDING, b"")
    reader.remove([1])
    assert not path.exists()


def test_a_killed_process_leaves_samples_and_queue_readable(path: Path) -> None:
    """Acknowledged samples are there, and so are the frames, because the process and not the power failed."""
    program = (
        "import os, sys; from tests.device.store.test_doubtfile import *\n"
        "file, store = opened(Path(sys.argv[1])), Store.open(Path(sys.argv[1]).with_suffix(''), IDENTITY)\n"
        "file.add(0.0, '', EMBEDDING, b'jpeg'); store.learn([new('mug')]); file.add(1.0, '', EMBEDDING, b'jpeg')\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    with Store.open(path.with_suffix(""), IDENTITY) as store:
        assert store.counts() == {"mug": 1}
    file = opened(path)
    assert len(file.frames()) == 2
    file.close()
