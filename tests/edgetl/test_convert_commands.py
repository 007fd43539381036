"""The commands convert and inspect, as they are typed."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from device.model.modelfile import ModelFile
from edgetl.cli import main
from tests import tiny

pytest.importorskip("click")


def run(*arguments: object) -> Result:
    """Run edgetl in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained tiny model with its photos."""
    pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
    root = tmp_path_factory.mktemp("trained")
    model = tiny.trained_model(tiny.write_photos(root / "photos"))
    folder: Path = model.save(root / "model")
    return folder


def test_a_trained_folder_is_converted_and_reported(trained: Path, tmp_path: Path) -> None:
    """Figures for people on stdout."""
    done = run("convert", trained, "--out", tmp_path / "m.tflite")
    assert done.exit_code == 0, done.output
    for part in (
        "36 training photos, ",
        "Cosine",
        "Differences",
        "Held out",
        "3 of 32 labels",
        "edgetl teach",
    ):
        assert part in done.stdout
    assert ModelFile.open(tmp_path / "m.tflite").labels == ("blue", "green", "red")


def test_a_folder_that_may_not_be_written_is_told_before_the_work(trained: Path, forbidden: Path) -> None:
    """Exit code 1, the next step, nothing left there, and no minute spent on converting."""
    done = run("convert", trained, "--out", forbidden / "m.tflite")
    assert done.exit_code == 1
    assert "choose a folder you may write to" in done.stderr
    assert list(forbidden.iterdir()) == []


def test_the_report_as_json_has_every_figure(trained: Path, tmp_path: Path) -> None:
    """Also with the memory left out and photos of another folder."""
    done = run(
        "convert", trained, "--out", tmp_path / "m.tflite", "--quantize", "float16", "--no-memory",
        "--calibrate", trained.parent / "photos", "--capacity", 5, "--json",
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["memory"], report["capacity"], report["quantization"]) == ("none", 5, "float16")
    assert report["parity"]["cosine_mean"] > 0.999
    assert report["calibration"] == "36 of 36 photos"


def test_photos_that_moved_are_found_again(trained: Path, tmp_path: Path) -> None:
    """Without --photos the error names the option."""
    moved = tmp_path / "moved"
    (trained.parent / "photos").rename(moved)
    try:
        refused = run("convert", trained, "--out", tmp_path / "m.tflite")
        assert (refused.exit_code, "--photos" in refused.output) == (1, True)
        done = run("convert", trained, "--out", tmp_path / "m.tflite", "--photos", moved)
        assert done.exit_code == 0, done.output
    finally:
        moved.rename(trained.parent / "photos")


def test_the_edge_tpu_compiler_is_run_where_it_is_installed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the next step is told; with it, its output lies beside the twin."""
    monkeypatch.setenv("PATH", "")
    done = run("convert", trained, "--out", tmp_path / "m.tflite", "--edgetpu", "--no-memory")
    assert (done.exit_code, "edgetpu_compiler is not installed" in done.stderr) == (0, True)
    compiler = tmp_path / "bin" / "edgetpu_compiler"
    compiler.parent.mkdir()
    compiler.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        "twin = pathlib.Path(sys.argv[-1])\n"
        "twin.with_name(twin.stem + '_edgetpu.tflite').write_bytes(twin.read_bytes())\n"
    )
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(compiler.parent))
    arguments: list[Any] = ["convert", trained, "--out", tmp_path / "m.tflite", "--edgetpu", "--no-memory"]
    again = run(*arguments, "--force", "--json")
    assert json.loads(again.stdout)["compiled"] == str(tmp_path / "m.backbone_edgetpu.tflite")
    compiler.write_text(f"#!{sys.executable}\nraise SystemExit('ERROR: Attempting to use a delegate')\n")
    refused = run(*arguments, "--force")
    assert (refused.exit_code, "edgetpu_compiler refused" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("model", "message"),
    [("nowhere", "backbones are: efficientnet-lite0"), (".", "contains no training.json")],
)
def test_a_model_that_is_not_there_is_refused(
    model: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong folder and an unknown name, each with what was expected."""
    monkeypatch.chdir(tmp_path)
    refused = run("convert", model, "--out", tmp_path / "m.tflite")
    assert refused.exit_code == 1
    assert message in " ".join(refused.output.split())
    assert not list(tmp_path.iterdir())


def test_a_model_file_is_no_source(tmp_path: Path) -> None:
    """What is converted already cannot be converted again."""
    refused = run("convert", tiny.TINY, "--out", tmp_path / "m.tflite")
    assert refused.exit_code == 1
    assert "is a file; expected the folder" in refused.output


def test_a_calibration_folder_without_photos_is_refused(trained: Path, tmp_path: Path) -> None:
    """Before the conversion begins."""
    refused = run("convert", trained, "--out", tmp_path / "m.tflite", "--calibrate", tmp_path)
    assert refused.exit_code == 1
    assert "contains no photos to calibrate with" in refused.output


def test_inspect_shows_a_model_file() -> None:
    """For people, and as JSON."""
    shown = run("inspect", tiny.TINY_TAUGHT)
    assert shown.exit_code == 0
    for part in ("Can be taught", "blue, green, red", "36 samples of 3 labels", "learning_rate", "matches"):
        assert part in shown.stdout
    assert json.loads(run("inspect", tiny.TINY, "--json").stdout)["teachable"] is True


def test_inspect_of_a_damaged_file_fails_with_a_message(tmp_path: Path) -> None:
    """Exit code 1, one sentence, no traceback."""
    (tmp_path / "cut.tflite").write_bytes(tiny.TINY.read_bytes()[:5000])
    refused = run("inspect", tmp_path / "cut.tflite")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
