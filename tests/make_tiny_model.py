"""Write the model files in tests/data again: python -m tests.make_tiny_model.

``tiny_version1.tflite`` is not written, because no program writes that format any more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.tiny import GRAY, TINY, TINY_GRAY, TINY_INFER, TINY_TAUGHT, tiny_model_file


def make(folder: Path) -> None:
    """Write the model files into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, options in (
            (TINY, {}),
            (TINY_TAUGHT, {"taught": True}),
            (TINY_INFER, {"taught": True, "infer": True}),
            (TINY_GRAY, {"taught": True, "infer": True, "preprocessing": GRAY}),
        ):
            made = tiny_model_file(Path(scratch), path.name, **options)
            (folder / path.name).write_bytes(made.read_bytes())


if __name__ == "__main__":
    make(TINY.parent)
