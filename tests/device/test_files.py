"""Files are written completely or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import StorageError
from device.files import atomic_output, require_writable


def test_a_written_file_takes_its_name_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """The temporary file becomes the final one."""
    with atomic_output(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]
    assert (tmp_path / "out.bin").read_bytes() == b"whole"


def test_a_failure_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    """After any error, the former content is there."""
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_output(target, force=True) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        interrupted()
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    """The error names --force."""
    (tmp_path / "out.bin").write_bytes(b"old")
    with pytest.raises(StorageError, match="--force"), atomic_output(tmp_path / "out.bin"):
        pass


def test_a_missing_folder_is_reported_with_the_next_step(tmp_path: Path) -> None:
    """The message asks for the folder to be created."""
    with pytest.raises(StorageError, match="create the folder"), atomic_output(tmp_path / "no" / "out.bin"):
        pass


def test_a_forbidden_folder_is_reported_with_the_next_step(forbidden: Path) -> None:
    """The message suggests another folder, and no file is left."""
    with pytest.raises(StorageError, match="may write"), atomic_output(forbidden / "out.bin"):
        pass
    assert list(forbidden.iterdir()) == []


def test_an_unwritable_path_is_reported_before_the_work(forbidden: Path, tmp_path: Path) -> None:
    """A forbidden folder and a missing one; where writing is possible, the check leaves no file."""
    for path in (forbidden / "out.bin", tmp_path / "no" / "out.bin"):
        with pytest.raises(StorageError, match="cannot write"):
            require_writable(path)
    require_writable(tmp_path / "out.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["forbidden"]


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    """Other users can read the file if the umask allows it."""
    before = os.umask(0o022)
    try:
        with atomic_output(tmp_path / "out.bin") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == 0o644


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A file size limit simulates the full disk; it needs no privilege."""
    (tmp_path / "out.bin").write_bytes(b"old")
    script = (
        "import sys\nfrom device.errors import StorageError\nfrom device.files import atomic_output\n"
        "try:\n"
        "    with atomic_output(sys.argv[1], force=True) as temporary:\n"
        "        temporary.write_bytes(b'x' * 100_000)\n"
        "except StorageError as error:\n    print(error)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out.bin")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "cannot write" in done.stdout
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
