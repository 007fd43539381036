"""The demo's cache between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.errors import StorageError
from edgetl.demo import cache
from edgetl.demo.cache import kept_or_made


def test_content_is_reused_until_its_key_changes(tmp_path: Path) -> None:
    """The same key makes nothing; another key, or `fresh`, makes the content again."""
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append("made")
        (folder / "x").write_text("x" * len(made))

    target = tmp_path / "a" / "stage"
    assert [
        kept_or_made(target, {"k": 1}, make),
        kept_or_made(target, {"k": 1}, make),
        kept_or_made(target, {"k": 2}, make),
        kept_or_made(target, {"k": 2}, make, fresh=True),
    ] == [False, True, False, False]
    assert (target / "x").read_text() == "xxx"


def test_a_failed_stage_keeps_the_old_content(tmp_path: Path) -> None:
    """The old content is not lost, and nothing of the new content remains."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("no")

    target = tmp_path / "stage"
    kept_or_made(target, {"k": 1}, lambda folder: None)
    with pytest.raises(ValueError, match="no"):
        kept_or_made(target, {"k": 2}, fail)
    assert kept_or_made(target, {"k": 1}, fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage"]


def test_a_folder_that_cannot_be_written_raises_storage_error(tmp_path: Path) -> None:
    """The message names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*stage"):
        kept_or_made(tmp_path / "file" / "stage", {}, lambda folder: None)


def test_the_cache_follows_xdg_cache_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_CACHE_HOME, the cache is below .cache in the home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.default_folder() == Path("/somewhere/edgetl/demo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_folder() == Path.home() / ".cache" / "edgetl" / "demo"


def test_the_source_digest_is_stable() -> None:
    """The digest does not change while the source does not change."""
    assert cache.source_digest() == cache.source_digest()
