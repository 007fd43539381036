"""Run every block of the documents in fresh environments: ``python -m scripts.docs_check [PAGE...]``, or `make docs-check`.

Each set of extras that a page names gets a virtual environment with the wheel of this checkout, installed by pip from PyPI. A
page becomes one script for bash, which runs in a copy of the checkout with small photos and models; blocks that set up an
environment of their own do so in a home folder of their own. Downloads TensorFlow; takes some minutes and 8 GB on the disk, which
are removed at the end.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.blocks import ROOT, Block, Page, adapt, read_pages
from tests.page_files import prepare
from tests.run_block import extras
from tests.run_page import free_port

_FUNCTIONS = """
set -euo pipefail
set -m  # Ctrl-C reaches a server in the background
use() { deactivate 2> /dev/null || true; export PATH=$1/bin:$PLAIN; }
stop() { [ -z "${server:-}" ] || { kill -INT "$server"; wait "$server"; server=; }; }
start() { # the arguments of edgetl; it answers on $PORT when this returns
    stop
    edgetl "$@" > serve.log 2>&1 &
    server=$!
    for _ in $(seq 300); do
        curl --silent --insecure --output /dev/null "http://127.0.0.1:$PORT/" && return
        kill -0 "$server" 2> /dev/null || break
        sleep 0.2
    done
    cat serve.log
    return 1
}
trap 'stop > /dev/null 2>&1 || true' EXIT
"""


def script_of(page: Page, environments: dict[tuple[str, ...], Path], port: int) -> str:
    """Return the script that runs the blocks of a page from top to bottom."""
    lines = [
        _FUNCTIONS,
        f"PORT={port} PLAIN=$PATH LAPTOP=$PWD/laptop PI=$PWD/pi",
        "mkdir -p laptop pi",
        "export HOME=$LAPTOP",
    ]
    for block in page.blocks:
        if not block.reason:
            lines += [
                f"echo '== {block.page}:{block.line}'",
                f"use {shlex.quote(str(environments[block.needs]))}",
            ]
            lines += _python(block, port) if block.is_python else _commands(block, port)
    return "\n".join([*lines, "stop", ""])


def _python(block: Block, port: int) -> list[str]:
    return ["python -I - <<'END_OF_BLOCK'", adapt(block.text, port).rstrip("\n"), "END_OF_BLOCK"]


def _commands(block: Block, port: int) -> list[str]:
    lines = []
    for written in block.lines():
        line = adapt(written, port)
        if " -m venv " in line and "--system-site-packages" in line:
            lines.append("export HOME=$PI")  # the block is for the device
        if line.startswith("scp "):
            line = f"cp {line.split()[1]} $PI"
        if line.startswith("edgetl serve "):
            line = line.replace("edgetl serve ", "start serve ", 1)
        lines += [f"echo {shlex.quote('$ ' + line)}", line]
    return lines


class Workshop:
    """The environments and files for the pages, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environments: dict[tuple[str, ...], Path] = {}
        wheels = folder / "wheels"
        pip = [sys.executable, "-m", "pip"]
        run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)])
        [self.wheel] = wheels.glob("edgetl-*.whl")

    def environment(self, needs: tuple[str, ...]) -> Path:
        """Return the environment with these extras and packages; it is made at its first use."""
        if needs not in self.environments:
            place = self.folder / "environments" / "-".join(needs)
            run([sys.executable, "-m", "venv", str(place)])
            known = extras()
            chosen = ",".join(need for need in needs if need in known)
            packages = [need for need in needs if need not in known]
            run([str(place / "bin" / "pip"), "install", "--quiet", f"{self.wheel}[{chosen}]", *packages])
            self.environments[needs] = place
        return self.environments[needs]

    def model(self) -> Path:
        """Return a model file of EfficientNet-Lite0, converted as the pages do it."""
        path = self.folder / "model" / "base.tflite"
        if not path.exists():
            path.parent.mkdir()
            prepare(path.parent / "files", ROOT / "tests" / "data" / "tiny.tflite")
            edgetl = self.environment(("host",)) / "bin" / "edgetl"
            words = ["convert", "efficientnet-lite0", "--calibrate", "files/photos", "--out", path.name]
            run([str(edgetl), *words], cwd=path.parent)
        return path

    def page(self, page: Page) -> bool:
        """Run a page; return whether it succeeded."""
        folder = self.folder / "pages" / Path(page.name).stem
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        prepare(folder, self.model())
        needs = {block.needs for block in page.blocks if not block.reason}
        if any("host" in one for one in needs):
            run([str(self.environment(("host",)) / "bin" / "python"), "-m", "tests.host_files"], cwd=folder)
        script = folder / "blocks.sh"
        script.write_text(
            script_of(page, {one: self.environment(one) for one in needs}, free_port()), encoding="utf-8"
        )
        log = folder / "blocks.log"
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EDGETL_", "PYTHON", "VIRTUAL_ENV", "XDG_"))
        }
        environment |= {"GPIOZERO_PIN_FACTORY": "mock", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with log.open("w", encoding="utf-8") as output:
            done = subprocess.run(
                ["bash", script.name],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            print("".join(log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[-25:]))
        return done.returncode == 0


def run(command: list[str], cwd: Path | None = None) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, cwd=cwd, check=True)


def main() -> int:
    """Run the pages and print a line for each; return 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs_check", description=__doc__)
    parser.add_argument("pages", nargs="*", help="such as docs/serve.md; by default all")
    parser.add_argument("--folder", type=Path, help="a new folder for everything, which is kept")
    given = parser.parse_args()
    if missing := [name for name in given.pages if not (ROOT / name).is_file()]:
        parser.error(
            f"there are no pages {', '.join(missing)}; name them from the repository, such as docs/serve.md"
        )
    if given.folder and given.folder.exists():
        parser.error(f"{given.folder} exists; name a new folder")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="edgetl-docs-"))
    failed = []
    try:
        workshop = Workshop(folder.resolve())
        for page in read_pages(given.pages):
            start = time.monotonic()
            good = workshop.page(page)
            failed += [] if good else [page.name]
            count = sum(not block.reason for block in page.blocks)
            print(
                f"{page.name}: {count} blocks {'run' if good else 'FAILED'}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    finally:
        if not given.folder:
            shutil.rmtree(folder)
    print(f"{len(failed)} pages failed: {', '.join(failed)}" if failed else "every block runs")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
