"""The recipe of docs/model-file.md, run unchanged: a program with only a runtime and NumPy teaches the head."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

PAGE = Path(__file__).resolve().parents[3] / "docs" / "model-file.md"
RECIPE = re.compile(r"^<!-- recipe -->\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = """
import sys

file, photos, taught, epochs, weights = sys.argv[1:]
EPOCHS = int(epochs or EPOCHS)
with np.load(photos) as given:
    images, columns, asked = given["images"], given["columns"], given["asked"]
interpreter = Interpreter(file)
embeddings = embed(interpreter, asked)
before = classify(interpreter, embeddings)
if taught == "yes":
    train(interpreter, embed(interpreter, images), columns)
    save(interpreter, weights)
else:
    load(interpreter, weights)
after = classify(interpreter, embeddings)
ours = sorted({name.split(".")[0] for name in sys.modules} & {"device", "edgetl", "converters", "tensorflow"})
np.savez(photos, before=before, after=after, ours=ours)
"""


def run(folder: Path, model: Path, labels: list[str], *, taught: bool = True, epochs: str = "200") -> Any:
    """Run the recipe in a process of its own; columns follow `labels`, 40 photos each.

    The tiny backbone is random, so the head needs more epochs than behind a real one; "" keeps the recipe's.
    """
    folder.mkdir(exist_ok=True)
    program, photos = folder / "program.py", folder / "photos.npz"
    found = RECIPE.search(PAGE.read_text(encoding="utf-8"))
    assert found, f"the recipe is gone from {PAGE}"
    program.write_text(found.group(1) + PROGRAM, encoding="utf-8")
    images = [tiny.photo(label, seed) for seed in range(40) for label in labels]
    asked = [tiny.photo(label, seed) for seed in range(50, 58) for label in labels]
    np.savez(photos, images=images, columns=list(range(len(labels))) * 40, asked=asked)
    words = [model, photos, "yes" if taught else "no", epochs, folder.parent / "weights.npz"]
    done = subprocess.run(
        [sys.executable, str(program), *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    with np.load(photos) as given:
        return {name: given[name] for name in given.files}


def accuracy(probabilities: Any, labels: int) -> float:
    """Return the share of right answers; photos come label by label in turn."""
    return float((probabilities.argmax(1) == np.arange(len(probabilities)) % labels).mean())


def test_a_file_without_labels_learns_from_nothing(tmp_path: Path) -> None:
    """Every column is closed at first, and opens for the label that uses it."""
    given = run(tmp_path / "a", tiny.TINY, ["blue", "green", "red"])
    assert accuracy(given["after"], 3) > 0.9
    assert not given["after"][:, 3:].any()  # columns no label uses
    assert np.allclose(given["after"].sum(1), 1, atol=1e-5)
    assert not given["ours"].size


def test_the_unchanged_recipe_opens_the_columns_and_lowers_the_loss(tmp_path: Path) -> None:
    """Twenty epochs suffice for a mean loss below that of a guess among the three labels."""
    given = run(tmp_path / "a", tiny.TINY, ["blue", "green", "red"], epochs="")
    own = given["after"][np.arange(24), np.arange(24) % 3]
    assert -np.log(own).mean() < np.log(3) - 0.02
    assert not given["after"][:, 3:].any()


def test_a_taught_file_learns_a_new_label_and_keeps_the_old_ones(tmp_path: Path) -> None:
    """The new label takes the next column."""
    labels = [*tiny.COLORS, "yellow"]
    given = run(tmp_path / "a", tiny.TINY_TAUGHT, labels)
    assert not given["before"][:, 3:].any()
    assert accuracy(given["after"], 4) > 0.9
    assert not given["after"][:, 4:].any()


def test_stored_weights_continue_in_another_process(tmp_path: Path) -> None:
    """The answers are the same to the bit."""
    labels = ["blue", "green", "red"]
    first = run(tmp_path / "a", tiny.TINY, labels)
    second = run(tmp_path / "b", tiny.TINY, labels, taught=False)
    assert np.array_equal(first["after"], second["after"])
    assert not np.array_equal(second["before"], second["after"])
