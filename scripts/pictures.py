"""Make the pictures of README and docs again: ``make pictures``, or ``python -m scripts.pictures [NAME...]``.

======== =====================================================================================================
terminal `edgetl teach`, `run` and `status` in a pseudo-terminal (`scripts.terminal`)
page     the page on a desk and on a phone, light and dark, in a headless Chromium (`scripts.screenshots`)
charts   of docs/heads.md and benchmarks/RESULTS.md, from the stored results
demo     the curve of docs/demo.md; runs `edgetl demo` and downloads its photos
notebook the notebooks in examples/, with their charts (`scripts.notebooks`); needs the weights of two more backbones
======== =====================================================================================================

Two pictures are made by the commands beside them, because they need photos that are not here: bench-accuracy.svg in docs/bench.md
and gan-28.png in docs/gray.md. overview.svg is drawn by hand. Models are converted once, into the folder ``build/pictures``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MODELS = ROOT / "build" / "pictures"
_BASE = "efficientnet-lite0"
_COMPARED = (_BASE, "efficientnet-lite1", "mobilenet-v2")


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(KINDS)}; all by default")
    names = parser.parse_args().names or list(KINDS)
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"there are no pictures named {', '.join(unknown)}; there are {', '.join(KINDS)}")
    for name in names:
        print(f"== {name}", flush=True)
        KINDS[name]()


def _terminal() -> None:
    _run("scripts.terminal", _model(_BASE))


def _page() -> None:
    _run("scripts.screenshots", _model(_BASE))


def _charts() -> None:
    _run("benchmarks.heads_page")
    _run("benchmarks.results_page")


def _demo() -> None:
    _run("edgetl", "demo", "--chart", ROOT / "docs" / "images" / "demo-curve.svg", "--force")


def _notebook() -> None:
    _run("scripts.notebooks", *map(_model, _COMPARED))


def _model(backbone: str) -> Path:
    """Return the model file of a backbone; it is converted if it does not exist."""
    path = _MODELS / f"{backbone}.tflite"
    if not path.exists():
        _MODELS.mkdir(parents=True, exist_ok=True)
        _run("edgetl", "convert", backbone, "--out", path)
    return path


def _run(module: str, *words: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, words)], cwd=ROOT, check=True)


KINDS: dict[str, Callable[[], None]] = {
    "terminal": _terminal,
    "page": _page,
    "charts": _charts,
    "demo": _demo,
    "notebook": _notebook,
}
"""Name -> what makes these pictures."""

if __name__ == "__main__":
    main()
