"""Adapt the pages of docs/ to the site; MkDocs calls `on_page_markdown` for each of them.

Some pages at the top of the repository become pages of the site. Links to other files outside of docs/ lead to the
repository, and the page of the reference gets every public name of edgetl.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from edgetl import _NAMES

_ROOT = Path(__file__).resolve().parents[1]
_ALSO = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
_RELATIVE = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)")
_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")
_PLACE = "<!-- on the site, the docstrings follow -->"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of `_ALSO`."""
    for source, name in _ALSO.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        folder = Path(source).parent.as_posix()
        text = _RELATIVE.sub(lambda found, folder=folder: f"]({_from_docs(folder, found[1])})", text)
        files.append(File.generated(config, name, content=text))
    return files


def _from_docs(folder: str, link: str) -> str:
    """Return a link of a page in `folder` as one of a page in docs/."""
    return posixpath.relpath(posixpath.join(folder, link), "docs")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """Return the text of a page for the site."""
    for source, name in _ALSO.items():
        markdown = markdown.replace(f"](../{source}", f"]({name}")
    text = _OUTSIDE.sub(rf"]({config['repo_url']}/blob/main/\1)", markdown)
    return text.replace(_PLACE, _reference())


def _reference() -> str:
    """Return a directive of mkdocstrings per public name: functions and classes first, errors last."""
    places = {name: f"{module}.{name}" for module, names in _NAMES.items() for name in names}
    order = sorted(places, key=lambda name: (name.endswith("Error"), name.lower()))
    return "\n\n".join(f"::: {places[name]}" for name in order)
