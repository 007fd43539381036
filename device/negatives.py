"""Samples of what a frame is not: negatives of one label, and background, which belongs to no label.

They are stored like other samples, under a label that starts with a control character, which no label of a user can
contain. So each of them is counted, undone, merged and recovered like any other sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import LabelError, SelectionError
from .labels import check_label

MARK = "\x15"  # the ASCII control character for a negative answer
BACKGROUND = MARK
"""Stored label of a sample that belongs to no label."""


def stored_label(label: str | None, not_label: str | None = None) -> str:
    """Return the label under which a sample is stored.

    Args:
        label: What the sample shows; None for a negative or background.
        not_label: The label that a negative denies; None for any other sample.

    Raises:
        LabelError: Both are given, or one cannot be a label.

    Example:
        >>> stored_label("mug"), stored_label(None, "mug"), stored_label(None)
        ('mug', '\\x15mug', '\\x15')
    """
    if label is not None and not_label is not None:
        raise LabelError(f"a sample shows {label!r} or is not {not_label!r}; name one of them, not both")
    if label is not None:
        return check_label(label)
    return BACKGROUND if not_label is None else negative_of(check_label(not_label))


def check_one(given: Mapping[str, object], *, optional: bool = False) -> None:
    """Check that exactly one of several alternatives is given.

    Args:
        given: Name and value of each alternative, such as label, not_label and background; None and False are not given.
        optional: There may also be none.

    Raises:
        SelectionError: There are several, or none.

    Example:
        >>> check_one({"label": "mug", "not_label": None, "background": False})
    """
    named = [name for name, value in given.items() if value is not None and value is not False]
    if len(named) > 1 or not (named or optional):
        wanted = "at most one of" if optional else "one of"
        raise SelectionError(f"expected {wanted} {', '.join(given)}, got {' and '.join(named) or 'none'}")


def negative_of(label: str) -> str:
    """Return the stored label of a negative of `label`."""
    return MARK + label


def is_hidden(stored: str) -> bool:
    """Return whether a stored label is that of a negative or of background."""
    return stored.startswith(MARK)


def split_label(stored: str) -> tuple[str | None, str | None]:
    """Return the label and the denied label of a sample: exactly one for a negative, none for background.

    Example:
        >>> split_label("mug"), split_label("\\x15mug"), split_label("\\x15")
        (('mug', None), (None, 'mug'), (None, None))
    """
    return (None, stored[1:] or None) if is_hidden(stored) else (stored, None)


def describe(label: str | None, not_label: str | None = None) -> str:
    """Return what a sample teaches, for people: ``mug``, ``not mug`` or ``background``."""
    return label or ("background" if not_label is None else f"not {not_label}")


def check_stored(stored: str) -> str:
    """Return a stored label in its canonical form.

    Raises:
        LabelError: It is neither a label nor a negative of one nor background.
    """
    if not is_hidden(stored):
        return check_label(stored, stored=True)
    return BACKGROUND if stored == BACKGROUND else negative_of(check_label(stored[1:], stored=True))


def count_fields(stored: Mapping[str, int]) -> dict[str, Any]:
    """Return the same as JSON-serializable fields, ``negatives`` and ``background``."""
    negatives, background = split_counts(stored)
    return {"negatives": negatives, "background": background}


def split_counts(stored: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Return the number of negatives per denied label, and of background samples, from counts per stored label.

    Example:
        >>> split_counts({"\\x15": 2, "\\x15mug": 3})
        ({'mug': 3}, 2)
    """
    negatives = {
        label[1:]: count for label, count in stored.items() if is_hidden(label) and label != BACKGROUND
    }
    return negatives, stored.get(BACKGROUND, 0)
