"""``edgetl doubts`` and ``edgetl run --doubts``, as they are typed."""

from __future__ import annotations

import json
import shutil
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
    """A model that was taught red and blue."""
    path = Path(shutil.copy(tiny.TINY, tmp_path / "mugs.tflite"))
    with Learner.open(path, threads=1) as learner:
        for label in ("red", "blue"):
            learner.learn_many([draw(label, number) for number in range(5)], [label] * 5)
    return path


@pytest.fixture
def queued(model: Path) -> Path:
    """The same model after it saw something yellow, which it does not know."""
    done = run("run", model, "--camera", "fake:yellow*3", "--frames", 3, "--doubts")
    assert done.exit_code == 0, done.output
    return model


def run(*words: object) -> Result:
    """Run a command."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert "This is a bug" not in done.output
    return done


def asked(*words: object) -> Any:
    """Run a command with --json; it must succeed."""
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_run_collects_uncertain_frames_only_where_it_is_asked_to(model: Path) -> None:
    """The state file is not changed, and there is no other file without the option."""
    before = model.with_suffix(".db").read_bytes()
    assert run("run", model, "--camera", "fake:yellow", "--frames", 2).exit_code == 0
    assert not Path(f"{model.with_suffix('.db')}.doubts").exists()
    assert run("run", model, "--camera", "fake:yellow", "--frames", 2, "--doubts").exit_code == 0
    assert len(asked("doubts", model)["doubts"]) == 1
    assert model.with_suffix(".db").read_bytes() == before


def test_frames_are_listed_with_their_pictures(queued: Path, tmp_path: Path) -> None:
    """The text names the guess, and the pictures are JPEG files named by the ids."""
    folder = tmp_path / "new" / "pictures"
    (doubt,) = asked("doubts", queued, "--pictures", folder)["doubts"]
    assert (folder / f"{doubt['id']}.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert "unlike anything taught" in run("doubts", queued).stdout
    assert "--teach ID=LABEL" in run("doubts", queued, "--limit", 1).stdout


def test_a_frame_is_taught_and_undone(queued: Path) -> None:
    """It leaves the list, and the label is predicted at once."""
    (doubt,) = asked("doubts", queued)["doubts"]
    done = asked("doubts", queued, "--teach", f"{doubt['id']}=lemon")
    assert done["taught"] == [{"doubt": doubt["id"], "id": 11, "label": "lemon", "not_label": None}]
    assert (done["samples"], done["doubts"]) == ({"blue": 5, "lemon": 1, "red": 5}, [])
    assert "No frame waits for a label" in run("doubts", queued).stdout
    assert run("forget", queued, "--undo").exit_code == 0
    with Learner.open(queued, threads=1) as learner:
        assert learner.labels == ("blue", "red")


@pytest.mark.parametrize(
    ("words", "not_label", "left"),
    [
        (("--not", "{}=red"), "red", {"negatives": {"red": 1}, "background": 0}),
        (("--background", "{}"), None, {"negatives": {}, "background": 1}),
    ],
)
def test_a_frame_is_taught_as_what_it_is_not(
    queued: Path, words: tuple[str, str], not_label: str | None, left: dict[str, Any]
) -> None:
    """It leaves the list, and the number of labeled samples stays."""
    (doubt,) = asked("doubts", queued)["doubts"]
    done = asked("doubts", queued, words[0], words[1].format(doubt["id"]), "--group")
    assert done["taught"] == [{"doubt": doubt["id"], "id": 11, "label": None, "not_label": not_label}]
    assert {name: done[name] for name in left} == left
    assert (done["samples"], done["doubts"]) == ({"blue": 5, "red": 5}, [])
    with Learner.open(queued, threads=1) as learner:
        seen = learner.predict_one(draw("yellow", 0))
    assert not (seen.known and not_label in (None, seen.label))


def test_a_frame_is_dropped(queued: Path) -> None:
    """Nothing is taught."""
    (doubt,) = asked("doubts", queued)["doubts"]
    done = run("doubts", queued, "--drop", doubt["id"], "--group")
    assert done.stdout.startswith("Dropped 1 frame (1). Samples: blue 5, red 5. Still waiting: 0 frames.")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--teach", "mug"], 2, "must be ID=LABEL"),
        (["--teach", "x=mug"], 2, "must be ID=LABEL"),
        (["--teach", "1="], 2, "must be ID=LABEL"),
        (["--teach", "1=a", "--teach", "1=b"], 2, "has two answers"),
        (["--teach", "1=a", "--drop", "1"], 2, "both taught and dropped"),
        (["--teach", "99=a"], 1, "frame 99 is no longer in the queue"),
        (["--teach", "1=a", "--drop", "99"], 1, "frame 99 is no longer in the queue"),
        (["--teach", "1=a", "--background", "1"], 2, "frame 1 has two answers, 'a' and 'background'"),
        (["--background", "1", "--drop", "1"], 2, "both taught and dropped"),
        (["--not", "1"], 2, "must be ID=LABEL"),
        (["--not", "1=cup"], 1, "nothing was taught as 'cup'"),
        (["--group"], 2, "--group needs --teach, --not, --background or --drop"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(queued: Path, words: list[str], code: int, message: str) -> None:
    """Nothing changes then."""
    done = run("doubts", queued, *words)
    assert (done.exit_code, message in done.output) == (code, True), done.output
    assert len(asked("doubts", queued)["doubts"]) == 1


def test_without_a_state_file_the_list_is_empty(tmp_path: Path) -> None:
    """And no file is made."""
    path = Path(shutil.copy(tiny.TINY, tmp_path / "new.tflite"))
    assert asked("doubts", path)["doubts"] == []
    assert [one.name for one in tmp_path.iterdir()] == ["new.tflite"]
