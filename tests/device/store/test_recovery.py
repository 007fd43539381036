"""Damaged state files: found, told with the way out, and everything intact saved."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from device.cameras.fake import draw
from device.errors import StateError, StorageError
from device.images import thumbnail
from device.store import ModelIdentity, NewSample, Store
from device.store.merge import merge
from device.store.recovery import recover

IDENTITY = ModelIdentity("a" * 64, 300, "signed_sqrt_l2", "tiny", "tiny.tflite")
SAMPLES = 60
PICTURE = thumbnail(draw("red", 1))


def code(number: int) -> np.ndarray:
    """The code of sample `number`, known beforehand."""
    return np.random.default_rng(number).integers(-999, 999, 300).astype(np.int16)


def label_of(number: int) -> str | None:
    """The label sample `number` has in the end."""
    return None if number % 10 == 0 else "cup" if number % 3 == 0 else "bowl"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a history: taught one by one, relabelled, renamed, forgotten."""
    path = tmp_path_factory.mktemp("original") / "mugs.db"
    with Store.open(path, IDENTITY) as store:
        for number in range(1, SAMPLES + 1):
            label = "mug" if number % 3 == 0 else "bowl"
            store.learn([NewSample(label, code(number), 5.0 + number, "cam", number // 5, PICTURE)])
        store.rename("mug", "cup", ["mug", "lamp"])
        store.relabel(dict.fromkeys(range(10, SAMPLES + 1, 10)), "forget")
    return path


@pytest.fixture
def damaged(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copy(original, tmp_path / "damaged.db"))


def check_saved(out: Path, atleast: int) -> None:
    """Everything in `out` is as it was taught, and there are at least so many."""
    with Store.open(out, IDENTITY) as store:
        store.verify()
        ids, labels, _ = store.ids()
        assert labels == [label_of(number) for number in ids.tolist()]
        for number in ids.tolist():
            assert (store.codes([number])[0] == code(number)).all()
        assert len(ids) >= atleast


def test_an_intact_file_is_recovered_whole(original: Path, tmp_path: Path) -> None:
    """Nothing is lost, forgotten samples stay forgotten, renames of host labels are kept."""
    before = original.read_bytes()
    found = recover(original, tmp_path / "new.db")
    assert (found.lost, found.forgotten, found.thumbnails_lost) == ((), 6, 0)
    check_saved(tmp_path / "new.db", 54)
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert store.lab() == {"mug": "cup"}
        assert store.samples()[0].thumbnail == PICTURE
        assert merge(store, original) is None  # the samples kept their names
    assert original.read_bytes() == before


def test_a_flipped_bit_is_found_and_costs_at_most_its_page(original: Path, tmp_path: Path) -> None:
    """Anywhere in the file: either nothing that matters changed, or it is told; no wrong row gets through."""
    content = bytearray(original.read_bytes())
    rng = np.random.default_rng(1)
    told = 0
    for place in rng.integers(100, len(content), 40).tolist():
        path, out = tmp_path / "flipped.db", tmp_path / f"{place}.db"
        flipped = content.copy()
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            with Store.open(path, IDENTITY) as store:
                store.verify()
                told += bool(store.verify_pictures().broken)
        except StateError as error:
            told += f"edgetl recover {path}" in str(error)
        recover(path, out, IDENTITY)
        check_saved(out, 54 - 16)
    assert told >= 15  # the others hit room that is not in use


def test_a_truncated_file_is_found_when_it_is_opened_and_the_rest_is_saved(
    damaged: Path, tmp_path: Path
) -> None:
    """The message names the two sizes and the way out."""
    size = damaged.stat().st_size
    with damaged.open("r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(StateError, match=f"should have {size} bytes and has {size // 2}; .*edgetl recover"):
        Store.open(damaged, IDENTITY)
    found = recover(damaged, tmp_path / "new.db")
    check_saved(tmp_path / "new.db", 15)
    assert found.lost
    assert set(found.samples) == {"bowl", "cup"}


def test_a_file_without_its_first_pages_is_recovered_when_the_model_is_named(
    damaged: Path, tmp_path: Path
) -> None:
    """Not even SQLite's header is needed."""
    content = bytearray(damaged.read_bytes())
    content[:4096] = bytes(4096)
    damaged.write_bytes(content)
    with pytest.raises(StateError, match="edgetl recover"):
        Store.open(damaged, IDENTITY)
    with pytest.raises(StateError, match="--model MODEL"):
        recover(damaged, tmp_path / "new.db")
    recover(damaged, tmp_path / "new.db", IDENTITY)
    check_saved(tmp_path / "new.db", 40)


def test_samples_that_stand_only_in_the_log_are_recovered(original: Path, tmp_path: Path) -> None:
    """The log of a crash counts, stale frames of an earlier generation do not."""
    with Store.open(original, IDENTITY) as store:
        pass
    copy = Path(shutil.copy(original, tmp_path / "mugs.db"))
    with Store.open(copy, IDENTITY) as store:
        store.learn([NewSample("bowl", code(61), 1.0)])
        shutil.copy(copy, tmp_path / "crashed.db")
        shutil.copy(f"{copy}-wal", tmp_path / "crashed.db-wal")
    content = bytearray((tmp_path / "crashed.db").read_bytes())
    content[1024:1100] = bytes(76)  # the page that names the model
    (tmp_path / "crashed.db").write_bytes(content)
    recover(tmp_path / "crashed.db", tmp_path / "new.db", IDENTITY)
    check_saved(tmp_path / "new.db", 55)


def test_a_file_that_never_was_a_state_has_nothing_to_recover(tmp_path: Path) -> None:
    """No output is left behind."""
    (tmp_path / "noise.db").write_bytes(np.random.default_rng(0).bytes(50_000))
    with pytest.raises(StateError, match="nothing of a state file is left"):
        recover(tmp_path / "noise.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_recovering_onto_the_damaged_file_or_another_is_refused(original: Path, tmp_path: Path) -> None:
    """The damaged file is the only copy there is."""
    with pytest.raises(StorageError, match="the damaged file itself"):
        recover(original, original, force=True)
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(StorageError, match="--force"):
        recover(original, tmp_path / "there.db")


def test_a_row_changed_behind_our_back_is_told(damaged: Path) -> None:
    """SQLite itself finds nothing wrong with such a file; the checksums and the journal do."""
    changed = sqlite3.connect(damaged)
    changed.execute("UPDATE samples SET label = 'lamp' WHERE id = 3")
    changed.commit()
    changed.close()
    with Store.open(damaged, IDENTITY) as store:
        with pytest.raises(StateError, match="sample 3 does not match its checksum"):
            store.samples()
        with pytest.raises(StateError, match="sample 3 does not match"):
            store.verify()


def without(damaged: Path, statement: str) -> Path:
    """Run a statement on the file as another program would."""
    changed = sqlite3.connect(damaged)
    changed.execute(statement)
    changed.commit()
    changed.close()
    return damaged


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM samples WHERE id = 7", "it lacks 1 of 60 rows of samples"),
        ("DELETE FROM samples", "names sample 10, which is missing"),
        ("DELETE FROM journal WHERE seq = 9", "its journal lacks 1 of 62 entries"),
        (
            "DELETE FROM journal WHERE seq > 58",
            "sample was changed by entry 62 of the journal, which is missing",
        ),
        ("DELETE FROM journal", "sample was changed by entry 62 of the journal, which is missing"),
        ("UPDATE samples SET id = -3 WHERE id = 3", "its samples begin with number -3"),
        ("UPDATE samples SET label = 'x' WHERE id = 60", "sample 60 is not what the last entry"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_state_with_rows_deleted_is_refused_when_it_is_opened(
    damaged: Path, statement: str, message: str, read_only: bool
) -> None:
    """Numbers are dense and the last entry must match the samples, so a gap cannot hide."""
    without(damaged, statement)
    with pytest.raises(StateError, match=rf"damaged\.db is damaged.*{message}.*edgetl recover"):
        Store.open(damaged, IDENTITY, read_only=read_only)


def test_a_deleted_embedding_is_found_by_verify(damaged: Path) -> None:
    """Opening does not read the embeddings."""
    without(damaged, "DELETE FROM codes WHERE sample = 4")
    with Store.open(damaged, IDENTITY) as store, pytest.raises(StateError, match="samples 4 are not in"):
        store.verify()
