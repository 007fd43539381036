"""The notebooks in examples/: each runs from its first to its last cell, and is stored with small outputs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="the notebooks need the group dev")

from scripts import notebooks
from tests.tiny import TINY, TINY_GRAY, TINY_INFER

LARGEST = 150_000  # bytes
README = notebooks.ROOT / "examples" / "README.md"


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path) -> None:
    """With tiny models, in a folder of its own; a cell that fails raises. Each cell that draws shows a chart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that talk to the kernel
        found = notebooks.run(path, [TINY, TINY_GRAY, TINY_INFER])
    for cell in found.cells:
        if cell.cell_type == "code" and "plt.subplots" in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_the_outputs_of_one_run(path: Path) -> None:
    """In the order of its cells, without errors, and without paths of the machine; README.md of the folder names it."""
    text = path.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"display_data", "execute_result", "stream"}
    assert "/home/" not in text
    assert "/root/" not in text
    assert len(text) <= LARGEST
    assert f"({path.name})" in README.read_text(encoding="utf-8")
