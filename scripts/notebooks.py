"""Run the notebooks in examples/ and store them with their outputs: ``python -m scripts.notebooks MODEL...``.

They are stored with outputs because GitHub shows a notebook as it is, and one without charts explains little. The outputs are a
few lines of text and charts of a few kilobytes; a test runs the notebooks again, so that they cannot become outdated silently.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from device.files import atomic_output
from scripts.png import shrink

ROOT = Path(__file__).parents[1]
NOTEBOOKS = tuple(sorted((ROOT / "examples").glob("*.ipynb")))
_SECONDS = 1200  # for one cell, and for the start of the kernel, on a busy machine


def main() -> None:
    """Run and store all notebooks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.notebooks", description=__doc__)
    parser.add_argument(
        "models", type=Path, nargs="+", help="Model files to compare; the first one is the base.tflite."
    )
    models = parser.parse_args().models
    import nbformat

    for path in NOTEBOOKS:
        notebook = run(path, models)
        tidy(notebook)
        with atomic_output(path, force=True) as temporary:
            temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(f"{path}: {path.stat().st_size // 1024} kB")


def run(path: Path, models: list[Path]) -> Any:
    """Run a notebook from its first to its last cell in a new folder, and return it with its outputs.

    Args:
        path: The notebook.
        models: The model files in the folder ``models``; the first one is ``base.tflite`` too.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").mkdir()
        shutil.copy(models[0], Path(folder) / "base.tflite")
        for model in models:
            shutil.copy(model, Path(folder) / "models")
        client = NotebookClient(
            notebook,
            timeout=_SECONDS,
            startup_timeout=_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    return notebook


def tidy(notebook: Any) -> None:
    """Remove what changes with each run and is of no use to a reader, and make the charts small."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": _shrunk(output.data["image/png"]), "text/plain": ["<chart>"]}
                output.metadata = {}
    notebook.metadata["language_info"] = {"name": "python"}


def _shrunk(png: str) -> str:
    return base64.b64encode(shrink(base64.b64decode(png), colors=64)).decode() + "\n"


if __name__ == "__main__":
    main()
