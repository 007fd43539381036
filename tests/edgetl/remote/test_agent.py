"""The steps on the device: one switch, nothing taught is lost, and a way back."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from device.cameras.fake import draw
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.model.trust import write_keys
from edgetl.remote.agent import MODULES, steps, switching
from edgetl.remote.agent.folder import Folder, StepError, same_backbone
from edgetl.signing import new_key, sign
from tests.tiny import TINY, TINY_GRAY, TINY_TAUGHT

from .conftest import (
    HERE,
    activate,
    by_hand,
    exported,
    programs_sha256,
    stage,
    stage_and_activate,
    taught,
    teach,
)

pytestmark = pytest.mark.usefixtures("quick")
MUGS = "mugs.tflite"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a deployment, which does not exist yet."""
    return tmp_path / "device folder"


def in_use(folder: Path, name: str = "mugs") -> str:
    """Return the sha256 of the model that a command would open."""
    return programs_sha256(folder / f"{name}.tflite")


def test_a_first_deployment_makes_the_model_available(folder: Path) -> None:
    """The state is made by the first lesson, in the folder of states."""
    result = stage_and_activate(folder, TINY_TAUGHT)
    assert result["reason"] == ""
    assert result["previous"] is None
    assert result["state"]["how"] == "new"
    assert in_use(folder, "tiny_taught") == programs_sha256(TINY_TAUGHT)
    teach(folder / "tiny_taught.tflite", "red")
    assert taught(folder, "tiny_taught") == {"red": 4}
    assert [path.suffix for path in (folder / "states").iterdir()] == [".db"]


def test_a_model_copied_by_hand_is_kept_to_return_to(folder: Path, tmp_path: Path) -> None:
    """The state stays where it is, because both models use it."""
    by_hand(folder)
    result = stage_and_activate(folder, exported(tmp_path))
    assert (result["reason"], result["state"]["how"]) == ("", "kept")
    assert in_use(folder) == programs_sha256(tmp_path / MUGS)
    assert taught(folder) == {"red": 4}
    assert not (folder / "mugs.db").is_symlink()
    back = steps.rollback(str(folder), HERE, "edgetl", 0.0)
    assert (back["reason"], back["aside"]) == ("", "")
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)
    assert taught(folder) == {"red": 4}
    with pytest.raises(StepError, match="there is no release before 0000-"):
        steps.rollback(str(folder), HERE, "edgetl", 0.0)


def test_lessons_during_a_deployment_are_kept(folder: Path, tmp_path: Path) -> None:
    """A program that has the state open goes on teaching it, before, during and after the switch."""
    model = by_hand(folder)
    with Learner.open(model, model.with_suffix(".db")) as learner:
        staged = stage(folder, exported(tmp_path))
        learner.learn_one(draw("blue", 1), "blue")
        assert activate(folder, staged)["reason"] == ""
        learner.learn_one(draw("blue", 2), "blue")
    teach(folder / MUGS, "blue", 3, 1)
    assert taught(folder) == {"blue": 3, "red": 4}


def test_another_backbone_gets_what_was_taught(folder: Path) -> None:
    """From the pictures, also what was taught after the release was made; the old state is kept."""
    model = by_hand(folder)
    staged = stage(folder, TINY_GRAY)
    teach(model, "blue")
    result = activate(folder, staged)
    assert (result["reason"], result["state"]["how"]) == ("", "embedded")
    for name in ("mugs", "tiny_gray"):  # an old name leads to the new model too
        assert in_use(folder, name) == programs_sha256(TINY_GRAY)
        assert taught(folder, name) == {"blue": 4, "red": 4}
    teach(folder / MUGS, "green")
    back = steps.rollback(str(folder), HERE, "edgetl", 0.0)
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)
    assert taught(folder) == {"blue": 4, "red": 4}
    with sqlite3.connect(back["aside"]) as newer:
        assert newer.execute("SELECT count(*) FROM samples").fetchone() == (12,)


def test_samples_that_the_new_model_contains_do_not_count_twice(folder: Path, tmp_path: Path) -> None:
    """An export of the device comes back; what was taught since stays, and the old model keeps its state."""
    model = by_hand(folder)
    with Learner.open(model, model.with_suffix(".db")) as learner:
        expected = learner.head.digest()
        new = learner.export(tmp_path / MUGS, force=True).path
    staged = stage(folder, new)
    assert staged["state"]["how"] == "reduced"
    teach(model, "blue", count=2)
    assert activate(folder, staged)["reason"] == ""
    assert taught(folder) == {"blue": 2}
    with Learner.open(folder / MUGS, folder / "mugs.db") as learner:
        learner.forget([sample.id for sample in learner.samples()])
        assert learner.head.digest() == expected
    steps.rollback(str(folder), HERE, "edgetl", 0.0)
    assert taught(folder) == {"blue": 2, "red": 4}


def test_a_state_without_pictures_is_kept_aside(folder: Path) -> None:
    """The new model starts without it, and the result has the reason."""
    model = folder / MUGS
    folder.mkdir()
    model.write_bytes(TINY_TAUGHT.read_bytes())
    with Learner.open(model, thumbnails=False) as learner:
        learner.learn_one(draw("red", 1), "red")
    result = stage_and_activate(folder, TINY)
    assert (result["reason"], result["state"]["how"]) == ("", "aside")
    assert "has no picture of its 1 samples" in result["state"]["note"]
    steps.rollback(str(folder), HERE, "edgetl", 0.0)
    assert taught(folder) == {"red": 1}


def test_a_state_in_use_is_not_moved(folder: Path) -> None:
    """Another backbone needs the path of a state that was made by hand; until the program ends, nothing changes."""
    model = by_hand(folder)
    with Learner.open(model, model.with_suffix(".db")) as learner:
        staged = stage(folder, TINY_GRAY)
        with pytest.raises(StepError, match=r"mugs\.db is in use; end the program"):
            activate(folder, staged)
        learner.learn_one(draw("blue", 1), "blue")
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)
    assert taught(folder) == {"blue": 1, "red": 4}
    assert stage_and_activate(folder, TINY_GRAY)["reason"] == ""
    assert taught(folder) == {"blue": 1, "red": 4}


def test_a_state_that_never_stops_changing_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployment ends, and the old model stays in use."""
    model = by_hand(folder)
    staged = stage(folder, TINY_GRAY)
    again = switching.take_over

    def disturbed(*arguments: Any) -> dict[str, Any]:
        found = again(*arguments)
        teach(model, "blue", count=1)
        return found

    teach(model, "blue", count=1)
    monkeypatch.setattr(switching, "take_over", disturbed)
    with pytest.raises(StepError, match="is being taught right now"):
        activate(folder, staged)
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)
    assert taught(folder) == {"blue": 1 + switching.ATTEMPTS, "red": 4}


def test_a_state_of_an_unknown_model_stops_the_deployment(folder: Path) -> None:
    """A state file without its model is used only if it belongs to the new one."""
    model = by_hand(folder)
    model.unlink()
    with pytest.raises(StepError, match="belongs to"):
        stage(folder, _named(TINY_GRAY, folder.parent))
    assert stage_and_activate(folder, _named(TINY_TAUGHT, folder.parent))["state"]["how"] == "kept"
    assert taught(folder) == {"red": 4}


def _named(model: Path, folder: Path) -> Path:
    path = folder / MUGS
    path.write_bytes(model.read_bytes())
    return path


def test_a_failed_test_returns_to_the_old_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason comes back; on a first deployment, no model is in use afterwards."""

    def failing(*_: Any) -> dict[str, Any]:
        raise StepError("the camera is on fire")

    monkeypatch.setattr(switching, "probe", failing)
    result = stage_and_activate(folder, TINY_TAUGHT)
    assert (result["reason"], result["release"]) == ("the camera is on fire", None)
    assert not (folder / "tiny_taught.tflite").exists()
    by_hand(folder)
    for new in (exported(tmp_path), TINY_GRAY):
        result = stage_and_activate(folder, new)
        assert result["reason"] == "the camera is on fire"
        assert in_use(folder) == programs_sha256(TINY_TAUGHT)
        assert taught(folder) == {"red": 4}


def test_a_damaged_model_never_gets_a_release(folder: Path) -> None:
    """`edgetl check` on the device refuses it."""
    by_hand(folder)
    broken = bytearray(TINY.read_bytes())
    broken[2000] ^= 1
    (folder.parent / "broken.tflite").write_bytes(broken)
    with pytest.raises(StepError, match=r"model: .*altered or damaged"):
        stage(folder, folder.parent / "broken.tflite")
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)


def test_a_device_with_a_pinned_key_gets_only_signed_models(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old model need not be signed, and keeps what it was taught; returning to it is refused then."""
    pytest.importorskip("cryptography", reason="no cryptography: pip install 'edgetl[sign]'")
    by_hand(folder)
    new = exported(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    key = new_key(tmp_path / "key")
    write_keys(tmp_path / "config" / "edgetl" / "trusted-keys", [key])
    with pytest.raises(StepError, match="signature: none, and this machine requires one"):
        stage(folder, new)
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)
    sign(new, tmp_path / "key")
    assert stage_and_activate(folder, new)["reason"] == ""
    assert taught(folder) == {"red": 4}
    assert "is not signed" in steps.rollback(str(folder), HERE, "edgetl", 0.0)["reason"]
    assert in_use(folder) == programs_sha256(new)


def test_two_deployments_do_not_mix(folder: Path, tmp_path: Path) -> None:
    """The second to switch starts again; a step waits for no other."""
    by_hand(folder)
    first, second = stage(folder, TINY), stage(folder, exported(tmp_path))
    assert activate(folder, first)["reason"] == ""
    with pytest.raises(StepError, match="another deployment changed"):
        activate(folder, second)
    with Folder(str(folder)).locked(), pytest.raises(StepError, match="another deployment is running"):
        stage(folder, TINY)


def test_old_releases_are_removed_and_states_are_not(folder: Path) -> None:
    """Three releases stay, to return to."""
    by_hand(folder)
    for model in (TINY, TINY_GRAY, TINY, TINY_GRAY, TINY):
        assert stage_and_activate(folder, model)["reason"] == ""
    assert sorted(path.name[:4] for path in (folder / "releases").iterdir()) == ["0003", "0004", "0005"]
    assert len(list((folder / "states").glob("*.db"))) == 6
    assert taught(folder) == {"red": 4}


def test_the_service_runs_the_new_model(folder: Path, tmp_path: Path, systemctl: Path) -> None:
    """It is restarted; for another backbone it is stopped first, so that it teaches no old state."""
    by_hand(folder)
    assert stage_and_activate(folder, exported(tmp_path))["reason"] == ""
    assert systemctl.read_text() == "restart edgetl.service\n"
    systemctl.write_text("")
    assert stage_and_activate(folder, TINY_GRAY)["reason"] == ""
    assert systemctl.read_text() == "stop edgetl.service\nrestart edgetl.service\n"


def test_a_service_that_does_not_stay_up_gets_the_old_model(
    folder: Path, tmp_path: Path, systemctl: Path
) -> None:
    """It is restarted with it."""
    by_hand(folder)
    state = systemctl.parent / "unit-state"
    program = systemctl.parent / "bin" / "systemctl"
    crashes = f'[ "$1" = restart ] && sed -i s/=running/=auto-restart/ {state}\n'
    program.write_text(program.read_text() + crashes)
    result = stage_and_activate(folder, exported(tmp_path))
    assert "edgetl.service does not stay up (auto-restart)" in result["reason"]
    assert systemctl.read_text() == "restart edgetl.service\nrestart edgetl.service\n"
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)


def test_a_stopped_service_stays_stopped(folder: Path, tmp_path: Path, systemctl: Path) -> None:
    """The user stopped it for a reason."""
    by_hand(folder)
    state = systemctl.parent / "unit-state"
    state.write_text(state.read_text().replace("=active", "=inactive"))
    assert stage_and_activate(folder, exported(tmp_path))["reason"] == ""
    assert systemctl.read_text() == ""


def test_a_new_service_is_installed_in_the_folder(
    folder: Path, systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are kept with the release. Its Python is that of the deployment, through the link that a later one changes."""
    installed: list[list[str]] = []
    monkeypatch.setattr(
        switching, "install_service", lambda _, *words: installed.append([*words[0], *words[2]])
    )
    words = ["run", "tiny_taught.tflite"]
    assert stage_and_activate(folder, TINY_TAUGHT, service=words)["reason"] == ""
    assert installed == [[*HERE, *words]]
    assert steps.survey(str(folder), "edgetl")["record"]["service"] == words
    (folder / "venvs" / "new" / "bin").mkdir(parents=True)
    (folder / "venvs" / "new" / "bin" / "python").symlink_to(sys.executable)
    (folder / "current" / "venv").symlink_to("../../venvs/new")
    assert stage_and_activate(folder, TINY, service=["run", "tiny.tflite"])["reason"] == ""
    assert installed[1] == [f"{folder}/venv/bin/python", "-m", "edgetl", "run", "tiny.tflite"]


def test_a_python_keeps_the_path_through_a_link(tmp_path: Path) -> None:
    """The unit of the service contains ``sys.executable``."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venvs" / "a"], check=True)
    (tmp_path / "venv").symlink_to("venvs/a")
    python = tmp_path / "venv" / "bin" / "python"
    command = [python, "-c", "import sys; print(sys.executable, sys.prefix != sys.base_prefix)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{python} True\n"


def test_a_release_keeps_the_virtual_environment(folder: Path) -> None:
    """A deployment without --install uses the one of the release before, and returning does too."""
    assert stage_and_activate(folder, TINY_TAUGHT)["reason"] == ""
    home = folder / "venvs" / "0.2.0-abc"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "bin" / "python").chmod(0o755)
    digest = programs_sha256(TINY)
    ready = steps.prepare(str(folder), [digest])
    (Path(ready["incoming"]) / digest).write_bytes(TINY.read_bytes())
    staged = steps.stage(str(folder), "mugs", digest, HERE, "0.2.0-abc")
    assert (
        activate(folder, staged | {"expected": steps.survey(str(folder), "edgetl")["release"]})["reason"]
        == ""
    )
    words = [f"{folder}/venv/bin/python", "-m", "edgetl"]
    assert Folder(str(folder)).lasting(words)[0] == str(home / "bin" / "python")
    assert stage_and_activate(folder, TINY_GRAY)["reason"] == ""
    assert (folder / "venv").resolve() == home


def test_what_was_copied_before_is_not_copied_again(folder: Path) -> None:
    """After a lost connection, or for a model that is there already."""
    stage(folder, TINY)
    digest = programs_sha256(TINY)
    assert steps.prepare(str(folder), [digest, "0" * 64])["present"] == [digest]


def test_old_parts_are_removed(folder: Path) -> None:
    """What a lost connection left a day ago is not needed any more."""
    incoming = Path(steps.prepare(str(folder), [])["incoming"])
    for name, age in (("old.part", 2e5), ("new.part", 0.0)):
        (incoming / name).touch()
        seconds = (incoming / name).stat().st_mtime - age
        os.utime(incoming / name, (seconds, seconds))
    steps.prepare(str(folder), [])
    assert [path.name for path in incoming.iterdir()] == ["new.part"]


def test_a_snapshot_is_removed_only_in_its_folder(folder: Path, tmp_path: Path) -> None:
    """The path comes from the host."""
    steps.prepare(str(folder), [])
    (tmp_path / "pull-1.db").touch()
    steps.discard(str(folder), str(tmp_path / "pull-1.db"))
    assert (tmp_path / "pull-1.db").exists()
    (folder / "incoming" / "pull-1.db").touch()
    steps.discard(str(folder), f"{folder}/incoming/pull-1.db")
    assert not (folder / "incoming" / "pull-1.db").exists()


def test_the_modules_import_the_standard_library_alone() -> None:
    """They run where edgetl is not installed: without site-packages, and outside of the repository."""
    program = "import sys, importlib; sys.path.insert(0, sys.argv[1])\n" + "".join(
        f"importlib.import_module('agent.{name}')\n" for name in MODULES
    )
    folder = Path(steps.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_records_are_json(folder: Path) -> None:
    """Other programs may read them."""
    stage_and_activate(folder, TINY_TAUGHT)
    record = json.loads((folder / "current" / "release.json").read_text())
    assert record["verified"] is True
    assert record["sha256"] == programs_sha256(TINY_TAUGHT)


def test_the_device_and_edgetl_agree_on_the_same_backbone(tmp_path: Path) -> None:
    """An export has the backbone of its model, and so have files of earlier versions; other models have not."""
    models = [TINY, TINY_GRAY, TINY_TAUGHT, exported(tmp_path)]
    for one in models:
        for other in models:
            theirs = ModelFile.open(one).backbone_digest() == ModelFile.open(other).backbone_digest()
            assert same_backbone(one, other) == theirs
    assert same_backbone(TINY_TAUGHT, tmp_path / MUGS)
    assert not same_backbone(TINY, TINY_TAUGHT)
    assert not same_backbone(Path(__file__), Path(__file__))
