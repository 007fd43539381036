"""Runs the blocks of pages in one process: ``python -m tests.run_page FOLDER EXTRAS PAGE...``, with EXTRAS such as device,serve.

Of what is installed, only the packages that the extras bring can be imported, as in `tests.run_block`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.blocks import ROOT, Block, Page, adapt, read_pages

from .page_files import prepare
from .run_block import BlockedPackages, missing_modules
from .tiny import TINY

# what `make docs-check` runs, in environments of its own
_SETUP = re.compile(r"^(?:python3 -m venv |\. |(?:~/edgetl/bin/)?pip |scp |git clone |cd )")


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(words: list[str]) -> Iterator[None]:
    """Run `edgetl serve` as Ctrl-C ends it; it answers when the body starts."""
    with subprocess.Popen(
        [sys.executable, "-m", "edgetl", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "http://" in line:
                break
        else:
            raise SystemExit(f"edgetl {shlex.join(words)} did not start:\n{''.join(lines)}")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
    if process.returncode:
        raise SystemExit(
            f"edgetl {shlex.join(words)} exits with {process.returncode}:\n{''.join(lines)}{rest}"
        )


def expanded(words: list[str]) -> list[str]:
    """Return the words of a command with the files that a pattern matches, as a shell does."""
    found: list[str] = []
    for word in words:
        matches = sorted(map(str, Path().glob(word))) if "*" in word and word != "*" else []
        found += matches or [word]
    return found


def run_command(line: str) -> None:
    """Run `edgetl ...`, with its output in a file where the line has one."""
    from edgetl.cli import main

    line, _, file = line.partition(" > ")
    with contextlib.ExitStack() as stack:
        if file:
            stack.enter_context(
                contextlib.redirect_stdout(stack.enter_context(Path(file).open("w", encoding="utf-8")))
            )
        try:
            main(expanded(shlex.split(line)[1:]), prog_name="edgetl")
        except SystemExit as end:
            if end.code:
                raise SystemExit(f"edgetl exits with {end.code}: {line}") from end


def run_lines(block: Block, port: int, stack: contextlib.ExitStack) -> None:
    """Run a block of commands; a server runs until the end of its page, or until the next server starts."""
    for written in block.lines():
        line = adapt(written, port)
        print(f"$ {line}", flush=True)
        if _SETUP.match(line):
            continue
        if line.startswith("edgetl serve "):
            stack.close()
            stack.enter_context(server(expanded(shlex.split(line)[1:])))
        elif line.startswith("edgetl "):
            run_command(line)
        else:
            subprocess.run(["bash", "-c", line], check=True)


def run_page(page: Page, folder: Path, extras: set[str]) -> None:
    """Run the blocks of a page that need no more than these extras, from top to bottom in a folder of its own."""
    prepare(folder, TINY)
    os.chdir(folder)
    port = free_port()
    with contextlib.ExitStack() as stack:
        for block in page.blocks:
            if block.reason or not set(block.needs) <= extras:
                continue
            print(f"== {block.page}:{block.line}", flush=True)
            if block.is_python:
                exec(
                    compile(adapt(block.text, port), f"{block.page}:{block.line}", "exec"),
                    {"__name__": "__main__"},
                )
            else:
                run_lines(block, port, stack)


def main() -> None:
    """Run the pages; the first block that fails ends the process with an error."""
    folder, extras, *names = sys.argv[1:]
    chosen = set(extras.split(","))
    sys.meta_path.insert(0, BlockedPackages(missing_modules(chosen)))
    for page in read_pages(names):
        run_page(page, Path(folder) / Path(page.name).stem, chosen)


if __name__ == "__main__":
    main()
