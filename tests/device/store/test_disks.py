"""Real full and read-only file systems. Mounting them needs root; without it the tests are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.errors import StorageError
from device.learner import Learner
from device.learner.reembedding import reembed
from device.store import NewSample, Store

from ..learner.test_learner import TINY, teach
from ..learner.test_reembedding import NEW
from .test_store import IDENTITY, new

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a tmpfs with options and returns its folder."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "edgetl-test", str(folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(store: Store, most: int = 100_000) -> int:
    """Teach until the disk is full, and return the number of acknowledged samples."""
    for acknowledged in range(most):
        try:
            store.learn([new("mug", acknowledged % 30_000, thumbnail=bytes(2000))])
        except StorageError as error:
            assert "disk is full: free some space" in str(error)  # noqa: PT017 - the count is wanted too
            return acknowledged
    raise AssertionError("the disk never became full")


def test_a_full_disk_keeps_every_acknowledged_sample(mount: Mount) -> None:
    """It stays readable while full, and after reopening, and learns again when there is space."""
    folder = mount("size=512k")
    path = folder / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        acknowledged = fill(store)
        assert acknowledged > 20
        assert store.counts() == {"mug": acknowledged}
        with pytest.raises(StorageError):
            store.learn([new("mug", thumbnail=bytes(400_000))])
    with Store.open(path, IDENTITY) as store:
        assert store.verify() == acknowledged
        subprocess.run(["mount", "-o", "remount,size=4m", str(folder)], check=True)
        store.learn([new("mug")])
        assert store.counts() == {"mug": acknowledged + 1}
        assert store.verify() == acknowledged + 1


def test_a_disk_too_full_for_a_new_state_is_reported_and_can_be_used_later(mount: Mount) -> None:
    """A file of zero bytes may be left; it counts as new."""
    folder = mount("size=64k")
    (folder / "ballast").write_bytes(bytes(60 << 10))
    with pytest.raises(StorageError, match="full"):
        Store.open(folder / "mugs.db", IDENTITY)
    (folder / "ballast").unlink()
    with pytest.warns(RuntimeWarning, match="0 bytes"), Store.open(folder / "mugs.db", IDENTITY) as store:
        store.learn([new("mug")])


def test_a_backup_to_a_full_disk_leaves_nothing_behind(mount: Mount, tmp_path: Path) -> None:
    """No partial copy under the final name or any other."""
    folder = mount("size=64k")
    with Store.open(tmp_path / "mugs.db", IDENTITY) as store:
        store.learn([new("mug", thumbnail=bytes(100_000))])
        with pytest.raises(StorageError):
            store.backup(folder / "copy.db")
    assert list(folder.iterdir()) == []


def test_a_read_only_file_system_is_read_and_refuses_to_be_taught(mount: Mount) -> None:
    """The state was closed cleanly, so there is no log."""
    folder = mount("size=1m")
    path = folder / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with Store.open(path, IDENTITY) as store:
        assert (store.read_only, store.counts(), store.verify()) == (True, {"mug": 1}, 1)
        with pytest.raises(StorageError, match="opened read-only"):
            store.learn([new("mug")])
    with pytest.raises(StorageError):
        Store.open(folder / "another.db", IDENTITY)


def test_a_log_left_by_a_crash_is_read_even_on_a_read_only_file_system(mount: Mount, tmp_path: Path) -> None:
    """Acknowledged samples are there, although the log cannot be folded in."""
    folder = mount("size=1m")
    with Store.open(tmp_path / "mugs.db", IDENTITY) as store:
        store.learn([NewSample("mug", new("mug").code, 0.0)])
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"mugs.db{suffix}", folder)
    assert (folder / "mugs.db-wal").stat().st_size > 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with Store.open(folder / "mugs.db", IDENTITY) as store:
        assert (store.read_only, store.counts()) == (True, {"mug": 1})
    assert sorted(found.name for found in folder.iterdir()) == ["mugs.db", "mugs.db-wal"]


def test_a_full_disk_leaves_no_partial_state_of_a_new_model(mount: Mount, tmp_path: Path) -> None:
    """No file of that name, nothing beside it, and the old file is complete."""
    old, folder = tmp_path / "mugs.db", mount("size=64k")
    with Learner.open(TINY, old, threads=1) as learner:
        teach(learner, 20)
    with pytest.raises(StorageError, match="free some space"):
        reembed(NEW, old, folder / "new.db")
    assert list(folder.iterdir()) == []
    assert sum(reembed(NEW, old, tmp_path / "new.db").samples.values()) == 60
