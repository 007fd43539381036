"""Adapt the pages of docs/ to the site; MkDocs calls `on_page_markdown` for each of them.

Links to files outside of docs/ lead to the repository, and the page of the reference gets every public name of edgetl.
"""

from __future__ import annotations

import re
from typing import Any

from edgetl import _NAMES

_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")
_PLACE = "<!-- on the site, the docstrings follow -->"


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """Return the text of a page for the site."""
    text = _OUTSIDE.sub(rf"]({config['repo_url']}/blob/main/\1)", markdown)
    return text.replace(_PLACE, _reference())


def _reference() -> str:
    """Return a directive of mkdocstrings per public name: functions and classes first, errors last."""
    places = {name: f"{module}.{name}" for module, names in _NAMES.items() for name in names}
    order = sorted(places, key=lambda name: (name.endswith("Error"), name.lower()))
    return "\n\n".join(f"::: {places[name]}" for name in order)
