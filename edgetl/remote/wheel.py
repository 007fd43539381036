"""The wheel of this very version of edgetl: built from a checkout, or packed again from the installed files."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import edgetl

from ..errors import RemoteError

_LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}  # of this installation, not of the wheel
_EPOCH = (1980, 1, 1, 0, 0, 0)


def make_wheel(folder: Path) -> Path:
    """Write the wheel of the edgetl that runs here into `folder`.

    Raises:
        RemoteError: The checkout cannot be built, or edgetl was not installed as a package.
    """
    checkout = Path(edgetl.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return _build(checkout, folder)
    try:
        return pack_installed("edgetl", folder)
    except importlib.metadata.PackageNotFoundError:
        raise RemoteError(
            f"{checkout} is neither a checkout nor an installed package, so no wheel can be made of it; install edgetl with pip"
        ) from None


def pack_installed(name: str, folder: Path) -> Path:
    """Write a wheel of the installed distribution `name`; it must be pure Python or of this platform."""
    found = importlib.metadata.distribution(name)
    files = {
        str(file): Path(str(file.locate())).read_bytes()
        for file in found.files or ()
        if ".." not in file.parts and file.name not in _LEFT_OUT and file.suffix != ".pyc"
    }
    info = next(path.rpartition("/")[0] for path in files if path.endswith(".dist-info/WHEEL"))
    tag = next(
        line.split(" ")[1]
        for line in files[f"{info}/WHEEL"].decode().splitlines()
        if line.startswith("Tag: ")
    )
    path = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(file, _EPOCH), content)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", _EPOCH), _record(files.items(), info))
    return path


def _record(files: Iterable[tuple[str, bytes]], info: str) -> str:
    lines = []
    for file, content in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        quoted = f'"{file}"' if "," in file else file
        lines.append(f"{quoted},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{info}/RECORD,,\n"])


def _build(checkout: Path, folder: Path) -> Path:
    """Build the checkout with pip; the build backend comes from PyPI if it is not installed here."""
    here = all(importlib.util.find_spec(name) for name in ("hatchling", "hatch_fancy_pypi_readme"))
    isolation = ["--no-build-isolation"] if here else []
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", *isolation, "--wheel-dir", str(folder)]
    words = [sys.executable, "-m", "pip", "wheel", *options, str(checkout)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    built = list(folder.glob("edgetl-*.whl"))
    if done.returncode or not built:
        reason = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        packages = "hatchling hatch-fancy-pypi-readme"
        raise RemoteError(f"the wheel of {checkout} cannot be built: {reason}; try: pip install {packages}")
    return built[0]
