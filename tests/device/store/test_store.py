"""The state file: acknowledged samples are there, undo is exact, foreign files are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from device.errors import EmbeddingError, SampleNotFoundError, StateBusyError, StateError, StorageError
from device.store import (
    HostChange,
    ModelIdentity,
    NewSample,
    Sample,
    SampleRun,
    Store,
    faults,
    journal,
    schema,
)
from device.store.merge import merge
from tests.permissions import bound_by_permissions

IDENTITY = ModelIdentity("a" * 64, 8, "signed_sqrt_l2", "tiny", "tiny.tflite")
ROOT = Path(__file__).resolve().parents[3]


def new(label: str, value: int = 1, **fields: object) -> NewSample:
    """Make a sample whose code is `value` throughout."""
    return NewSample(label, np.full(8, value, np.int16), 1000.0 + value, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file's path."""
    return tmp_path / "mugs.db"


def test_learned_samples_are_there_after_reopening(path: Path) -> None:
    """Labels, codes, times, sources, bursts and thumbnails are unchanged."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug", 3, source="cam", burst=9, thumbnail=b"jpeg"), new("schön blau", 4)])
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"mug": 1, "schön blau": 1}
        assert store.samples()[-1] == Sample(1, "mug", 1003.0, "cam", 9, b"jpeg")
        assert store.codes([2, 1]).tolist() == [[4] * 8, [3] * 8]


def test_commits_are_fully_synchronous_in_a_write_ahead_log(path: Path) -> None:
    """With FULL, an acknowledged sample survives a power cut, not only a crash of the process."""
    with Store.open(path, IDENTITY) as store:
        assert store.database.value("PRAGMA journal_mode") == "wal"
        assert store.database.value("PRAGMA synchronous") == 2


def test_a_killed_process_leaves_every_acknowledged_sample(path: Path) -> None:
    """A process that does not close the file leaves its samples in the log; they are there after opening."""
    program = (
        "import os, sys; from tests.device.store.test_store import *\n"
        "store = Store.open(Path(sys.argv[1]), IDENTITY)\n"
        "store.learn([new('mug')]); store.learn([new('bowl', 2)]); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert Path(f"{path}-wal").stat().st_size > 0
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"bowl": 1, "mug": 1}


def test_a_wrong_sample_in_the_middle_writes_none_of_them(path: Path) -> None:
    """Learning many is all or nothing."""
    with Store.open(path, IDENTITY) as store:
        wrong = NewSample("mug", np.zeros(3, np.int16), 0.0)
        with pytest.raises(EmbeddingError, match=r"shape \(8,\)"):
            store.learn([new("mug"), wrong])
        assert (store.counts(), store.position()) == ({}, 0)


def test_forgetting_and_relabeling_are_all_or_nothing(path: Path) -> None:
    """One unknown id among several changes nothing and is named."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug"), new("mug", 2)])
        with pytest.raises(SampleNotFoundError, match="id 7"):
            store.relabel({1: None, 7: None})
        assert store.counts() == {"mug": 2}
        store.relabel({1: None}, "forget")
        with pytest.raises(SampleNotFoundError, match="is forgotten"):
            store.relabel({1: "bowl"})


def test_undo_reverts_one_change_at_a_time_to_the_empty_state(path: Path) -> None:
    """Each undo goes back one more, over renames that joined two labels, across a reopening."""
    with Store.open(path, IDENTITY) as store:
        states = [store.counts()]
        for change in (
            lambda: store.learn([new("mug"), new("bowl", 2), new("cup", 3)]),
            lambda: store.relabel({2: "mug"}),
            lambda: store.rename("mug", "cup", ["mug", "lamp"]),
            lambda: store.relabel({3: None}, "forget"),
            lambda: store.rename("cup", None, ["mug", "lamp"]),
        ):
            change()
            states.append(store.counts())
    with Store.open(path, IDENTITY) as store:
        for expected in reversed(states[:-1]):
            assert store.undo() is not None
            assert store.counts() == expected
        assert (store.undo(), store.host_labels()) == (None, {})


def test_rollback_returns_to_a_position_and_can_be_undone(path: Path) -> None:
    """A rollback is a change like any other, so undo reverts it."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug"), new("bowl", 2)])
        version = store.add_version("before lunch", {"accuracy": 0.5})
        store.learn([new("lamp", 3)])
        store.rename("mug", "cup", ["mug"])
        after = store.counts()
        store.rollback(version.seq)
        assert (store.counts(), store.host_labels()) == ({"bowl": 1, "mug": 1}, {})
        store.undo()
        assert (store.counts(), store.host_labels()) == (after, {"mug": "cup"})
        assert store.versions() == [version]


def test_the_tables_are_the_sum_of_the_journal() -> None:
    """After any sequence of changes, the labels are those of the folded journal."""
    rng = np.random.default_rng(5)
    with Store.open(None, IDENTITY) as store:
        for _ in range(150):
            labels = sorted(store.counts()) or ["none"]
            ids, _, _ = store.ids()
            some = [int(number) for number in ids[rng.random(len(ids)) < 0.3]]
            match int(rng.integers(6)):
                case 0 | 1:
                    store.learn([new(f"label {rng.integers(4)}", int(rng.integers(99))) for _ in range(3)])
                case 2:
                    store.relabel({number: f"label {rng.integers(4)}" for number in some})
                case 3:
                    store.rename(labels[0], f"label {rng.integers(4)}", ["label 1"])
                case 4:
                    store.undo()
                case 5:
                    store.rollback(int(rng.integers(store.position() + 1)))
            samples, host = journal.fold(store.entries())
            ids, names, _ = store.ids()
            assert samples == dict(zip(ids.tolist(), names, strict=True))
            assert host == store.host_labels()


def test_purged_samples_are_gone_from_the_bytes_of_the_file(path: Path) -> None:
    """Purging erases thumbnails and codes of forgotten samples; undo ends there, and ids are not reused."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug", thumbnail=b"a private picture" * 20), new("mug", 2)])
        store.relabel({1: None}, "forget")
        assert store.purge() == 1
        assert store.undo() is None
        with pytest.raises(SampleNotFoundError):
            store.codes([1])
        assert store.learn([new("mug")]).changes == (SampleRun(3, 3, None, "mug"),)
        with pytest.raises(SampleNotFoundError, match="purged"):
            store.rollback(1)
    assert b"a private picture" not in path.read_bytes()


def test_merging_twice_or_both_ways_learns_each_sample_once(tmp_path: Path) -> None:
    """A sample has the same name on every device, so it never counts twice, and a forgotten one does not come back."""
    with Store.open(tmp_path / "a.db", IDENTITY) as a, Store.open(tmp_path / "b.db", IDENTITY) as b:
        a.learn([new("mug"), new("mug", 2)])
        b.learn([new("bowl", 3, thumbnail=b"x"), new("bowl", 3)])
        entry = merge(a, tmp_path / "b.db")
        assert entry is not None
        assert entry.changes == (SampleRun(3, 4, None, "bowl"),)
        assert merge(a, tmp_path / "b.db") is None
        assert merge(b, tmp_path / "a.db") is not None
        assert a.counts() == b.counts() == {"bowl": 2, "mug": 2}
        a.relabel({3: None}, "forget")
        assert merge(a, tmp_path / "b.db") is None
        assert a.counts() == {"bowl": 1, "mug": 2}


def test_merging_another_models_state_or_itself_is_refused(tmp_path: Path) -> None:
    """The message names both models; nothing is learned."""
    other = ModelIdentity("b" * 64, 8, name="other.tflite")
    with Store.open(tmp_path / "a.db", IDENTITY) as a, Store.open(tmp_path / "b.db", other):
        with pytest.raises(StateError, match=r"other\.tflite.*tiny\.tflite"):
            merge(a, tmp_path / "b.db")
        with pytest.raises(StateError, match="this state file itself"):
            merge(a, tmp_path / "a.db")
        assert a.position() == 0


def test_the_state_of_another_model_is_refused_by_name(path: Path) -> None:
    """A model cannot use the embeddings of another."""
    Store.open(path, IDENTITY).close()
    with pytest.raises(StateError, match=r"belongs to tiny\.tflite .*given model is other\.tflite"):
        Store.open(path, ModelIdentity("b" * 64, 8, name="other.tflite"))


def test_two_processes_teach_one_file_and_lose_nothing(path: Path) -> None:
    """Writers wait for one another; all samples of both are there, with unique ids."""
    program = (
        "import sys; from tests.device.store.test_store import *\n"
        "store = Store.open(Path(sys.argv[1]), IDENTITY)\n"
        "for value in range(60): store.learn([new(sys.argv[2], value)])\n"
        "store.close()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path), label], cwd=ROOT)
        for label in ("mug", "bowl")
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"bowl": 60, "mug": 60}
        assert [entry.seq for entry in store.entries()] == list(range(1, 121))


def test_threads_share_one_store(path: Path) -> None:
    """The store does its own locking."""
    with Store.open(path, IDENTITY) as store:
        threads = [
            threading.Thread(target=lambda: [store.learn([new("mug")]) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.counts() == {"mug": 80}


def test_a_file_locked_by_another_process_is_reported_as_busy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends, and the message names the next step."""
    monkeypatch.setattr(faults, "BUSY_SECONDS", 0.05)
    with Store.open(path, IDENTITY) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateBusyError, match="another process"):
            store.learn([new("mug")])
        holder.execute("ROLLBACK")
        holder.close()
        store.learn([new("mug")])


def test_a_full_file_system_refuses_with_the_next_step_and_keeps_what_was_acknowledged(path: Path) -> None:
    """A page limit simulates a full disk at a chosen place, without any privilege."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
        pages = store.database.value("PRAGMA page_count")
        store.database.rows(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StorageError, match="disk is full: free some space"):
            store.learn([new("mug", thumbnail=bytes(20_000))])
        assert store.counts() == {"mug": 1}
        store.database.rows("PRAGMA max_page_count = 1000000")
        store.learn([new("mug", thumbnail=bytes(20_000))])
        assert store.counts() == {"mug": 2}


def test_a_file_size_limit_of_the_process_refuses_and_loses_nothing(path: Path) -> None:
    """The write-ahead log reaches the limit, as on a disk that fills up."""
    program = (
        "import resource, signal, sys; from tests.device.store.test_store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = Store.open(Path(sys.argv[1]), IDENTITY)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "while True:\n"
        "    try: store.learn([new('mug', thumbnail=bytes(3000))])\n"
        "    except StorageError as error: print(len(store.ids()[0]), error); break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    acknowledged, message = done.stdout.split(" ", 1)
    assert "cannot use the state file" in message
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"mug": int(acknowledged)}
        store.learn([new("mug")])


def test_other_files_are_refused_with_their_kind(tmp_path: Path) -> None:
    """A text file, another program's database, a folder, a missing file, a missing folder."""
    text = tmp_path / "notes.db"
    text.write_text("these are my notes, not a database")
    with pytest.raises(StateError, match="begins with b'these are my no"):
        Store.open(text, IDENTITY)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(StateError, match="another program"):
        Store.open(tmp_path / "foreign.db", IDENTITY)
    with pytest.raises(StorageError, match="is a folder"):
        Store.open(tmp_path, IDENTITY)
    with pytest.raises(StorageError, match="does not exist"):
        Store.open(tmp_path / "missing.db", None)
    with pytest.raises(StorageError, match="mkdir -p"):
        Store.open(tmp_path / "no" / "mugs.db", IDENTITY)
    assert not (tmp_path / "missing.db").exists()


def test_a_newer_file_is_refused_and_stays_unchanged(path: Path) -> None:
    """The message names the command that updates edgetl; no byte is changed."""
    with Store.open(path, IDENTITY) as store:
        store.database.rows(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"newer edgetl.*update"):
        Store.open(path, IDENTITY)
    assert path.read_bytes() == before


def test_a_path_may_contain_any_character(tmp_path: Path) -> None:
    """Characters with a meaning in a URI are used literally."""
    for name in ("50%.db", "why?.db", "#1.db", "my mugs ☕.db", "a%3fb.db", "x?mode=memory"):
        with Store.open(tmp_path / name, IDENTITY) as store:
            store.learn([new("mug")])
        assert (tmp_path / name).stat().st_size > 0


def test_an_empty_file_becomes_a_state_and_a_crash_while_creating_is_survived(path: Path) -> None:
    """A file without tables, left by a kill, counts as new, with a warning."""
    path.touch()
    with pytest.warns(RuntimeWarning, match=r"is empty \(0 bytes\)"), Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
    with Store.open(path, IDENTITY) as store:
        assert store.counts() == {"mug": 1}


def test_a_hostile_file_with_a_trigger_is_refused(path: Path) -> None:
    """Only the tables of edgetl are accepted; a trigger would run on each write."""
    Store.open(path, IDENTITY).close()
    hostile = sqlite3.connect(path)
    hostile.execute("CREATE TRIGGER t AFTER INSERT ON samples BEGIN DELETE FROM samples; END")
    hostile.commit()
    hostile.close()
    with pytest.raises(StateError, match="tables are not those"):
        Store.open(path, IDENTITY)


def test_a_backup_is_one_complete_file_made_while_in_use(path: Path, tmp_path: Path) -> None:
    """The copy has every acknowledged sample, needs no log, and overwrites nothing without force."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
        store.backup(tmp_path / "copy.db")
        store.learn([new("mug", 2)])
        with pytest.raises(StorageError, match="--force"):
            store.backup(tmp_path / "copy.db")
    assert sorted(found.name for found in tmp_path.glob("copy.db*")) == ["copy.db"]
    with Store.open(tmp_path / "copy.db", IDENTITY) as copy:
        assert copy.counts() == {"mug": 1}


def test_a_clock_that_jumps_back_changes_neither_order_nor_undo(path: Path) -> None:
    """The order is that of ids, never of times."""
    clock = iter([2000.0, 5.0, -3.0, 1e12]).__next__
    with Store.open(path, IDENTITY, clock=clock) as store:
        for value in range(3):
            store.learn([NewSample("mug", np.full(8, value, np.int16), -float(value))])
        assert [sample.id for sample in store.samples()] == [3, 2, 1]
        assert store.undo() == store.entries()[-1]
        assert [sample.id for sample in store.samples()] == [2, 1]


def test_reading_while_another_writes_sees_one_consistent_state(path: Path) -> None:
    """A reader's view does not change, and the writer does not wait."""
    with Store.open(path, IDENTITY) as writer, Store.open(path, IDENTITY, read_only=True) as reader:
        writer.learn([new("mug")])
        with reader.database.reading():
            assert reader.position() == 1
            writer.learn([new("mug")])
            assert (reader.position(), reader.counts()) == (1, {"mug": 1})
        assert reader.position() == 2
        with pytest.raises(StorageError, match="read-only"):
            reader.learn([new("mug")])


def test_settings_are_kept(path: Path) -> None:
    """Any JSON value is returned unchanged."""
    with Store.open(path, IDENTITY) as store:
        store.set_setting("threshold", {"mug": 0.5})
    with Store.open(path, IDENTITY) as store:
        assert store.setting("threshold") == {"mug": 0.5}
        assert store.setting("missing", 3) == 3


def test_a_renamed_host_label_keeps_its_history(path: Path) -> None:
    """Labels of the host are followed through renames and undo."""
    with Store.open(path, IDENTITY) as store:
        assert store.rename("mug", "cup", ["mug"]).changes == (HostChange("mug", "mug", "cup"),)
        store.rename("cup", "glass", ["mug"])
        assert store.host_labels() == {"mug": "glass"}
        store.undo()
        assert store.host_labels() == {"mug": "cup"}
        store.rename("cup", "mug", ["mug"])
        assert store.host_labels() == {}


def test_a_file_without_write_permission_can_still_be_read(path: Path) -> None:
    """Predicting works where teaching does not."""
    with Store.open(path, IDENTITY) as store:
        store.learn([new("mug")])
    path.chmod(0o400)
    path.parent.chmod(0o500)
    with bound_by_permissions(), Store.open(path, IDENTITY) as store:
        assert store.read_only
        assert store.counts() == {"mug": 1}
        with pytest.raises(StorageError, match="read-only"):
            store.learn([new("mug")])
    path.parent.chmod(0o700)
