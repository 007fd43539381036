"""The public API: complete, documented, precisely typed, and equal to the command line."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import edgetl
from device.cameras.fake import draw
from edgetl.cli import main
from edgetl.evaluation.figures import tabulate
from tests import tiny

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = [name for name in edgetl.__all__ if not name.startswith("_")]
OURS = {"edgetl", "converters", "device"}
OPAQUE = {"Head"}  # docs/api.md names the attributes that are public
# keras.Model: Keras has no types and is not installed on a device
UNTYPED = {("TrainedModel", "backbone"), ("TrainedModel", "generator")}


def test_every_public_name_resolves() -> None:
    """`from edgetl import NAME` returns the object that the type checker sees."""
    tree = ast.parse(Path(edgetl.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(NAMES)
    for name, module in seen.items():
        assert getattr(edgetl, name) is getattr(importlib.import_module(module), name)


ON_A_DEVICE = """
import sys
from tests.run_block import BlockedPackages, missing_modules

sys.meta_path.insert(0, BlockedPackages(missing_modules({"device"})))
import edgetl

for name in edgetl.__all__:
    getattr(edgetl, name)
"""


def test_every_public_name_can_be_imported_on_a_device() -> None:
    """Only the packages of `edgetl[device]` are needed, also for the functions of the host."""
    done = subprocess.run(
        [sys.executable, "-c", ON_A_DEVICE], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_module_hides_a_public_name() -> None:
    """Importing `edgetl.evaluate` as a module would replace the function of that name."""
    assert {found.name for found in pkgutil.iter_modules(edgetl.__path__)}.isdisjoint(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str) -> None:
    """It has a docstring, and docs/api.md names it."""
    assert inspect.getdoc(getattr(edgetl, name))
    assert re.search(rf"\b{name}\b", PAGE), f"docs/api.md does not mention {name}"


def public_hints(name: str) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Yield what is annotated in a public name: where, the types by parameter, and all its parameters."""
    found = getattr(edgetl, name)
    if not inspect.isclass(found):
        yield name, hints(found), set(inspect.signature(found).parameters)
        return
    if found.__annotations__ if "__annotations__" in vars(found) else False:
        yield name, hints(found), set()
    for member in dir(found):
        value = inspect.getattr_static(found, member)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        value = value.fget if isinstance(value, property) else value
        value = value.func if isinstance(value, functools.cached_property) else value
        if inspect.isfunction(value) and value.__module__.partition(".")[0] in OURS and member[0] != "_":
            parameters = set(inspect.signature(value).parameters) - {"self", "cls"}
            yield f"{name}.{member}", hints(value), parameters | {"return"}


def hints(found: Any) -> dict[str, Any]:
    """Return resolved annotations; names that are imported for type checkers alone are public ones."""
    public = {name: getattr(edgetl, name) for name in NAMES}
    scope = {**vars(sys.modules[found.__module__]), **public}
    return typing.get_type_hints(found, globalns=scope)


def types_in(hint: Any) -> Iterator[Any]:
    """Yield the classes in a type hint."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return
    if not arguments:
        yield hint
    elif not isinstance(hint, types.UnionType):
        yield typing.get_origin(hint)
    for argument in arguments:
        yield from types_in(argument)


@pytest.mark.parametrize("name", sorted(set(NAMES) - OPAQUE))
def test_annotations_are_complete_and_use_public_types(name: str) -> None:
    """No parameter or attribute is Any or unannotated, and edgetl exports every one of its types used there."""
    public = [getattr(edgetl, known) for known in NAMES]
    for where, found, parameters in public_hints(name):
        assert parameters - {"self"} <= found.keys(), where
        for parameter, hint in found.items():
            assert hint is not Any or (where, parameter) in UNTYPED, (where, parameter)
            for part in types_in(hint):
                module = getattr(part, "__module__", "")
                assert module.partition(".")[0] not in OURS or part in public, (where, parameter, part)


SCRIPT = """
from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import edgetl
from edgetl import Camera, EdgetlError, Frame, Learner, Observation, Prediction, Sample, Status, open_camera


def teach(model: Path, image: npt.NDArray[np.uint8]) -> Sample:
    with Learner.open(model, head="exact", threads=2) as learner:
        sample = learner.learn_one(image, "mug")
        entry: edgetl.Entry = learner.forget(sample.id)
        undone: edgetl.Entry | None = learner.undo()
        status: Status = learner.status()
        accuracy: float | None = status.accuracy
        print(entry.seq, undone, accuracy)
        return sample


def look(learner: Learner) -> list[str]:
    camera: Camera
    with open_camera("fake", fps=2.0) as camera:
        frame: Frame = camera.read()
        prediction: Prediction = learner.predict_one(frame.image)
        return [prediction.label, *(label for label, score in prediction.scores.items() if score > 0.1)]


def train(photos: Path) -> float:
    try:
        outcome: edgetl.Outcome = edgetl.finetune(photos, "mugs", epochs=4, color=0.2)
        report: edgetl.ConversionReport = edgetl.convert(outcome.model, "mugs.tflite", quantize="float16")
        result: edgetl.Evaluation = edgetl.evaluate(report.path, photos)
    except EdgetlError as error:
        raise SystemExit(str(error)) from error
    return result.accuracy


def show(seen: Observation) -> str:
    return seen.label
"""


def test_a_script_outside_the_packages_passes_mypy_strict(tmp_path: Path) -> None:
    """It also reports mistakes in it, so the types are not Any."""
    pytest.importorskip("mypy", reason="no mypy: pip install mypy")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + "\n\nwrong: int = edgetl.evaluate(1, 'photos').accuracy\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(script)]
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY)}
    config = ["--config-file", str(REPOSITORY / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, *config], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [re.sub(r".*\[(.*)\]", r"\1", line) for line in errors] == ["assignment", "arg-type"], done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "of_the_command_alone"),
    [
        ("finetune", ["photos", "--out", "mugs"], {"as_json", "comparing"}),
        ("convert", ["mugs", "--out", "mugs.tflite"], {"as_json", "comparing"}),
        ("evaluate", ["mugs.tflite", "photos"], {"as_json", "report", "force"}),
        ("embed", ["mugs.tflite", "photos", "--out", "embedded"], {"as_json"}),
    ],
)
def test_a_function_has_the_options_of_its_command(
    name: str, arguments: list[str], of_the_command_alone: set[str]
) -> None:
    """Names and defaults are the same; only the function has `progress`, only the command writes files and JSON."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = command.make_context(name, arguments).params
    parameters = inspect.signature(getattr(edgetl, name)).parameters
    assert set(options) - of_the_command_alone == set(parameters) - {"progress"}
    defaults = {
        key: parameter.default
        for key, parameter in parameters.items()
        if parameter.default is not inspect.Parameter.empty and key != "progress"
    }
    assert {key: options[key] for key in defaults} == defaults


def instances(folder: Path) -> Iterator[Any]:
    """Return objects as a user gets them, with many samples and long labels."""
    long = ["a very long label " * 5 + str(number) for number in range(8)]
    model = folder / "base.tflite"
    model.write_bytes(tiny.TINY.read_bytes())
    with edgetl.Learner.open(model, thumbnails=True) as learner:
        images = [draw(scene, number) for number in range(40) for scene in ("red", "blue")]
        learner.learn_many(images, [long[number % 8] for number in range(80)])
        entry = learner.rename_label(long[0], "mug")
        yield from (learner, entry, *entry.changes[:2], learner.samples()[0], learner.head)
        yield from (learner.predict_one(images[0]), learner.status(), learner.status().report)
        yield from (learner.save_version("note " * 100, metrics={"a": list(range(100))}), learner.runtime)
        yield from (learner.export(folder / "personal.tflite"), learner.head.linear())
    taught = edgetl.ModelFile.open(tiny.TINY_TAUGHT)
    yield from (taught, taught.manifest, taught.manifest.preprocessing, taught.memory)
    yield from taught.manifest.members.values()
    yield edgetl.ModelFile.open(folder / "personal.tflite").memory
    with edgetl.open_camera("fake:red") as camera:
        yield from (camera, camera.read())
    yield tabulate(long * 20, list(reversed(long)) * 20)
    yield from (edgetl.HostChange(long[0], long[1], long[2][:20]), edgetl.SampleRun(1, 2, None, "mug"))
    yield edgetl.Classifier(folder / "c.tflite", tuple(long), 224, 224, "squash", 4_000_000)
    yield edgetl.LeftOut(folder / "a" / "photo.heic", edgetl.Reason.HEIC)
    yield edgetl.Mistake(folder / "a" / ("p" * 50 + ".jpg"), long[0], long[1], 0.123456789)
    yield edgetl.Observation(1, 1.7e9, "fake", True, edgetl.Prediction(long[0], 0.98765432, True, {}))
    yield edgetl.Reembedding(folder / "new.db", dict.fromkeys(long, 5), 3, 4, 0, {}, ("note " * 100,))
    way = edgetl.WayResult("frozen", tuple(long), tuple(long), 8.0)
    yield from (way, edgetl.WayResult("all", (), note="not trained"))
    yield edgetl.WayComparison(folder / ("out" * 50), "validation", {"validation": 8}, (way,))
    yield edgetl.LayerError(
        "block0_depthwise", ("block0_depthwise", "block0_project_conv"), 0.123456789, 0.1, 0.01
    )
    one = edgetl.FormatResult("int8", ("block0_depthwise",), 4_000_000, 0.987654321, 0.9, 5.123456789, 240)
    yield from (
        one,
        edgetl.QuantizationComparison("efficientnet-lite0", 240, "", "", (one,) * 6, (), 0, "", ""),
    )
    yield edgetl.HiddenSamples(np.zeros((99, 99), np.int16), tuple(long) * 9)
    guess = edgetl.Prediction(long[0], 0.98765432, True, {})
    yield edgetl.Doubt(1, 1.7e9, "fake", 3, guess, 0.123456789, 0.123456789, 1, bytes(999), np.zeros(999))
    yield edgetl.SampleFilter(ids=tuple(range(100)), label=long[0])
    yield edgetl.Correction("relabel", long[0], tuple(range(100)), {long[1]: 100}, {}, {long[0]: 100}, False)
    yield edgetl.ViewsComparison(240, 200, 0.8612345, 0.8712345, 0.01, 0.0123456789, 9.123456789, 12)
    yield edgetl.Embedded(
        folder / ("out" * 50), folder, (folder,) * 99, 9, dict.fromkeys(long, 5), 0, 0, "a" * 64, folder, None
    )
    yield edgetl.Parity(9, 0.99, 0.98, 0.01, 0.9, 0.9, 0.9, 0.9, "", 0.9, 0.8)


def test_a_repr_fits_a_line(tmp_path: Path) -> None:
    """It has at most 200 characters, without arrays and memory addresses."""
    found = list(instances(tmp_path))
    for one in found:
        assert len(repr(one)) <= 200, repr(one)
        assert "array(" not in repr(one)
        assert " at 0x" not in repr(one)
        assert "\n" not in repr(one)


def test_every_dataclass_of_the_api_is_tried_above() -> None:
    """A new result type needs an entry in `instances`, or in the test of the host's results."""
    classes = {name for name in NAMES if dataclasses.is_dataclass(getattr(edgetl, name))}
    source = inspect.getsource(sys.modules[__name__])
    made_elsewhere = {
        "Prediction",
        "Forecast",
        "LabelForecast",
        "ExpectedAccuracy",
        "MixedLabels",
        "SplitLabel",
        "Report",
        "Status",
        "Sample",
        "Version",
        "Entry",
        "Manifest",
        "Part",
        "Frame",
    }
    made_elsewhere |= {
        "Preprocessing",
        "Runtime",
        "Evaluation",
        "ModelFile",
        "Outcome",
        "ConversionReport",
        "Surgery",
    }
    assert {name for name in classes if f"edgetl.{name}(" not in source} <= made_elsewhere | {"TrainedModel"}


def test_a_prediction_is_shown_with_a_rounded_probability() -> None:
    """`print(learner.predict_one(image))` is the first thing a user sees."""
    prediction = edgetl.Prediction("mug", np.float64(0.987654321), True, {"mug": 0.987654321})
    assert repr(prediction) == "Prediction(label='mug', probability=0.9877, known=True)"


BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run_blocks(folder: Path, blocks: list[str]) -> str:
    """Run blocks of docs/api.md one after another, with tiny backbones, and return their output."""
    printed = ""
    for block in blocks:
        wanted = {
            "extras": None,
            "host": "finetune" in block or "convert" in block,
            "commands": [],
            "python": block,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.run_block"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, input=json.dumps(wanted),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        printed += done.stdout
    return printed


def is_for_the_host(block: str) -> bool:
    """Whether a block needs TensorFlow, or the output of a block that does."""
    return bool(re.search(r"\b(finetune|convert|evaluate)\b", block))


def test_the_examples_for_the_device_run_as_written(tmp_path: Path) -> None:
    """The blocks of docs/api.md run in order, in one folder with a model file."""
    for name in ("base.tflite", "better.tflite"):
        (tmp_path / name).write_bytes((tiny.TINY if name[1] == "a" else tiny.TINY_INFER).read_bytes())
    printed = run_blocks(tmp_path, [block for block in BLOCKS if not is_for_the_host(block)])
    for line in (
        "Prediction(label='blue'",
        "('blue', 'red')",
        "{'blue': 5, 'red': 5}",
        "('blue', 'green', 'red')",
    ):
        assert line in printed
    assert (tmp_path / "base.db").is_file()
    assert "there is no model file nowhere.tflite" in printed


def test_the_examples_for_the_host_run_as_written(tmp_path: Path) -> None:
    """The blocks train, convert and evaluate."""
    pytest.importorskip("tensorflow", reason="no TensorFlow: pip install 'edgetl[host]'")
    tiny.write_photos(tmp_path / "photos", count=8)
    tiny.write_photos(tmp_path / "new-photos", count=4, first=100)
    printed = run_blocks(tmp_path, [block for block in BLOCKS if is_for_the_host(block)])
    for start in (
        "<Outcome mugs: 3 labels",
        "<ConversionReport mugs.tflite: ",
        "<Parity on ",
        "<Evaluation ",
    ):
        line = next(line for line in printed.splitlines() if line.startswith(start))
        assert len(line) <= 400
