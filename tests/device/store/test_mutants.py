"""Random damage to a state file and its log: an error of edgetl or the right result, and reading loses nothing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device.cameras.fake import draw
from device.errors import EdgetlError
from device.images import thumbnail
from device.store import ModelIdentity, NewSample, Store
from device.store.merge import merge
from device.store.recovery import recover

IDENTITY = ModelIdentity("a" * 64, 60, "signed_sqrt_l2", "tiny", "tiny.tflite")
SAMPLES, MUTANTS = 14, 200
ENDINGS = ("", "-wal")
Mutation = Callable[[random.Random, bytearray], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in use: half of its samples in the file, half only in the log."""
    folder = tmp_path_factory.mktemp("good")
    picture = thumbnail(draw("red", 1))
    with Store.open(folder / "open.db", IDENTITY) as store:
        for number in range(SAMPLES):
            code = np.full(60, number, np.int16)
            store.learn([NewSample("mug" if number % 2 else "bowl", code, 1.0, "cam", number, picture)])
            if number == SAMPLES // 2:
                store.flush()
        for ending in ENDINGS:
            shutil.copy(folder / f"open.db{ending}", folder / f"mugs.db{ending}")
    return folder / "mugs.db"


def flip(chooser: random.Random, data: bytearray) -> None:
    """Flip one to eight bits."""
    for _ in range(chooser.randint(1, 8)):
        data[chooser.randrange(len(data))] ^= 1 << chooser.randrange(8)


def cut(chooser: random.Random, data: bytearray) -> None:
    """Truncate the file."""
    del data[chooser.randrange(len(data)) :]


def zero(chooser: random.Random, data: bytearray) -> None:
    """Zero a block, as a worn SD card returns it."""
    start = chooser.randrange(len(data)) // 512 * 512
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))


def swap(chooser: random.Random, data: bytearray) -> None:
    """Write one block over another."""
    blocks = len(data) // 1024
    source, target = chooser.randrange(blocks) * 1024, chooser.randrange(blocks) * 1024
    data[target : target + 1024] = data[source : source + 1024]


def set_header(chooser: random.Random, data: bytearray) -> None:
    """Set one of the first bytes."""
    data[chooser.randrange(112)] = chooser.randrange(256)


MUTATIONS: tuple[Mutation, ...] = (flip, cut, zero, swap, set_header)


def mutant(good: Path, folder: Path, seed: int) -> Path:
    """Write a damaged copy of the state; the same seed makes the same one."""
    chooser = random.Random(seed)
    folder.mkdir()
    for ending in ENDINGS:
        shutil.copy(f"{good}{ending}", folder / f"mugs.db{ending}")
    target = folder / f"mugs.db{ENDINGS[seed % 2]}"
    data = bytearray(target.read_bytes())
    MUTATIONS[seed // 2 % len(MUTATIONS)](chooser, data)
    target.write_bytes(data)
    return folder / "mugs.db"


def attempt(work: Callable[[], None]) -> bool:
    """Run something that may raise an error of edgetl; return whether it succeeded."""
    try:
        work()
    except EdgetlError:
        return False
    return True


def look(state: Path) -> None:
    """Run everything that only reads."""
    with Store.open(state, IDENTITY, read_only=True) as store:
        store.counts()
        store.samples()
        store.entries()
        store.verify()
        store.verify_pictures()


def learn_from(state: Path) -> None:
    """Merge the state into a fresh one."""
    with Store.open(None, IDENTITY) as store:
        merge(store, state)


def saved(state: Path, out: Path) -> int:
    """Return the number of samples that `recover` saves, after checking the new file."""
    found = 0
    if attempt(lambda: recover(state, out, IDENTITY, force=True) and None):
        with Store.open(out, IDENTITY, read_only=True) as store:
            store.verify()
            assert not store.verify_pictures().broken
            found = sum(store.counts().values())
    return found


@pytest.mark.filterwarnings("ignore:.*is empty .0 bytes.:RuntimeWarning")
def test_no_damage_crashes_and_reading_loses_nothing(good: Path, tmp_path: Path) -> None:
    """Reading changes no byte; a state that opens for writing loses at most an unfinished change."""
    refused = 0
    for seed in range(MUTANTS):
        state = mutant(good, tmp_path / str(seed), seed)
        before = {ending: Path(f"{state}{ending}").read_bytes() for ending in ENDINGS}
        refused += not attempt(lambda state=state: look(state))  # type: ignore[misc]
        attempt(lambda state=state: learn_from(state))  # type: ignore[misc]
        assert {ending: Path(f"{state}{ending}").read_bytes() for ending in ENDINGS} == before, seed
        intact = saved(state, tmp_path / "before.db")
        opened = attempt(lambda state=state: Store.open(state, IDENTITY).close())  # type: ignore[misc]
        if opened:
            assert saved(state, tmp_path / "after.db") >= intact - 1, seed
        else:
            assert Path(f"{state}-wal").read_bytes() == before["-wal"], seed
        shutil.rmtree(state.parent)
    assert MUTANTS // 4 < refused < MUTANTS


def test_the_undamaged_state_is_complete(good: Path, tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    shutil.copytree(good.parent, tmp_path / "copy")
    state = tmp_path / "copy" / "mugs.db"
    look(state)
    assert saved(state, tmp_path / "out.db") == SAMPLES
