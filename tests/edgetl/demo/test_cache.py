"""What the demo keeps between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.errors import StorageError
from edgetl.demo import cache
from edgetl.demo.cache import kept_or_made


def test_what_is_there_is_used_again_until_its_key_changes(tmp_path: Path) -> None:
    """The same key makes nothing; another key, or asking for it, makes it anew."""
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


def test_a_stage_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """Neither a half of the new nor a loss of the old."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("no")

    target = tmp_path / "stage"
    kept_or_made(target, {"k": 1}, lambda folder: None)
    with pytest.raises(ValueError, match="no"):
        kept_or_made(target, {"k": 2}, fail)
    assert kept_or_made(target, {"k": 1}, fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names the folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*stage"):
        kept_or_made(tmp_path / "file" / "stage", {}, lambda folder: None)


def test_the_cache_lies_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The habit of Linux: XDG_CACHE_HOME, else .cache in the home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.default_folder() == Path("/somewhere/edgetl/demo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_folder() == Path.home() / ".cache" / "edgetl" / "demo"


def test_changed_source_changes_the_key() -> None:
    """The digest is stable as long as the source is."""
    assert cache.source_digest() == cache.source_digest()
