"""The commands convert and inspect, as a user types them."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from device.learner import Learner
from device.model.codes import encode
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from edgetl.cli import main
from tests import tiny

pytest.importorskip("click")


def run(*arguments: object) -> Result:
    """Run edgetl in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trained tiny model with its photos."""
    pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
    root = tmp_path_factory.mktemp("trained")
    model = tiny.trained_model(tiny.write_photos(root / "photos"))
    folder: Path = model.save(root / "model")
    return folder


def test_a_trained_folder_is_converted_and_reported(trained: Path, tmp_path: Path) -> None:
    """Stdout shows the figures as text."""
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


def test_a_read_only_folder_is_reported_before_the_conversion(trained: Path, forbidden: Path) -> None:
    """The exit code is 1, the next step is shown, and no file remains."""
    done = run("convert", trained, "--out", forbidden / "m.tflite")
    assert done.exit_code == 1
    assert "choose a folder you may write to" in done.stderr
    assert list(forbidden.iterdir()) == []


def test_the_json_report_has_every_figure(trained: Path, tmp_path: Path) -> None:
    """This includes conversions without memory and with photos of another folder."""
    done = run(
        "convert", trained, "--out", tmp_path / "m.tflite", "--quantize", "float16", "--no-memory",
        "--calibrate", trained.parent / "photos", "--capacity", 5, "--json",
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["memory"], report["capacity"], report["quantization"]) == ("none", 5, "float16")
    assert report["parity"]["cosine_mean"] > 0.999
    assert report["calibration"] == "36 of 36 photos"


def wide(label: str, seed: int) -> Any:
    """Return a photo twice as wide as high: the disc in the middle, other colors at the sides."""
    photo = tiny.photo(label, seed)
    sides = tiny.photo("white", seed)
    return np.concatenate([sides[:, :16], photo, sides[:, 16:]], axis=1)


def test_the_resize_option_decides_how_frames_are_fitted(tmp_path: Path) -> None:
    """The file records it; calibration, memory, teaching and predictions all use it."""
    pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
    photos = [(tmp_path / f"{label}{seed}.png", label) for label in tiny.COLORS for seed in range(6)]
    for path, label in photos:
        cv2.imwrite(str(path), cv2.cvtColor(wide(label, int(path.stem[-1])), cv2.COLOR_RGB2BGR))
    folder = tiny.trained_model(photos, Preprocessing(tiny.SIDE, tiny.SIDE, resize="crop")).save(
        tmp_path / "m"
    )
    codes = {}
    for resize in ("crop", "squash"):
        out = tmp_path / f"{resize}.tflite"
        assert run("convert", folder, "--out", out, "--resize", resize).exit_code == 0
        model = ModelFile.open(out)
        assert model.manifest.preprocessing.resize == resize
        assert isinstance(model.memory, Samples)
        with Learner.open(model, None) as learner:
            expected = encode(learner.embed_many([wide(label, int(path.stem[-1])) for path, label in photos]))
            fitted = Preprocessing(tiny.SIDE, tiny.SIDE, resize=resize).prepare(wide("red", 1))
            features = learner.embedder.signature("features")(image=fitted[np.newaxis])["embedding"][0]
            assert np.array_equal(features, learner.embed_one(wide("red", 1)))
        assert sorted(model.memory.codes.tolist()) == sorted(expected.tolist())
        codes[resize] = expected
    assert not np.array_equal(codes["crop"], codes["squash"])


def test_another_resize_is_cautioned_if_the_head_of_the_source_is_kept(tmp_path: Path) -> None:
    """Without the memory the head is not taught again on photos fitted in the new way."""
    pytest.importorskip("tensorflow", reason="conversion needs TensorFlow")
    photos = tiny.write_photos(tmp_path / "photos")
    chooser = np.random.default_rng(0)
    head = (chooser.normal(size=(32, 3)).astype(np.float32), np.zeros(3, np.float32))
    folder = replace(tiny.trained_model(photos), head=head).save(tmp_path / "model")
    done = run("convert", folder, "--no-memory", "--resize", "pad", "--out", tmp_path / "pad.tflite")
    assert "fitted to the input with squash, and the file uses pad" in " ".join(done.stderr.split())


def test_moved_photos_can_be_given_again(trained: Path, tmp_path: Path) -> None:
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


def test_the_edge_tpu_compiler_runs_if_it_is_installed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output is beside the Edge TPU file; without the compiler, the next step is shown."""
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
    [("nowhere", "'edgetl backbones' lists: efficientnet-lite0"), (".", "contains no training.json")],
)
def test_a_missing_model_is_refused(
    model: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error for a wrong folder or an unknown name shows what was expected."""
    monkeypatch.chdir(tmp_path)
    refused = run("convert", model, "--out", tmp_path / "m.tflite")
    assert refused.exit_code == 1
    assert message in " ".join(refused.output.split())
    assert not list(tmp_path.iterdir())


def test_a_model_file_cannot_be_converted(tmp_path: Path) -> None:
    """A converted model cannot be converted again."""
    refused = run("convert", tiny.TINY, "--out", tmp_path / "m.tflite")
    assert refused.exit_code == 1
    assert "is a model file of edgetl already; teach it with: edgetl teach" in refused.output


def test_a_calibration_folder_without_photos_is_refused(trained: Path, tmp_path: Path) -> None:
    """The error comes before the conversion."""
    refused = run("convert", trained, "--out", tmp_path / "m.tflite", "--calibrate", tmp_path)
    assert refused.exit_code == 1
    assert "contains no photos to calibrate with" in refused.output


def test_inspect_shows_a_model_file() -> None:
    """The result is shown as text and as JSON."""
    shown = run("inspect", tiny.TINY_TAUGHT)
    assert shown.exit_code == 0
    for part in ("Can be taught", "blue, green, red", "36 samples of 3 labels", "learning_rate", "matches"):
        assert part in shown.stdout
    assert json.loads(run("inspect", tiny.TINY, "--json").stdout)["teachable"] is True


def test_inspect_of_a_damaged_file_fails_with_a_message(tmp_path: Path) -> None:
    """The exit code is 1, with one sentence and no traceback."""
    (tmp_path / "cut.tflite").write_bytes(tiny.TINY.read_bytes()[:5000])
    refused = run("inspect", tmp_path / "cut.tflite")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")


def test_a_report_keeps_its_own_warnings_beside_the_photos_left_out(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder to calibrate with adds warnings and replaces none."""
    import edgetl

    monkeypatch.setattr("converters.conversion.cautions", lambda parity, quantization: ("a caution",))
    photos = tmp_path / "photos"
    shutil.copytree(trained.parent / "photos", photos)
    next(photos.rglob("*.png")).with_name("empty.png").touch()
    report = edgetl.convert(trained, tmp_path / "m.tflite", calibrate=photos)
    assert report.warnings[0] == "a caution"
    assert "zero bytes" in " ".join(report.warnings[1:])


def test_compare_shows_every_format_and_recommends_one(trained: Path) -> None:
    """Stdout is a table with the next command."""
    done = run("convert", trained, "--compare")
    assert done.exit_code == 0, done.output
    for part in (
        "int8",
        "int16x8",
        "float16",
        "dynamic",
        "none",
        "leave-one-out",
        "Recommended: --quantize",
        "--out",
    ):
        assert part in done.stdout


def test_compare_writes_json(trained: Path, tmp_path: Path) -> None:
    """It has a format per row; photos of a folder have the labels of its subfolders."""
    done = run("convert", trained, "--compare", "--calibrate", trained.parent / "photos", "--json")
    report = json.loads(done.stdout)
    found = {one["quantization"] for one in report["formats"]}
    assert found == {"int8", "int16x8", "float16", "dynamic", "none"}
    assert report["how"] == "leave-one-out"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "--out", "m.tflite"], "--out cannot be used with it"),
        (["--compare", "--quantize", "int8", "--force"], "--quantize and --force cannot be used with it"),
        ([], "Missing option '--out'"),
    ],
)
def test_options_that_do_not_fit_compare_are_refused(
    trained: Path, arguments: list[str], message: str
) -> None:
    """The exit code is that of a usage error."""
    done = run("convert", trained, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_tflite_has_no_formats_to_compare(tmp_path: Path) -> None:
    """It keeps the format that it has."""
    done = run("convert", tiny.TINY, "--compare")
    assert done.exit_code == 1
    assert "--compare cannot be used here" in done.stderr


def test_a_layer_that_does_not_exist_cannot_be_kept(trained: Path, tmp_path: Path) -> None:
    """The message suggests names."""
    done = run("convert", trained, "--keep-float", "conv2", "--out", tmp_path / "m.tflite")
    assert done.exit_code == 1
    assert "no layer is called 'conv2'" in done.stderr
    assert "conv2d" in done.stderr
