"""Make tests/data/tiny.tflite and tiny_taught.tflite again: python -m tests.make_tiny_model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.tiny import TINY, TINY_TAUGHT, tiny_model_file


def make(folder: Path) -> None:
    """Write both files into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, taught in ((TINY, False), (TINY_TAUGHT, True)):
            made = tiny_model_file(Path(scratch), path.name, taught)
            (folder / path.name).write_bytes(made.read_bytes())


if __name__ == "__main__":
    make(TINY.parent)
