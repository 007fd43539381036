"""What a label may be: any printable text a person would call a class."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from .errors import LabelError

MAX_LENGTH = 100


def check_label(label: str) -> str:
    """Give `label` in its canonical form (NFC, trimmed).

    Raises:
        LabelError: It is empty, too long, or holds control characters or line breaks.

    Example:
        >>> check_label(" rosa  canina ")
        'rosa  canina'
    """
    if not isinstance(label, str):
        raise LabelError(f"a label must be text, got {type(label).__name__}")
    canonical = unicodedata.normalize("NFC", label).strip()
    if not canonical:
        raise LabelError("a label must not be empty; give the class a name such as 'mug'")
    if len(canonical) > MAX_LENGTH:
        raise LabelError(
            f"a label has at most {MAX_LENGTH} characters, got {len(canonical)}: {canonical[:30]!r}..."
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in canonical):
        raise LabelError(f"a label must not hold line breaks or control characters, got {canonical!r}")
    return canonical


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Check each label, in order, and refuse two that are the same.

    Raises:
        LabelError: As `check_label`, or a label stands twice.
    """
    checked = tuple(check_label(label) for label in labels)
    if len(set(checked)) != len(checked):
        twice = sorted({label for label in checked if checked.count(label) > 1})
        raise LabelError(f"labels must differ, these stand more than once: {', '.join(twice)}")
    return checked
