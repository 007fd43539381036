"""Let the site show the section ``Example:`` of a docstring as code: its parser expects ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SINGULAR = re.compile(r"^Example:$", re.MULTILINE)


class Examples(griffe.Extension):
    """Rename the section before the docstring is parsed."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each function, class and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _SINGULAR.sub("Examples:", obj.docstring.value)
