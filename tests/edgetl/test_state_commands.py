"""The commands on damaged and odd state files, as a user sees them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device.learner import Learner
from device.store.records import checksum
from device.store.rows import thumbnail_checksum
from edgetl.cli import main

MODEL = Path(__file__).resolve().parents[1] / "data" / "tiny.tflite"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state with three samples of two labels."""
    rng = np.random.default_rng(0)
    with Learner.open(MODEL, tmp_path / "s.db", threads=1) as learner:
        for label in ("blue", "red", "red"):
            learner.learn_one(rng.integers(0, 256, (32, 32, 3), np.uint8), label)
    return tmp_path / "s.db"


def run(*arguments: object) -> Result:
    """Run a command and check that it raises no unexpected error."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert "This is a bug" not in result.output
    return result


def edit(state: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    """Run a statement, as another program would."""
    changed = sqlite3.connect(state)
    changed.execute(statement, values)
    changed.commit()
    changed.close()


def set_sample(state: Path, column: str, value: object) -> None:
    """Change the last sample and correct its checksum."""
    edit(state, f"UPDATE samples SET {column} = ? WHERE id = 3", (value,))
    changed = sqlite3.connect(state)
    row = changed.execute(
        "SELECT id, uuid, label, time, source, burst, seq FROM samples WHERE id = 3"
    ).fetchone()
    changed.close()
    edit(state, "UPDATE samples SET crc = ? WHERE id = 3", (checksum("sample", *row),))


def test_verify_counts_intact_missing_and_broken_pictures(state: Path) -> None:
    """Broken pictures are an error; missing ones are not, because they may never have been kept."""
    edit(state, "DELETE FROM thumbnails WHERE sample = 1")
    result = run("status", MODEL, "--state", state, "--verify")
    assert result.exit_code == 0
    assert "2 pictures intact, 1 sample without a picture" in result.output
    edit(
        state, "UPDATE thumbnails SET jpeg = X'00', crc = ? WHERE sample = 2", (thumbnail_checksum(2, b"\0"),)
    )
    result = run("status", MODEL, "--state", state, "--verify", "--json")
    assert result.exit_code == 1
    assert "the pictures of 1 sample cannot be read (ids 2)" in result.output
    found = json.loads(result.stdout)
    assert (found["verified"], found["pictures"]) == (3, {"intact": 1, "missing": 1, "broken": [2]})


def test_a_backup_with_broken_pictures_is_written_with_a_warning(state: Path, tmp_path: Path) -> None:
    """The samples are intact, so the backup is worth keeping."""
    edit(state, "UPDATE thumbnails SET crc = crc + 1 WHERE sample = 2")
    result = run("backup", state, "--out", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert "cannot be read (ids 2)" in result.output
    assert (tmp_path / "copy.db").exists()


def test_a_backup_of_a_damaged_state_is_refused(state: Path, tmp_path: Path) -> None:
    """No file is written."""
    edit(state, "UPDATE codes SET crc = crc + 1 WHERE sample = 2")
    result = run("backup", state, "--out", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert f"edgetl recover {state}" in result.output
    assert not (tmp_path / "copy.db").exists()


def test_impossible_times_and_sources_are_shown_escaped(state: Path) -> None:
    """No escape sequence of a state file reaches the terminal, and a year of 300 digits is unknown."""
    set_sample(state, "time", 1e300)
    set_sample(state, "source", "\x1b]0;owned\x07")
    result = run("status", MODEL, "--state", state, "--samples", 1)
    assert result.exit_code == 0
    assert "3  unknown  red  \\u001b]0;owned\\u0007" in result.output
    set_sample(state, "time", float("inf"))
    assert (
        json.loads(run("status", MODEL, "--state", state, "--samples", 1, "--json").stdout)[0]["time"] is None
    )


@pytest.mark.parametrize("note", ["[1]", '{"when": "x"}', '{"when": 1e400, "drifted": true}', "{"])
def test_a_malformed_drift_note_is_ignored(state: Path, note: str) -> None:
    """No sample depends on it."""
    edit(state, "INSERT OR REPLACE INTO settings VALUES ('drift', ?)", (note,))
    result = run("status", MODEL, "--state", state)
    assert result.exit_code == 0
    assert "Drift" not in result.output


@pytest.mark.parametrize("metrics", ["[1]", "{", '{"accuracy": "x"}'])
def test_versions_with_malformed_figures_are_listed(state: Path, metrics: str) -> None:
    """So are impossible times, and notes with escape sequences."""
    edit(state, "INSERT INTO versions VALUES (9, 1, 1e300, ?, ?)", ("\x1b[2J", metrics))
    result = run("rollback", MODEL, "--state", state)
    assert result.exit_code == 0
    assert "unknown  \\u001b[2J" in result.output


def test_an_undecodable_name_in_the_schema_is_an_edgetl_error(state: Path, tmp_path: Path) -> None:
    """SQLite's own message cannot be decoded."""
    changed = sqlite3.connect(state)
    changed.execute("PRAGMA writable_schema = ON")
    changed.execute(
        "UPDATE sqlite_master SET name = CAST(X'6cff62' AS TEXT), sql = 'CREATE TABLE ?' WHERE name = 'lab'"
    )
    changed.commit()
    changed.close()
    for arguments in (
        ("status", MODEL, "--state", state),
        ("forget", MODEL, "--state", state, "--last"),
        ("merge", MODEL, state, "--state", tmp_path / "new.db"),
        ("backup", state, "--out", tmp_path / "copy.db"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert f"{state} is damaged" in result.output
    assert run("recover", state, "--out", tmp_path / "saved.db").exit_code == 0


def test_a_warning_is_shown_for_an_empty_state_file(tmp_path: Path) -> None:
    """It may have had samples before; `backup` refuses it."""
    (tmp_path / "s.db").touch()
    result = run("status", MODEL, "--state", tmp_path / "s.db")
    assert result.exit_code == 0
    assert "is empty (0 bytes)" in result.stderr
    result = run("backup", tmp_path / "s.db", "--out", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert "is empty (0 bytes), so it contains no state" in result.output
