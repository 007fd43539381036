"""Reading a state changes no byte on the disk, however the last process that used it ended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from device.errors import StateError
from device.store import Store
from device.store.merge import merge

from .test_store import IDENTITY, ROOT, new

CHILD = (
    "import sys; from tests.device.store.test_store import *\n"
    "store = Store.open(Path(sys.argv[1]), IDENTITY)\n"
    "for line in sys.stdin:\n"
    "    if line.startswith('close'): store.close()\n"
    "    else: store.learn([new(line.strip())])\n"
    "    print('done', flush=True)\n"
)


class Teacher:
    """A process that has the state open for writing."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, what: str) -> None:
        """Make it teach a label, or ``close``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """Kill it, as in a power cut."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file's path."""
    return tmp_path / "mugs.db"


def files(path: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of the file, its log and its shared memory, without opening them through SQLite."""
    return {
        found.name: (found.read_bytes(), found.stat().st_mtime_ns)
        for found in path.parent.glob(f"{path.name}*")
    }


def look(path: Path, expected: dict[str, int]) -> None:
    """Run everything that only reads."""
    with Store.open(path, IDENTITY, read_only=True) as store:
        assert store.counts() == expected
        assert store.verify() == sum(expected.values())
        assert len(store.samples()) == sum(expected.values())
        store.backup(path.parent / "backup.copy", force=True)
    with Store.open(None, IDENTITY) as fresh:
        merge(fresh, path)
        assert fresh.counts() == expected


@pytest.mark.parametrize("missing", [(), ("-shm",), ("-wal", "-shm")])
def test_reading_after_a_crash_changes_nothing(path: Path, missing: tuple[str, ...]) -> None:
    """With log and shared memory, with only the log, and with neither."""
    teacher = Teacher(path)
    teacher.do("mug")
    teacher.do("bowl")
    if "-wal" in missing:
        teacher.do("close")
    teacher.kill()
    for ending in missing:
        Path(f"{path}{ending}").unlink(missing_ok=True)
    before = files(path)
    assert (f"{path.name}-wal" in before) == ("-wal" not in missing)
    look(path, {"bowl": 1, "mug": 1})
    assert files(path) == before
    with Store.open(path, IDENTITY) as store:
        assert store.verify() == 2


def test_reading_a_backup_changes_nothing(path: Path, tmp_path: Path) -> None:
    """A backup has no log, and reading makes none."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
        store.backup(tmp_path / "copy.db")
    before = files(tmp_path / "copy.db")
    assert list(before) == ["copy.db"]
    look(tmp_path / "copy.db", {"mug": 1})
    assert files(tmp_path / "copy.db") == before


def test_a_reader_sees_what_another_process_teaches(path: Path) -> None:
    """Whether that process starts before or later, folds in its log, ends, or starts again."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
    with Store.open(path, IDENTITY, read_only=True) as reader:
        marks = {reader.database.change_mark()}
        for expected in (2, 3):
            teacher = Teacher(path)
            assert reader.position() == expected - 1
            teacher.do("mug")
            assert reader.position() == expected
            marks.add(reader.database.change_mark())
            teacher.do("close")
            teacher.kill()
            assert reader.position() == expected
            assert reader.verify() == expected
        assert len(marks) == 3


def test_reading_changes_neither_log_nor_file_while_another_process_teaches(path: Path) -> None:
    """Not even the shared memory is written."""
    teacher = Teacher(path)
    teacher.do("mug")
    program = "import sys; from tests.device.store.test_reading import *\nlook(Path(sys.argv[1]), {'mug': 1})"
    before = files(path)
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=True)
    assert files(path) == before
    teacher.kill()


def test_a_reader_and_a_writer_work_in_one_process_in_any_order(path: Path) -> None:
    """`edgetl run` does this: it reads all the time and writes the measured drift at the end."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
    with Store.open(path, IDENTITY, read_only=True) as reader:
        assert reader.position() == 1
        with Store.open(path, IDENTITY) as writer:
            writer.learn([new("mug", 2)])
            assert reader.position() == 2
            writer.learn([new("mug", 3)])
            assert reader.position() == 3
        assert reader.position() == 3
        with Store.open(path, IDENTITY) as writer:
            writer.set_setting("note", 1)
        assert reader.setting("note") == 1


def test_many_threads_read_while_one_teaches(path: Path) -> None:
    """Readers open and close at any time."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])

        def read() -> None:
            for _ in range(15):
                with Store.open(path, IDENTITY, read_only=True) as reader:
                    seen.append(reader.position())

        seen: list[int] = []
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for value in range(30):
            store.learn([new("mug", value)])
        for thread in threads:
            thread.join()
        assert len(seen) == 45


def test_a_rollback_journal_is_used_and_stays_unchanged(path: Path, tmp_path: Path) -> None:
    """Without shared memory, SQLite writes such a journal; it stays after a crash."""
    with Store.open(tmp_path / "made.db", IDENTITY) as store:
        store.learn([new("mug")])
        store.backup(path)
    program = (
        "import os, sqlite3, sys\n"
        "file = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "file.execute('PRAGMA cache_size = 1'); file.execute('BEGIN IMMEDIATE')\n"
        "file.execute('DELETE FROM samples'); file.execute('INSERT INTO heads VALUES (1,1,1,1,zeroblob(99999))')\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    before = files(path)
    assert sorted(before) == ["mugs.db", "mugs.db-journal"]
    look(path, {"mug": 1})
    assert files(path) == before


def test_other_than_regular_files_are_refused_at_once(tmp_path: Path) -> None:
    """A named pipe would block."""
    os.mkfifo(tmp_path / "pipe.db")
    with pytest.raises(StateError, match="no regular file"):
        Store.open(tmp_path / "pipe.db", IDENTITY, read_only=True)


def test_a_damaged_file_is_not_touched_by_opening_it_for_writing(path: Path, tmp_path: Path) -> None:
    """SQLite would fold the log in and delete it before the first page is read."""
    with Store.open(path, IDENTITY) as store:
        for value in range(9):
            store.learn([new("mug", value, thumbnail=bytes(2000))])
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", tmp_path / f"copy.db{ending}")
    copy = tmp_path / "copy.db"
    content = bytearray(copy.read_bytes())
    content[-1024:] = bytes(1024)  # a page that does not stand in the log
    copy.write_bytes(content)
    changed = sqlite3.connect(tmp_path / "foreign.db")
    changed.execute("PRAGMA journal_mode = WAL")
    changed.execute("CREATE TABLE t (x)")
    for ending in ("", "-wal"):
        shutil.copy(tmp_path / f"foreign.db{ending}", tmp_path / f"other.db{ending}")
    changed.close()
    for name in ("copy.db", "other.db"):
        before = files(tmp_path / name)
        with pytest.raises(StateError):
            Store.open(tmp_path / name, IDENTITY)
        assert files(tmp_path / name) == before


@pytest.mark.parametrize("log_bytes", [0, 20, 32])
def test_a_process_killed_while_opening_leaves_nothing_that_is_called_damage(
    path: Path, log_bytes: int
) -> None:
    """A log without a change, and shared memory without content."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
        header = Path(f"{path}-wal").read_bytes()[:log_bytes]
    Path(f"{path}-wal").write_bytes(header)
    Path(f"{path}-shm").write_bytes(bytes(3))
    before = files(path)
    look(path, {"mug": 1})
    assert files(path) == before
    with Store.open(path, IDENTITY) as store:
        assert store.verify() == 1


def test_a_state_is_used_through_a_link(path: Path, tmp_path: Path) -> None:
    """Its log is beside the file, not beside the link; a link to no file yet makes the file."""
    link = tmp_path / "links" / "mugs.db"
    link.parent.mkdir()
    link.symlink_to(path)
    teacher = Teacher(link)
    teacher.do("mug")
    look(link, {"mug": 1})
    teacher.kill()
    assert {found.name for found in path.parent.glob("*.db*")} == {"mugs.db", "mugs.db-shm", "mugs.db-wal"}
    before = files(path)
    with Store.open(link, IDENTITY, read_only=True) as reader:
        assert reader.counts() == {"mug": 1}
        assert reader.path == path
    assert files(path) == before
    assert list(link.parent.glob("*.db*")) == [link]
