"""The last line of a test run: what was skipped, and the command that installs what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def summarize_skips(reports: Iterable[Any]) -> str:
    """Return one line with the number of skipped tests per reason, most first; "" when none was skipped.

    A reason names the command that installs what is missing, so the line does too.
    """
    counts = Counter(_reason(report) for report in reports)
    parts = [f"{number} ({reason})" for reason, number in counts.most_common()]
    return f"skipped {counts.total()}: {'; '.join(parts)}" if parts else ""


def _reason(report: Any) -> str:
    # pytest keeps (file, line, "Skipped: reason"); an expected failure has no such triple
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split())
