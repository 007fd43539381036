"""The classifier for other programs: one graph from the image to the probabilities of the labels."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.errors import HeadError, StorageError
from device.heads import Linear
from device.learner import Learner
from device.learner.classifier import Classifier, build_classifier, write_classifier
from device.model.codes import MAPS
from device.model.flatbuffer import Table, root
from device.model.graph import read_graphs
from device.model.modelfile import ModelFile, write_model_file
from device.model.runtime import open_interpreter
from tests import tiny

LABELS = ("blue", "green", "red")
HEADS = ("exact", "lda", "ncm", "softmax")
CLOSE = 5e-4  # float32 against float64, and a rounding at a tie


def images(side: int = tiny.SIDE) -> list[NDArray[np.uint8]]:
    """Return photos of every color that were not taught."""
    return [tiny.photo(label, seed, side) for label in LABELS for seed in range(50, 54)]


def run_bare(path: Path, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a file as the examples of LiteRT do: first input, first output, no signature."""
    interpreter = open_interpreter(path)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    found: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return found


def exported(model: Path, path: Path, head: str = "exact") -> Classifier:
    """Export the classifier of a model file that was taught on the host."""
    with Learner.open(model, None, head=head) as learner:
        return learner.export_classifier(path)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "model", [tiny.TINY_TAUGHT, tiny.TINY_GRAY, tiny.TINY_VERSION_1], ids=lambda path: path.stem
)
def test_a_bare_interpreter_computes_the_probabilities_of_the_learner(
    model: Path, head: str, tmp_path: Path
) -> None:
    """This holds for every linear head, for gray backbones, and for files of version 1."""
    with Learner.open(model, None, head=head) as learner:
        made = learner.export_classifier(tmp_path / "c.tflite")
        for image in images():
            expected = learner.predict_embedding(learner.embed_one(image), all_scores=True)
            found = run_bare(made.path, image)
            assert np.allclose(found, [expected.scores[label] for label in made.labels], atol=CLOSE)
            assert made.labels[int(found.argmax())] == expected.label


def test_what_was_taught_on_the_device_is_exported(tmp_path: Path) -> None:
    """The classifier has the labels of the device and recognizes them."""
    with Learner.open(tiny.TINY_TAUGHT, None) as learner:
        learner.learn_many([tiny.photo("white", seed) for seed in range(8)], ["white"] * 8)
        learner.rename_label("red", "crimson")
        made = learner.export_classifier(tmp_path / "c.tflite")
    assert made.labels == ("blue", "crimson", "green", "white")
    assert made.labels[int(run_bare(made.path, tiny.photo("white", 60)).argmax())] == "white"


def test_one_static_input_and_one_output_describe_the_task(tmp_path: Path) -> None:
    """MediaPipe wants one graph, ML Kit a fixed batch, and both an output with one number per label."""
    made = exported(tiny.TINY_TAUGHT, tmp_path / "c.tflite")
    interpreter = open_interpreter(made.path)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["dtype"], source["shape"].tolist()) == (np.uint8, [1, 32, 32, 3])
    assert source["shape_signature"].tolist() == [1, 32, 32, 3]
    assert (target["dtype"], target["shape"].tolist()) == (np.float32, [1, 3])
    assert interpreter.get_signature_list() == {"infer": {"inputs": ["x"], "outputs": ["output"]}}
    by_name = interpreter.get_signature_runner("infer")(x=images()[0][np.newaxis])["output"][0]
    assert np.array_equal(by_name, run_bare(made.path, images()[0]))
    assert len(read_graphs(made.path.read_bytes()).graphs) == 1


def test_the_file_contains_nothing_of_the_training(tmp_path: Path) -> None:
    """Variables, gradients and the memory stay behind: a third of the tiny file remains."""
    made = exported(tiny.TINY_TAUGHT, tmp_path / "c.tflite")
    graph = read_graphs(made.path.read_bytes()).graphs[0]
    assert not any(tensor.variable for tensor in graph.tensors)
    assert not any(operator.calls for operator in graph.operators)
    assert (made.bytes, made.path.stat().st_size * 2 < tiny.TINY_TAUGHT.stat().st_size) == (
        made.path.stat().st_size,
        True,
    )


def metadata_of(path: Path) -> Table:
    """Return the root of the TFLite metadata in a file."""
    data = path.read_bytes()
    model = root(data)
    (entry,) = [entry for entry in model.tables(6) if entry.text(0) == "TFLITE_METADATA"]
    start, length = model.tables(4)[entry.number(1, "<I")].vector(0, 1)
    content = data[start : start + length]
    assert content[4:8] == b"M001"
    return root(content)


@pytest.mark.parametrize(
    ("model", "mean", "std"), [(tiny.TINY_TAUGHT, 127.0, 128.0), (tiny.TINY_GRAY, 0.0, 1.0)]
)
def test_the_metadata_names_labels_and_normalization(
    model: Path, mean: float, std: float, tmp_path: Path
) -> None:
    """With them a program that quantizes ``(pixel - mean) / std`` itself passes the pixel unchanged."""
    made = exported(model, tmp_path / "c.tflite")
    graph = metadata_of(made.path).tables(3)[0]
    (image,), (probability,) = graph.tables(2), graph.tables(3)
    unit = image.tables(4)[0]
    options = unit.table(1)
    assert options is not None
    assert (unit.number(0, "<B"), options.array(0, "<f4").tolist(), options.array(1, "<f4").tolist()) == (
        1,
        [mean],
        [std],
    )
    scale, zero = open_interpreter(made.path).get_input_details()[0]["quantization"]
    pixels = np.arange(256)
    assert np.array_equal(np.rint((pixels - mean) / std / (scale or 1) + zero), pixels)
    labels = probability.tables(6)[0]
    assert (labels.text(0), labels.number(2, "<b")) == ("labels.txt", 2)
    with zipfile.ZipFile(made.path) as archive:
        assert archive.read("labels.txt").decode().split("\n") == list(LABELS)
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_unusual_labels_are_kept(tmp_path: Path) -> None:
    """A label may have spaces and any letters; the file has one label per line."""
    labels = ("Ü 1", "a b", "猫")
    linear = Linear(np.eye(32, 3), np.zeros(3))
    made = write_classifier(ModelFile.open(tiny.TINY), linear, labels, tmp_path / "c.tflite")
    with zipfile.ZipFile(made.path) as archive:
        assert tuple(archive.read("labels.txt").decode().split("\n")) == labels


def test_one_label_always_has_probability_one(tmp_path: Path) -> None:
    """There is nothing to compare it with."""
    with Learner.open(tiny.TINY, None) as learner:
        learner.learn_many(images()[:4], ["blue"] * 4)
        made = learner.export_classifier(tmp_path / "c.tflite")
    assert run_bare(made.path, images()[-1]).tolist() == [1.0]


@pytest.mark.parametrize("name", MAPS)
def test_every_embedding_map_is_part_of_the_graph(name: str, tmp_path: Path) -> None:
    """The verification of the new file compares it with NumPy; a black image must not give NaN."""
    model = ModelFile.open(tiny.TINY)
    other = write_model_file(
        tmp_path / "m.tflite", model.model_part(), replace(model.manifest, embedding_map=name)
    )
    linear = Linear(np.random.default_rng(0).normal(size=(32, 4)), np.arange(4.0))
    made = write_classifier(other, linear, ("a", "b", "c", "d"), tmp_path / "c.tflite")
    assert np.isfinite(run_bare(made.path, np.zeros((32, 32, 3), np.uint8))).all()


def test_a_gray_backbone_sees_the_gray_of_the_learner(tmp_path: Path) -> None:
    """The luma in the graph equals that of the preprocessing for every color."""
    colors = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    colors[0, :16], colors[0, 16:] = 255, (255, 0, 0)
    made = exported(tiny.TINY_GRAY, tmp_path / "c.tflite")
    with Learner.open(tiny.TINY_GRAY, None) as learner:
        for image in colors:
            gray = learner.model.manifest.preprocessing.prepare(image)
            again = np.repeat(gray, 3, axis=2)  # the luma of gray is the same gray
            assert np.array_equal(run_bare(made.path, image), run_bare(made.path, again))


def test_knn_is_refused_with_the_heads_that_can_be_exported(tmp_path: Path) -> None:
    """It has no weights, and nothing is written."""
    with (
        Learner.open(tiny.TINY_TAUGHT, None, head="knn") as learner,
        pytest.raises(HeadError, match="--head exact"),
    ):
        learner.export_classifier(tmp_path / "c.tflite")
    assert list(tmp_path.iterdir()) == []


def test_an_untaught_model_is_refused(tmp_path: Path) -> None:
    """The message names the next step."""
    with Learner.open(tiny.TINY, None) as learner, pytest.raises(HeadError, match="edgetl teach"):
        learner.export_classifier(tmp_path / "c.tflite")


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    """As with every command that writes."""
    path = tmp_path / "c.tflite"
    path.write_bytes(b"precious")
    with Learner.open(tiny.TINY_TAUGHT, None) as learner:
        with pytest.raises(StorageError, match="--force"):
            learner.export_classifier(path)
        assert path.read_bytes() == b"precious"
        learner.export_classifier(path, force=True)
    assert run_bare(path, images()[0]).shape == (3,)


def test_weights_beyond_float32_are_refused(tmp_path: Path) -> None:
    """A file that answers NaN must not be written."""
    with pytest.raises(HeadError, match="too large for float32"):
        build_classifier(ModelFile.open(tiny.TINY), Linear(np.full((32, 2), 1e60), np.zeros(2)))


def test_a_repr_and_a_dict_describe_the_file(tmp_path: Path) -> None:
    """Programs read the dict as JSON."""
    made = exported(tiny.TINY_TAUGHT, tmp_path / "c.tflite")
    assert re.fullmatch(r"<Classifier c.tflite: 3 labels, \d+\.\d MB>", repr(made))
    found: dict[str, Any] = made.to_dict()
    assert found["input"] == {"height": 32, "width": 32, "channels": 3, "dtype": "uint8"}
    assert (found["resize"], found["labels"], found["bytes"]) == ("squash", list(LABELS), made.bytes)
    assert cv2.resize(images(64)[0], (found["input"]["width"], found["input"]["height"])).shape == (32, 32, 3)


EXAMPLE = re.compile(r"^<!-- plain -->\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_example_for_a_plain_interpreter_in_the_docs_runs_as_written(tmp_path: Path) -> None:
    """It needs a runtime, NumPy and OpenCV, and nothing of edgetl."""
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.cvtColor(tiny.photo("green", 60), cv2.COLOR_RGB2BGR))
    exported(tiny.TINY_TAUGHT, tmp_path / "classifier.tflite")
    page = Path(__file__).resolve().parents[3] / "docs" / "export.md"
    example = EXAMPLE.search(page.read_text(encoding="utf-8"))
    assert example
    program = f"{example[1]}\nimport sys\nassert not {{'device', 'edgetl'}} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[0] == "green"
