"""``edgetl label move``, as it is typed."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from device.cameras.fake import draw
from device.learner import Learner
from edgetl.cli import main
from tests import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model taught eight red and eight blue samples in bursts of four, an hour apart on 2 January 2026."""
    path = Path(shutil.copy(tiny.TINY, tmp_path / "mugs.tflite"))
    with Learner.open(path, threads=1) as learner:
        start = datetime(2026, 1, 2, 10, 0).timestamp()
        for burst in range(4):
            label = ("red", "blue")[burst // 2]
            images = [draw(label, 4 * burst + number) for number in range(4)]
            times = [start + 3600 * burst + number / 10 for number in range(4)]
            learner.learn_many(images, [label] * 4, "cam", times=times)
    return path


def move(model: Path, *words: object) -> Result:
    """Run the command."""
    done = CliRunner().invoke(main, ["label", "move", str(model), *map(str, words)])
    assert "This is a bug" not in done.output
    return done


def asked(model: Path, *words: object) -> Any:
    """Run the command with --json; it must succeed."""
    done = move(model, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_samples_of_a_label_and_a_time_range_get_another_label(model: Path) -> None:
    """In one change, which one undo reverts."""
    done = asked(model, "--label", "red", "--since", "2026-01-02 10:30", "--to", "cup")
    assert (done["action"], done["ids"], done["moved"]) == ("relabel", [5, 6, 7, 8], {"red": 4})
    assert done["samples"] == {"blue": 8, "cup": 4, "red": 4}
    assert CliRunner().invoke(main, ["forget", str(model), "--undo"]).exit_code == 0
    assert asked(model, "--label", "red", "--delete", "--dry-run")["moved"] == {"red": 8}


def test_a_dry_run_shows_what_would_change_and_changes_nothing(model: Path) -> None:
    """The state file has the same bytes afterwards."""
    before = model.with_suffix(".db").read_bytes()
    done = move(model, "--burst-of", 9, "--exclude", "--dry-run")
    assert done.exit_code == 0
    assert "Would exclude 4 samples (blue 4; ids 9-12).\nThen: blue 4, red 8." in done.stdout
    assert model.with_suffix(".db").read_bytes() == before


def test_excluded_samples_are_included_again(model: Path) -> None:
    """Without conditions, --include takes all that are excluded."""
    assert "Excluded 2 samples (red 2; ids 1-2)" in move(model, "--id", 1, "--id", 2, "--exclude").stdout
    assert asked(model, "--excluded", "--delete", "--dry-run")["ids"] == [1, 2]
    assert "Excluded red 2; kept, but not taught" in CliRunner().invoke(main, ["status", str(model)]).stdout
    assert asked(model, "--include")["samples"] == {"blue": 8, "red": 8}
    assert "No sample is selected" in move(model, "--include").stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--label", "red"], 2, "use exactly one of --to LABEL"),
        (["--to", "cup", "--delete", "--label", "red"], 2, "use exactly one of --to LABEL"),
        (["--label", "red", "--to-suggested"], 2, "--to-suggested needs --mislabeled"),
        (["--since", "yesterday", "--delete"], 2, "'yesterday' is no time"),
        (["--to", "cup"], 1, "nothing is selected"),
        (["--like", "99", "--delete"], 1, "no sample has the id 99"),
        (["--label", "red", "--to", "a\nb"], 1, "line breaks"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(model: Path, words: list[str], code: int, message: str) -> None:
    """Nothing changes then."""
    done = move(model, *words)
    assert (done.exit_code, message in done.output) == (code, True), done.output
    with Learner.open(model, threads=1) as learner:
        assert learner.store.counts() == {"blue": 8, "red": 8}


def test_samples_become_negatives_or_background(model: Path) -> None:
    """And are selected as such; the text names what they were and are."""
    done = move(model, "--burst-of", 1, "--not", "blue")
    assert "Relabeled 4 samples as not blue (red 4; ids 1-4).\nNow: blue 8, red 4, not blue 4." in done.stdout
    done = move(model, "--negatives-of", "blue", "--background", "--dry-run")
    assert (
        "Would relabel 4 samples as background (not blue 4; ids 1-4).\nThen: blue 8, red 4, background 4."
        in (done.stdout)
    )
    assert asked(model, "--negatives-of", "blue", "--background")["background"] == 4
    back = asked(model, "--only-background", "--to", "red")
    assert (back["moved"], back["meaning"], back["samples"]) == (
        {"background": 4},
        "red",
        {"blue": 8, "red": 8},
    )


def test_a_sample_is_moved_to_one_target_only(model: Path) -> None:
    """A denied label that was never taught is refused."""
    both = move(model, "--id", 1, "--to", "cup", "--background")
    assert (both.exit_code, "exactly one of" in both.output) == (2, True)
    unknown = move(model, "--id", 1, "--not", "cup")
    assert (unknown.exit_code, "nothing was taught as 'cup'" in unknown.output) == (1, True)
