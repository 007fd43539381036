"""The log beside a state file: damage is distinguished from a power cut before SQLite drops anything."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import StateError
from device.store import NewSample, Store, log
from device.store.recovery import recover

from .test_store import IDENTITY, ROOT, new

FRAME = log.FRAME_HEADER_BYTES + 1024
SAMPLES = 12


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state after a crash: 12 samples, taught one by one, only in the log."""
    folder = tmp_path_factory.mktemp("crashed")
    with Store.open(folder / "open.db", IDENTITY) as store:
        for number in range(SAMPLES):
            store.learn([new("mug", number, thumbnail=bytes(900))])
        for ending in ("", "-wal"):
            shutil.copy(folder / f"open.db{ending}", folder / f"mugs.db{ending}")
    return folder / "mugs.db"


@pytest.fixture
def state(crashed: Path, tmp_path: Path) -> Path:
    """A copy of that state, to be damaged."""
    for ending in ("", "-wal"):
        shutil.copy(f"{crashed}{ending}", tmp_path)
    return tmp_path / "mugs.db"


def content(state: Path) -> dict[str, bytes]:
    """Return the bytes of every file in the folder."""
    return {found.name: found.read_bytes() for found in state.parent.iterdir()}


def commits(state: Path) -> list[int]:
    """Return the places of the frames that end a change."""
    data = Path(f"{state}-wal").read_bytes()
    places = range((len(data) - 32) // FRAME)
    return [place for place in places if any(data[32 + place * FRAME + 4 : 32 + place * FRAME + 8])]


def change(state: Path, start: int, new: bytes) -> None:
    """Write bytes into the log."""
    with Path(f"{state}-wal").open("r+b") as file:
        file.seek(start)
        file.write(new)


def flip(state: Path, place: int, bit: int) -> None:
    """Flip one bit of the log."""
    change(state, place, bytes([Path(f"{state}-wal").read_bytes()[place] ^ 1 << bit]))


def test_any_flipped_bit_is_found_and_nothing_is_lost_by_reading(crashed: Path, tmp_path: Path) -> None:
    """In the header, in a frame's header, in a page, in the last frame; both ways of opening leave the log unchanged."""
    data = Path(f"{crashed}-wal").read_bytes()
    rng = np.random.default_rng(7)
    places = [0, 9, 17, 25, 32, 37, 41, 49, len(data) - 1, *rng.integers(32, len(data), 30).tolist()]
    for place in places:
        folder = tmp_path / str(place)
        folder.mkdir(exist_ok=True)
        for ending in ("", "-wal"):
            shutil.copy(f"{crashed}{ending}", folder)
        state = folder / "mugs.db"
        flip(state, place, int(rng.integers(8)))
        before = content(state)
        for read_only in (True, False):
            with pytest.raises(StateError, match=r"mugs\.db is damaged: .*log.*edgetl recover"):
                Store.open(state, IDENTITY, read_only=read_only)
        assert content(state) == before
        assert sum(recover(state, tmp_path / f"{place}.db").samples.values()) >= SAMPLES - 1


@pytest.mark.parametrize("cut", [0, 20, 40, 5 * FRAME, 20 * FRAME + 700])
def test_a_truncated_log_opens_with_the_changes_before_the_cut(state: Path, cut: int) -> None:
    """A power cut during a write looks the same, so this is no damage."""
    whole = sum(32 + (place + 1) * FRAME <= cut for place in commits(state))
    Path(f"{state}-wal").write_bytes(Path(f"{state}-wal").read_bytes()[:cut])
    with Store.open(state, IDENTITY, read_only=True) as store:
        before = store.position()
    with Store.open(state, IDENTITY) as store:
        assert store.position() == before == whole
        store.learn([new("bowl")])
        assert store.verify() == before + 1


def test_a_gap_in_the_last_change_is_a_power_cut(state: Path) -> None:
    """Its frames reach the disk in any order, and it is acknowledged only after all of them have."""
    *_, before, last = commits(state)
    assert last - before > 3
    change(state, 32 + (before + 1) * FRAME, bytes(2 * FRAME))
    with Store.open(state, IDENTITY) as store:
        assert store.position() == SAMPLES - 1
        store.learn([new("bowl")])
        shutil.copy(state, state.parent / "again.db")
        shutil.copy(f"{state}-wal", state.parent / "again.db-wal")
    # what the cut left is not taken for damage
    with Store.open(state.parent / "again.db", IDENTITY) as store:
        assert store.verify() == SAMPLES


def test_a_gap_before_the_last_change_is_damage(state: Path) -> None:
    """Each change was flushed before the next began."""
    place = commits(state)[3]
    change(state, 32 + (place + 1) * FRAME, bytes(2 * FRAME))
    with pytest.raises(StateError, match="intact changes follow it"):
        Store.open(state, IDENTITY, read_only=True)


def test_frames_of_an_older_generation_are_no_damage(tmp_path: Path) -> None:
    """A restarted log overwrites the old one from its beginning; the rest has other salts."""
    path = tmp_path / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        for _ in range(10):
            store.learn([new("mug", thumbnail=bytes(900))])
        store.flush()
        store.learn([new("bowl")])
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", tmp_path / f"copy.db{ending}")
    found = log.examine(tmp_path / "copy.db-wal")
    assert found.damage is None
    assert 0 < found.frames < 30 < Path(tmp_path / "copy.db-wal").stat().st_size // FRAME
    with Store.open(tmp_path / "copy.db", IDENTITY) as store:
        assert store.verify() == 11


def test_frames_of_a_rolled_back_change_are_no_damage(tmp_path: Path) -> None:
    """A large change spills into the log, is rolled back, and a smaller one overwrites only its start."""
    path = tmp_path / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
        with pytest.raises(StateError, match="damaged"), store.database.transaction() as connection:
            connection.executemany(
                "INSERT INTO thumbnails VALUES (?, 0, ?)",
                [(number % 400, bytes(5000)) for number in range(500)],
            )
        store.learn([new("bowl")])
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", tmp_path / f"copy.db{ending}")
    found = log.examine(tmp_path / "copy.db-wal")
    assert (found.damage, found.unfinished) == (None, True)
    with Store.open(tmp_path / "copy.db", IDENTITY) as store:
        assert store.counts() == {"bowl": 1, "mug": 1}


def test_a_log_that_another_process_writes_is_never_called_damaged(tmp_path: Path) -> None:
    """It is read repeatedly while it grows, restarts and is folded in."""
    path = tmp_path / "mugs.db"
    program = (
        "import sys; from tests.device.store.test_store import *\n"
        "with Store.open(Path(sys.argv[1]), IDENTITY) as store:\n"
        "    for value in range(150): store.learn([new('mug', value, thumbnail=bytes(3000))])"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT)
    seen = []
    while child.poll() is None:
        if path.exists() and path.stat().st_size > 1024:
            with Store.open(path, None if seen else IDENTITY, read_only=True) as store:
                seen.append(store.position())
    assert child.returncode == 0
    assert seen == sorted(seen)
    with Store.open(path, IDENTITY, read_only=True) as store:
        assert store.verify() == 150


def test_the_checksums_are_those_of_sqlite(tmp_path: Path) -> None:
    """Every frame of a log that SQLite wrote is intact, with pages of any size."""
    for size in (512, 1024, 4096, 65536):
        path = tmp_path / f"{size}.db"
        made = sqlite3.connect(path)
        made.execute(f"PRAGMA page_size = {size}")
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE t (x)")
        made.execute("INSERT INTO t VALUES (randomblob(200000))")
        made.commit()
        frames = (Path(f"{path}-wal").stat().st_size - 32) // (24 + size)
        assert log.examine(Path(f"{path}-wal")).frames == frames > 2
        made.close()


def test_a_log_without_its_file_stays_unchanged(state: Path) -> None:
    """SQLite would delete the log of an empty file; edgetl reports and recovers it."""
    state.write_bytes(b"")
    before = content(state)
    for read_only in (True, False):
        with pytest.raises(StateError, match=r"file itself is empty.*log beside it.*edgetl recover"):
            Store.open(state, IDENTITY, read_only=read_only)
    assert content(state) == before
    assert sum(recover(state, state.parent / "new.db", IDENTITY).samples.values()) == SAMPLES


def test_a_file_copied_without_its_log_is_refused_with_the_cause(tmp_path: Path) -> None:
    """Older versions had even the tables in the log; teaching must not silently start from scratch."""
    path = tmp_path / "mugs.db"
    made = sqlite3.connect(path)
    made.execute("PRAGMA page_size = 1024")
    made.execute("PRAGMA journal_mode = WAL")
    made.close()
    before = path.read_bytes()
    assert len(before) == 1024
    for read_only in (True, False):
        with pytest.raises(StateError, match="copied without its log"):
            Store.open(path, IDENTITY, read_only=read_only)
    assert path.read_bytes() == before


def test_the_tables_and_the_model_are_in_the_file_itself_from_the_start(tmp_path: Path) -> None:
    """Only the newest samples are only in the log."""
    path = tmp_path / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        shutil.copy(path, tmp_path / "copy.db")
        with Store.open(tmp_path / "copy.db", None) as copy:
            assert copy.identity == IDENTITY
        for number in range(200):
            store.learn([NewSample("mug", np.full(8, number, np.int16), 0.0, thumbnail=bytes(3000))])
        shutil.copy(path, tmp_path / "later.db")
    with Store.open(tmp_path / "later.db", IDENTITY) as later:
        assert later.verify() > 150
