"""`edgetl embed` and `edgetl import embeddings`: text, JSON, and what a user does wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner, Result

from device.learner import Learner
from edgetl.cli import main
from tests import tiny


def edgetl(*words: object) -> Result:
    """Run a command and return its result."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file, photos and an empty file among them."""
    folder = tmp_path_factory.mktemp("command")
    shutil.copy(tiny.TINY, folder / "mugs.tflite")
    tiny.write_photos(folder / "photos", 3)
    (folder / "photos" / "red" / "nothing.jpg").touch()
    return folder


@pytest.fixture(scope="module")
def embedded(folder: Path) -> Result:
    """The first run of the command."""
    return edgetl("embed", folder / "mugs.tflite", folder / "photos", "--out", folder / "out", "--workers", 1)


def test_the_command_names_what_it_wrote_and_left_out(folder: Path, embedded: Result) -> None:
    """Results go to stdout, warnings and progress to stderr."""
    assert embedded.exit_code == 0, embedded.output
    assert embedded.stdout.splitlines()[0] == f"Embedded 9 photos in {folder / 'out'}: 1 shard."
    assert "blue 3, green 3, red 3" in " ".join(embedded.stdout.split())
    assert "red/nothing.jpg" in embedded.stderr


def test_json_has_the_result_of_a_run_that_is_repeated(folder: Path, embedded: Result) -> None:
    """Nothing is embedded twice."""
    done = edgetl("embed", folder / "mugs.tflite", folder / "photos", "--out", folder / "out", "--json")
    result = json.loads(done.stdout)
    assert (result["photos"], result["resumed"], result["known"]) == (9, 9, 0)
    assert result["labels"] == dict.fromkeys(tiny.COLORS, 3)
    assert result["left_out"] == [{"path": "red/nothing.jpg", "label": "red", "reason": "empty-file"}]
    assert Path(result["model"]).is_file()


def test_other_photos_need_another_folder(folder: Path, embedded: Result) -> None:
    """The message names the option that overwrites."""
    done = edgetl("embed", folder / "mugs.tflite", folder / "photos" / "red", "--out", folder / "out")
    assert done.exit_code == 1
    assert "--force" in done.stderr


def test_embeddings_are_imported(folder: Path, embedded: Result) -> None:
    """The state file has a sample per photo, and a version to return to."""
    first = edgetl("import", "embeddings", folder / "mugs.tflite", folder / "out")
    assert first.exit_code == 0, first.output
    assert "Taught blue 3, green 3, red 3" in first.stdout
    again = json.loads(
        edgetl("import", "embeddings", folder / "mugs.tflite", folder / "out", "--json").stdout
    )
    assert (again["taught"], again["known_already"], again["samples"]) == (
        {},
        9,
        dict.fromkeys(tiny.COLORS, 3),
    )
    with Learner.open(folder / "mugs.tflite") as learner:
        assert learner.predict_one(tiny.photo("blue", 900)).label == "blue"


def test_a_folder_of_photos_is_not_imported_as_embeddings(folder: Path) -> None:
    """The message names the command to run first."""
    done = edgetl("import", "embeddings", folder / "mugs.tflite", folder / "photos")
    assert done.exit_code == 1
    assert "expected a folder with embed.json" in done.stderr
