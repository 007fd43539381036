"""Labels: any printable text that names a class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .errors import LabelError
from .printable import printable

MAX_LENGTH = 100
_LISTED = 12  # labels in a line for people; a model file may have thousands
# marks, embeddings, overrides and isolates: they change the order in which the text around them is shown; letters of
# right-to-left scripts do not need them
DIRECTION_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_DIRECTION = re.compile(f"[{DIRECTION_CONTROLS}]")


def check_label(label: str, *, stored: bool = False) -> str:
    """Return `label` in its canonical form (NFC, trimmed).

    Args:
        label: The text of the label.
        stored: The label comes from a state file or a model file. Versions before 0.2 accepted characters that
            change the direction of text, so these are accepted here; `device.printable` shows them escaped.

    Raises:
        LabelError: The label is empty, too long, or contains line breaks, control characters, or characters that
            change the direction of text.

    Example:
        >>> check_label(" rosa  canina ")
        'rosa  canina'
    """
    if not isinstance(label, str):
        raise LabelError(f"a label must be text, got {type(label).__name__}")
    canonical = unicodedata.normalize("NFC", label).strip()
    if not canonical:
        raise LabelError("a label must not be empty; name the class, for example 'mug'")
    if len(canonical) > MAX_LENGTH:
        raise LabelError(
            f"a label has at most {MAX_LENGTH} characters, got {len(canonical)}: {canonical[:30]!r}..."
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in canonical):
        raise LabelError(f"a label must not contain line breaks or control characters, got {canonical!r}")
    if not stored and _DIRECTION.search(canonical):
        raise LabelError(
            "a label must not contain invisible characters that change the direction of text; leave them out, got"
            f" '{printable(canonical)}'"
        )
    return canonical


def check_labels(labels: Iterable[str], *, stored: bool = False) -> tuple[str, ...]:
    """Check each label, in order, and refuse duplicates.

    Args:
        labels: The labels.
        stored: As for `check_label`.

    Raises:
        LabelError: As `check_label`, or a label occurs twice.
    """
    checked = tuple(check_label(label, stored=stored) for label in labels)
    if len(set(checked)) != len(checked):
        twice = sorted({label for label in checked if checked.count(label) > 1})
        raise LabelError(f"labels must differ, these occur more than once: {', '.join(twice)}")
    return checked


def listed(labels: Iterable[str], nothing: str = "none yet") -> str:
    """Return labels as one line for people: the first dozen and the number of the others.

    Example:
        >>> listed(["cup", "mug"]), listed([])
        ('cup, mug', 'none yet')
        >>> listed(str(number) for number in range(1002))
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 990 more'
    """
    names = list(labels)
    more = len(names) - _LISTED
    return (", ".join(names[:_LISTED]) or nothing) + (f" and {more} more" if more > 0 else "")
