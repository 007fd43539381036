"""Runs the edgetl commands of one command block in one process: ``python -m tests.run_block < BLOCK.json``.

Of what is installed, only the packages that the block's extras bring can be imported, so a block that forgets an extra
fails here as it would on a fresh machine. Backbones are tiny.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tomllib
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


class BlockedPackages(MetaPathFinder):
    """An import hook that makes packages look as if they were not installed."""

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for a module of a blocked package."""
        if fullname.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def extras() -> dict[str, list[str]]:
    """Return the distributions per extra, by pyproject.toml."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    found = {
        extra: [plain(line) for line in lines] for extra, lines in project["optional-dependencies"].items()
    }
    return {"": [plain(line) for line in project["dependencies"]], **found}


def plain(requirement: str) -> str:
    """Return the normalized name of the distribution that a requirement names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def brought(names: list[str]) -> set[str]:
    """Return the installed distributions that `names` require, themselves included."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # such as a package for another system
        names.extend(plain(line) for line in needed if "extra ==" not in line)
    return found


def missing_modules(chosen: set[str]) -> set[str]:
    """Return the modules that an installation with the extras `chosen` would not have."""
    table = extras()
    present = brought([name for extra in ("", *chosen) for name in table[extra]])
    absent = {name for names in table.values() for name in names} - present
    places = importlib.metadata.packages_distributions()
    return {module for module, names in places.items() if {plain(name) for name in names} <= absent}


def use_tiny_backbones() -> None:
    """Replace every backbone by one of three convolutions."""
    import edgetl.backbones
    from edgetl.training import run
    from tests import tiny

    def load(_name: str, **_options: Any) -> tuple[Any, Any]:
        import keras

        layers = tiny.backbone()
        return keras.Model(layers.inputs[0], layers.outputs[0]), tiny.PREPROCESSING

    edgetl.backbones.load_backbone = load
    run.load_backbone = load


def main() -> None:
    """Run the block; exit with the code of the first command that fails."""
    block = json.load(sys.stdin)
    if block["extras"] is not None:
        sys.meta_path.insert(0, BlockedPackages(missing_modules(set(block["extras"]))))
    if block["host"]:
        use_tiny_backbones()
    from edgetl.cli import main as edgetl

    for words in block["commands"]:
        print("$ edgetl", *words, flush=True)
        try:
            edgetl(words, prog_name="edgetl")
        except SystemExit as end:
            if end.code:
                raise
    if block["python"]:
        exec(compile(block["python"], "README.md", "exec"), {})


if __name__ == "__main__":
    main()
