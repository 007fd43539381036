"""Damaged state files: found, reported with the next step, and everything intact saved."""

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
from device.store.records import checksum
from device.store.recovery import recover
from device.store.rows import thumbnail_checksum

IDENTITY = ModelIdentity("a" * 64, 300, "signed_sqrt_l2", "tiny", "tiny.tflite")
SAMPLES = 60
PICTURE = thumbnail(draw("red", 1))


def code(number: int) -> np.ndarray:
    """Return the code of sample `number`."""
    return np.random.default_rng(number).integers(-999, 999, 300).astype(np.int16)


def label_of(number: int) -> str | None:
    """Return the final label of sample `number`."""
    return None if number % 10 == 0 else "cup" if number % 3 == 0 else "bowl"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a history: taught one by one, relabeled, renamed, forgotten."""
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
    """A copy, to be damaged."""
    return Path(shutil.copy(original, tmp_path / "damaged.db"))


def check_saved(out: Path, least: int) -> None:
    """Check that everything in `out` is as it was taught, and that there are at least `least` samples."""
    with Store.open(out, IDENTITY) as store:
        store.verify()
        ids, labels, _ = store.ids()
        assert labels == [label_of(number) for number in ids.tolist()]
        for number in ids.tolist():
            assert (store.codes([number])[0] == code(number)).all()
        assert len(ids) >= least


def test_an_intact_file_is_recovered_completely(original: Path, tmp_path: Path) -> None:
    """Nothing is lost, forgotten samples stay forgotten, renames of host labels are kept."""
    before = original.read_bytes()
    found = recover(original, tmp_path / "new.db")
    assert (found.lost, found.forgotten, found.thumbnails_lost) == ((), 6, 0)
    check_saved(tmp_path / "new.db", 54)
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert store.host_labels() == {"mug": "cup"}
        assert store.samples()[0].thumbnail == PICTURE
        assert merge(store, original) is None  # the samples kept their names
    assert original.read_bytes() == before


def test_a_flipped_bit_is_found_and_costs_at_most_its_page(original: Path, tmp_path: Path) -> None:
    """Anywhere in the file: either nothing that matters changed, or an error is raised; no wrong row is accepted."""
    content = bytearray(original.read_bytes())
    rng = np.random.default_rng(1)
    reported = 0
    for place in rng.integers(100, len(content), 40).tolist():
        path, out = tmp_path / "flipped.db", tmp_path / f"{place}.db"
        flipped = content.copy()
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            with Store.open(path, IDENTITY) as store:
                store.verify()
                reported += bool(store.verify_pictures().broken)
        except StateError as error:
            reported += f"edgetl recover {path}" in str(error)
        recover(path, out, IDENTITY)
        check_saved(out, 54 - 16)
    assert reported >= 15  # the others hit room that is not in use


def test_a_truncated_file_is_found_when_it_is_opened_and_the_rest_is_saved(
    damaged: Path, tmp_path: Path
) -> None:
    """The message names the two sizes and the next step."""
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


def test_samples_that_are_only_in_the_log_are_recovered(original: Path, tmp_path: Path) -> None:
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


def test_a_foreign_file_has_nothing_to_recover(tmp_path: Path) -> None:
    """No output is left behind."""
    (tmp_path / "noise.db").write_bytes(np.random.default_rng(0).bytes(50_000))
    with pytest.raises(StateError, match="nothing of a state file is left"):
        recover(tmp_path / "noise.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_recovering_onto_the_damaged_file_or_another_is_refused(original: Path, tmp_path: Path) -> None:
    """The damaged file is the only copy."""
    with pytest.raises(StorageError, match="the damaged file itself"):
        recover(original, original, force=True)
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(StorageError, match="--force"):
        recover(original, tmp_path / "there.db")


def test_a_row_changed_by_another_program_is_found(damaged: Path) -> None:
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
    """Run a statement on the file, as another program might."""
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
        ("UPDATE samples SET label = 'x' WHERE id = 60", "sample 60 does not match the last entry"),
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


def run_of(first: object, last: object) -> str:
    """Return the changes of a journal entry that teaches a run of samples."""
    return f'[["s",{first},{last},null,"mug"]]'


@pytest.mark.parametrize(
    "changes",
    [
        "{",
        "[" * 100_000 + "]" * 100_000,
        run_of(1, "Infinity"),
        run_of(1, 10**12),
        run_of(-(2**63), 2**63 - 1),
        run_of(30, 1),
        '[["s",1,2,[],"mug"]]',
    ],
)
def test_one_impossible_journal_entry_costs_nothing_else(damaged: Path, tmp_path: Path, changes: str) -> None:
    """Its checksum is right but its content is not; opening names the file, and recover leaves the entry out."""
    entry = (62, 5.0, "forget", None, changes)
    changed = sqlite3.connect(damaged)
    changed.execute(
        "UPDATE journal SET time = 5.0, action = 'forget', changes = ?, crc = ? WHERE seq = 62",
        (changes, checksum("journal", *entry)),
    )
    changed.commit()
    changed.close()
    with pytest.raises(StateError, match=r"damaged\.db is damaged: .*edgetl recover"):
        Store.open(damaged, IDENTITY)
    found = recover(damaged, tmp_path / "new.db")
    assert any("journal entries" in note for note in found.notes)
    check_saved(tmp_path / "new.db", 54)


def edited(damaged: Path, number: int, **fields: object) -> Path:
    """Change a sample with its checksum, as another program might."""
    changed = sqlite3.connect(damaged)
    for name, value in fields.items():
        changed.execute(f"UPDATE samples SET {name} = ? WHERE id = ?", (value, number))
    number = int(fields.get("id", number))  # type: ignore[call-overload]
    row = changed.execute(
        "SELECT id, uuid, label, time, source, burst, seq FROM samples WHERE id = ?", (number,)
    ).fetchone()
    changed.execute("UPDATE samples SET crc = ? WHERE id = ?", (checksum("sample", *row), number))
    changed.commit()
    changed.close()
    return damaged


@pytest.mark.parametrize("number", [0, -5, 10**9, 2**63 - 1])
def test_an_impossible_id_is_left_out_at_once(damaged: Path, tmp_path: Path, number: int) -> None:
    """The gap before it is not filled with forgotten samples."""
    found = recover(edited(damaged, 59, id=number), tmp_path / "new.db")
    assert any("impossible id" in note for note in found.notes)
    assert 59 in found.lost
    check_saved(tmp_path / "new.db", 53)


@pytest.mark.parametrize(
    ("label", "renamed"),
    [
        ("", "no label"),
        ("a\nb", "a\\nb"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\0b", "a\\x00b"),
        ("cafe\u0301", "caf\u00e9"),
        ("a" * 1_000_000, "a" * 97 + "..."),
    ],
)
def test_invalid_labels_are_refused_by_name_and_renamed_by_recover(
    damaged: Path, tmp_path: Path, label: str, renamed: str
) -> None:
    """The sample itself is intact."""
    with Store.open(edited(damaged, 59, label=label), IDENTITY, read_only=True) as store:
        for read in (
            store.counts,
            store.ids,
            store.samples,
            lambda: list(store.taught_chunks()),
            store.verify,
        ):
            with pytest.raises(StateError, match=r"damaged\.db is damaged: .*edgetl recover"):
                read()
    found = recover(damaged, tmp_path / "new.db")
    assert found.samples[renamed] == 1
    assert any("is no label and was renamed" in note for note in found.notes)
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert store.verify() == 60


@pytest.mark.parametrize(
    ("fields", "saved"),
    [
        ({"time": 1e300}, {"time": 0.0}),
        ({"time": float("inf")}, {"time": 0.0}),
        ({"source": "\x1b]0;owned\x07"}, {"source": "\\x1b]0;owned\\x07"}),
        ({"source": "s" * 1_000_000}, {"source": "s" * 4096}),
        ({"uuid": b"x" * 100_000}, {}),
    ],
)
def test_impossible_values_are_refused_by_merge_and_reset_by_recover(
    damaged: Path, tmp_path: Path, fields: dict[str, object], saved: dict[str, object]
) -> None:
    """Such states open, because the samples are intact, but are not merged into another state."""
    edited(damaged, 59, **fields)
    with Store.open(None, IDENTITY) as store:
        with pytest.raises(StateError, match=r"damaged\.db is damaged: .*edgetl recover"):
            merge(store, damaged)
        assert store.position() == 0
        recover(damaged, tmp_path / "new.db")
        assert merge(store, tmp_path / "new.db") is not None
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert vars(store.sample(59)) | saved == vars(store.sample(59))


def test_samples_that_share_a_name_get_new_names(damaged: Path, tmp_path: Path) -> None:
    """Merging would treat two samples of one name as one."""
    changed = sqlite3.connect(damaged)
    (name,) = changed.execute("SELECT uuid FROM samples WHERE id = 58").fetchone()
    changed.close()
    with (
        Store.open(edited(damaged, 59, uuid=name), IDENTITY) as store,
        pytest.raises(StateError, match="twice"),
    ):
        store.verify()
    recover(damaged, tmp_path / "new.db")
    check_saved(tmp_path / "new.db", 54)


def test_unreadable_pictures_are_counted_and_left_out(damaged: Path, tmp_path: Path) -> None:
    """Pictures with a right checksum, with a wrong one, too large, and deleted."""
    changed = sqlite3.connect(damaged)
    changed.execute("PRAGMA secure_delete = ON")  # or recovery may find a deleted picture in a free page
    for number, jpeg in ((1, b"no jpeg"), (2, bytes(5 << 20))):
        changed.execute(
            "UPDATE thumbnails SET jpeg = ?, crc = ? WHERE sample = ?",
            (jpeg, thumbnail_checksum(number, jpeg), number),
        )
    changed.execute("UPDATE thumbnails SET crc = crc + 1 WHERE sample = 3")
    changed.execute("DELETE FROM thumbnails WHERE sample IN (4, 5)")
    changed.commit()
    changed.close()
    with Store.open(damaged, IDENTITY) as store:
        assert store.verify() == 60
        pictures = store.verify_pictures()
        assert (pictures.intact, pictures.missing, pictures.broken) == (49, 2, (1, 2, 3))
    assert recover(damaged, tmp_path / "new.db").thumbnails_lost == 5
    with Store.open(tmp_path / "new.db", IDENTITY) as store:
        assert store.verify_pictures().broken == ()


def test_a_backup_of_a_damaged_state_is_refused_and_names_the_state(damaged: Path, tmp_path: Path) -> None:
    """The message does not name the temporary copy, and no file is left."""
    without(damaged, "DELETE FROM codes WHERE sample = 4")
    with (
        Store.open(damaged, IDENTITY, read_only=True) as store,
        pytest.raises(
            StateError, match=r"damaged\.db is damaged: .*nothing was copied.*recover .*damaged\.db"
        ),
    ):
        store.backup(tmp_path / "copy.db")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["damaged.db"]


def test_a_missing_embedding_of_a_taught_sample_names_the_file(damaged: Path) -> None:
    """Only a purged embedding is no damage."""
    without(damaged, "DELETE FROM codes WHERE sample = 4")
    with (
        Store.open(damaged, IDENTITY) as store,
        pytest.raises(StateError, match=r"damaged\.db.*sample 4 is missing"),
    ):
        list(store.taught_chunks())


def test_samples_without_the_entry_that_names_their_model_are_refused(damaged: Path) -> None:
    """Otherwise the next model would be accepted, whatever it is."""
    without(damaged, "DELETE FROM settings")
    for read_only in (True, False):
        with pytest.raises(StateError, match="name the model of its samples"):
            Store.open(damaged, IDENTITY, read_only=read_only)
