"""Runs the blocks of pages in one process: ``python -m tests.run_page FOLDER EXTRAS PAGE...``, with EXTRAS such as device,serve.

Of what is installed, only the packages that the extras bring can be imported, as in `tests.run_block`.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

from scripts.blocks import ROOT, Block, Page, adapt, read_pages

from .page_files import prepare
from .run_block import BlockedPackages, missing_modules
from .tiny import TINY

# what `make docs-check` runs, in environments of its own
_SETUP = re.compile(r"(?:python3 -m venv|\.|(?:~/edgetl/bin/)?pip|scp|git clone|cd) ")


def free_port() -> int:
    """Return a free port of the loopback interface below those that the system gives to connections by itself."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", random.randrange(20000, 32000))) as probe,
        ):
            return int(probe.getsockname()[1])


class Server:
    """`edgetl serve` in a process of its own, until Ctrl-C."""

    def __init__(self, line: str) -> None:
        for _ in range(5):
            self.port = free_port()
            self.words = expanded(shlex.split(adapt(line, self.port))[1:])
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgetl", *self.words],
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert self.process.stdout
            self.printed = ""
            for printed in self.process.stdout:
                self.printed += printed
                if re.search("https?://", printed):
                    return
            self.process.wait()
            if "uses this port" not in self.printed:
                break
        raise SystemExit(f"edgetl {shlex.join(self.words)} did not start:\n{self.printed}")

    def close(self) -> None:
        """End it as Ctrl-C does; raise an error if it fails."""
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate()
        if self.process.returncode:
            code = self.process.returncode
            raise SystemExit(f"edgetl {shlex.join(self.words)} exits with {code}:\n{self.printed}{rest}")


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


def run_lines(block: Block, servers: list[Server]) -> None:
    """Run a block of commands; a server runs until the end of its page, or until the next server starts."""
    for written in block.lines():
        print(f"$ {written}", flush=True)
        if _SETUP.match(written):
            continue
        if written.startswith("edgetl serve "):
            close(servers)
            servers.append(Server(written))
            continue
        line = adapt(written, servers[-1].port if servers else 0)
        if line.startswith("edgetl "):
            run_command(line)
        else:
            subprocess.run(["bash", "-c", line], check=True)


def close(servers: list[Server]) -> None:
    """End the server that runs, if there is one."""
    while servers:
        servers.pop().close()


def run_page(page: Page, folder: Path, extras: set[str]) -> None:
    """Run the blocks of a page that need no more than these extras, from top to bottom in a folder of its own."""
    prepare(folder, TINY)
    os.chdir(folder)
    servers: list[Server] = []
    try:
        for block in page.blocks:
            if block.reason or not set(block.needs) <= extras:
                continue
            print(f"== {block.page}:{block.line}", flush=True)
            if block.is_python:
                source = adapt(block.text, servers[-1].port if servers else 0)
                exec(compile(source, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})
            else:
                run_lines(block, servers)
    finally:
        close(servers)


def main() -> None:
    """Run the pages; the first block that fails ends the process with an error."""
    folder, extras, *names = sys.argv[1:]
    os.environ["GPIOZERO_PIN_FACTORY"] = "mock"  # no pins here
    chosen = set(extras.split(","))
    sys.meta_path.insert(0, BlockedPackages(missing_modules(chosen)))
    for page in read_pages(names):
        run_page(page, Path(folder) / Path(page.name).stem, chosen)


if __name__ == "__main__":
    main()
