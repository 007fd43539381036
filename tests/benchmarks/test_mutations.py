"""Random mutants of model files; ``python -m benchmarks.mutations`` tries 20,000."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import mutations
from tests.mutants import KINDS, mutant

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RAM and signals are measured with Linux interfaces"
)
FILES = 500


def test_no_mutant_crashes_the_process_or_raises_a_foreign_error(tmp_path: Path) -> None:
    """No signal, no exception other than edgetl's own, nothing over 2 s or 300 MB."""
    tally = mutations.mutations(range(FILES), tmp_path)
    assert tally.failures == []
    assert tally.files == FILES
    assert tally.outcomes.keys() == KINDS.keys()
    assert sum(counts["refused"] for counts in tally.outcomes.values()) > FILES // 2


def test_a_number_always_produces_the_same_mutant() -> None:
    """A failure can be reproduced from its number."""
    assert [mutant(number) for number in range(len(KINDS))] == [
        mutant(number) for number in range(len(KINDS))
    ]


def test_the_harness_notices_a_process_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails if the child process is killed by a signal."""
    monkeypatch.setattr(
        mutations, "CHILD", ("-c", "import os, signal; input(); os.kill(os.getpid(), signal.SIGSEGV)")
    )
    tally = mutations.mutations(range(2), tmp_path)
    assert [failure["outcome"] for failure in tally.failures] == ["signal 11", "signal 11"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"outcome": "opened", "seconds": 2.5, "megabytes": 80}, "too slow"),
        ({"outcome": "refused", "seconds": 0.1, "megabytes": 400}, "too large"),
        ({"outcome": "KeyError: 'x'", "seconds": 0.1, "megabytes": 80}, "KeyError: 'x'"),
    ],
)
def test_the_harness_notices_what_takes_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], outcome: str
) -> None:
    """It detects excessive time and RAM, and exceptions that are not edgetl's own."""
    monkeypatch.setattr(mutations, "CHILD", ("-c", f"import json; input(); print(json.dumps({answer!r}))"))
    assert [failure["outcome"] for failure in mutations.mutations([0], tmp_path).failures] == [outcome]
