"""The size of an installed distribution with everything that it requires.

It is also run by the Python of another environment, so it needs only that Python and its pip:
``PYTHON benchmarks/installed.py DISTRIBUTION[EXTRA,...]`` prints JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import Any


def closure(requirement: str) -> dict[str, float]:
    """Return the MB (10^6 bytes) of each distribution that `requirement` needs here, without byte code.

    Args:
        requirement: A distribution, perhaps with extras: ``name[extra,other]``. Those that are not installed are left out.
    """
    from pip._vendor.packaging.requirements import Requirement

    sizes: dict[str, float] = {}
    wanted = [Requirement(requirement)]
    seen = set()
    while wanted:
        one = wanted.pop()
        if (key := (one.name.lower().replace("_", "-"), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        try:
            found = importlib.metadata.distribution(one.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes[key[0]] = size_of(found)
        for line in found.requires or ():
            needed = Requirement(line)
            extras = one.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(needed)
    return sizes


def size_of(distribution: Any) -> float:
    """Return the MB of the files of a distribution, without byte code."""
    files = [distribution.locate_file(file) for file in distribution.files or () if file.suffix != ".pyc"]
    size: int = sum(path.stat().st_size for path in files if path.is_file())
    return round(size / 1e6, 2)


if __name__ == "__main__":
    print(json.dumps(closure(sys.argv[1])))
