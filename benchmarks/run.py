"""Run the quick benchmarks, or all, and write `benchmarks/RESULTS.md`.

Usage: ``python -m benchmarks.run [NAME ...] [--all] [--check]``

Each benchmark runs in a process of its own. One that fails does not stop the others; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from . import results_page
from .questions import QUESTIONS, Question, find


def run(questions: Sequence[Question], check: bool) -> list[str]:
    """Run benchmarks in turn; return the names of those that failed.

    Args:
        questions: What to run.
        check: Compare with the references and write no result.
    """
    failed = []
    for number, question in enumerate(questions, 1):
        print(f"[{number}/{len(questions)}] {question.name}: {question.text}", file=sys.stderr, flush=True)
        began = time.monotonic()
        out = ["--check"] if check else ["--out", str(question.result)]
        command = [sys.executable, "-m", f"benchmarks.{question.name}", *question.arguments, *out]
        done = subprocess.run(command, check=False)
        print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        failed += [question.name] if done.returncode else []
    return failed


def main() -> None:
    """Run the benchmarks and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="Benchmarks.  [default: the quick ones]")
    parser.add_argument("--all", action="store_true", help="Also run the long ones; takes hours.")
    parser.add_argument("--check", action="store_true", help="Compare with the references; write nothing.")
    options = parser.parse_args()
    chosen = [find(name) for name in options.names] or [
        one for one in QUESTIONS if not one.needs and (one.quick or (options.all and not options.check))
    ]
    began = time.monotonic()
    failed = run(chosen, options.check)
    if options.all:
        for one in QUESTIONS:
            if one.needs:
                print(f"not run: {one.name} needs {one.needs}", file=sys.stderr)
    if not options.check:
        results_page.write()
        print(f"wrote {results_page.PAGE} after {time.monotonic() - began:.0f} s", file=sys.stderr)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
