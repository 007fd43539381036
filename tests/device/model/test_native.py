"""The samples of docs/native.md: Python with only an interpreter, and C++ with the library of tflite-runtime."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.learner import Learner
from device.model.runtime import open_interpreter
from tests import tiny

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "native.md"
ENTRY = 'extern "C" int label_main(int, char**);\n'
LABELS = ("blue", "red")


def block(kind: str) -> str:
    """Return a sample of the page."""
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"the sample in {kind} is gone from {PAGE}"
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model file that knows two labels."""
    folder = tmp_path_factory.mktemp("native")
    with Learner.open(tiny.TINY, state=None) as learner:
        for label in LABELS:
            learner.learn_many([tiny.photo(label, seed) for seed in range(10)], [label] * 10)
        learner.export(folder / "mugs.tflite")
    return folder


def test_the_python_sample_predicts_as_the_model_file_does(folder: Path) -> None:
    """With a photo that is not square, so that the crop matters; edgetl is not imported."""
    image = np.concatenate([tiny.photo("red", 50, 64), tiny.photo("white", 1, 64)], axis=1)
    cv2.imwrite(str(folder / "photo.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    program = block("python") + "import sys\nprint({'edgetl', 'device'} & set(sys.modules))\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [label, probability], imported = done.stdout.splitlines()[0].split(), done.stdout.splitlines()[1]
    assert (label in LABELS, imported) == (True, "set()")
    read = cv2.cvtColor(cv2.imread(str(folder / "photo.jpg")), cv2.COLOR_BGR2RGB)
    with Learner.open(folder / "mugs.tflite", state=None) as learner:
        mine = probabilities(folder, learner.embed_one(read))
    assert label == LABELS[int(mine.argmax())]
    # edgetl averages whole pixels where it shrinks
    assert float(probability) == pytest.approx(float(mine.max()), abs=0.05)


def probabilities(folder: Path, embedding: np.ndarray) -> np.ndarray:
    """Return what the signature `classify` of the model file answers."""
    classify = open_interpreter(folder / "mugs.tflite", threads=1).get_signature_runner("classify")
    return np.asarray(classify(embedding=embedding[np.newaxis])["probabilities"][0])


@pytest.fixture(scope="module")
def label_main(folder: Path) -> ctypes.CDLL:
    """Return the C++ sample as a library of this process, which has the symbols of Python that tflite-runtime needs."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: sudo apt-get install g++")
    if importlib.util.find_spec("tflite_runtime") is None:
        pytest.skip("no tflite-runtime: make test-tflite-runtime")
    from tflite_runtime import _pywrap_tensorflow_interpreter_wrapper as runtime

    (folder / "label.cpp").write_text(ENTRY + block("cpp"), encoding="utf-8")
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Dmain=label_main"]
    library = [
        runtime.__file__,
        f"-Wl,-rpath,{Path(runtime.__file__).parent}",
        "-Wl,--unresolved-symbols=ignore-all",
    ]
    command = [
        compiler,
        *options,
        "-I",
        str(TESTS / "data" / "tflite_api"),
        "label.cpp",
        "-o",
        "label.so",
        *library,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "label.so"))


def call(library: ctypes.CDLL, folder: Path, capfd: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Run `main` of the sample in `folder` and return the words that it prints."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        arguments = [word.encode() for word in ("label", "mugs.tflite", "weights.bin", *words)]
        code = library.label_main(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None))
    finally:
        os.chdir(before)
    ctypes.CDLL(None).fflush(None)
    assert code == 0
    return capfd.readouterr().out.split()


def test_the_cpp_sample_predicts_trains_and_stores(
    label_main: ctypes.CDLL, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The probabilities are those of Python, and a new label in a free column is recognized by the next process."""
    for label in (*LABELS, "yellow"):
        tiny.photo(label, 99).tofile(folder / f"{label}.rgb")
    with Learner.open(folder / "mugs.tflite", state=None) as learner:
        for column, label in enumerate(LABELS):
            mine = probabilities(folder, learner.embed_one(tiny.photo(label, 99)))
            best, probability = call(label_main, folder, capfd, f"{label}.rgb")
            assert int(best) == column
            assert float(probability) == pytest.approx(float(mine.max()), abs=1e-3)
    taught = [
        word for column, label in enumerate((*LABELS, "yellow")) for word in (f"{label}.rgb", str(column))
    ]
    [loss] = call(label_main, folder, capfd, *taught)
    assert float(loss) < 1.0
    assert [call(label_main, folder, capfd, f"{label}.rgb")[0] for label in (*LABELS, "yellow")] == [
        "0",
        "1",
        "2",
    ]
