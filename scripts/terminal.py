"""Draw the terminal pictures in docs/images from real sessions: ``python -m scripts.terminal MODEL``.

The commands run in a pseudo-terminal of 80 columns with a real model; only the photos are drawn (`scripts.still_life`). rich
exports what they print as SVG, once with the colors of a light and once with those of a dark terminal.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from device.learner import Learner
from scripts.still_life import draw, teach

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS = 80
_ACROSS = 12.2  # pixels of a character in what rich exports
SESSIONS = {  # name of the picture: what it shows, and the commands
    "terminal-teach": (
        "edgetl teach saves ten frames of a leaf, and edgetl run shows the probabilities of the labels as bars",
        (
            "edgetl teach kitchen.tflite leaf --camera leaf --frames 10",
            "edgetl run kitchen.tflite --camera table --frames 16",
        ),
    ),
    "terminal-status": (
        "edgetl status shows the samples and the recall per label, the estimated accuracy, and that mug and cup are mixed up",
        ("edgetl status workshop.tflite",),
    ),
}
# label: things with their numbers of photos
_KITCHEN = {"mug": {"mug": 26}, "lemon": {"lemon": 24}, "nut": {"nut": 20}}
_WORKSHOP = {"mug": {"mug": 24}, "cup": {"mug": 8, "nut": 6}, "lemon": {"lemon": 24}, "leaf": {"leaf": 20}}
_CAMERAS = {"leaf": ["leaf"] * 10, "table": ["mug"] * 5 + ["lemon"] * 5 + ["leaf"] * 5 + ["brick"]}
LIGHT = TerminalTheme(
    (255, 255, 255), (28, 36, 48),
    [(28, 36, 48), (207, 34, 46), (26, 127, 55), (154, 103, 0), (11, 102, 195), (130, 80, 223), (27, 124, 131),
     (91, 102, 117)],
)  # fmt: skip
DARK = TerminalTheme(
    (23, 28, 35), (232, 236, 241),
    [(46, 55, 66), (255, 123, 114), (88, 207, 160), (224, 192, 74), (98, 176, 255), (199, 155, 242), (118, 227, 234),
     (154, 166, 181)],
)  # fmt: skip
_CONTROL = re.compile(r"(\r\n|\r|\n|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[\d*A)")
_FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 WIDTH HEIGHT" role="img" aria-label="LABEL">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.card {{ fill: #ffffff; stroke: #e3e7ec; }}
{styles}
@media (prefers-color-scheme: dark) {{
.card {{ fill: #171c23; stroke: #2e3742; }}
DARK
}}
</style>
<defs>{lines}</defs>
<rect class="card" x="0.5" y="0.5" width="CARD_ACROSS" height="CARD_DOWN" rx="12"/>
<g class="{unique_id}-matrix" transform="translate(20, 16)">
{matrix}
</g>
</svg>
"""


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(prog="python -m scripts.terminal", description=__doc__)
    parser.add_argument("model", type=Path, help="Model file from `edgetl convert efficientnet-lite0`.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.model)
        for picture, (label, commands) in SESSIONS.items():
            path = IMAGES / f"{picture}.svg"
            path.write_text(to_svg(session(commands, folder), label), encoding="utf-8")
            print(f"{path}: {path.stat().st_size // 1024} kB")


def prepare(folder: Path, model: Path) -> None:
    """Teach two copies of the model, and write the photos that the commands use as cameras."""
    for name, plan in {"kitchen": _KITCHEN, "workshop": _WORKSHOP}.items():
        with Learner.open(shutil.copy(model, folder / f"{name}.tflite")) as learner:
            teach(learner, plan)
    for camera, things in _CAMERAS.items():
        (folder / camera).mkdir()
        for number, thing in enumerate(things):
            picture = cv2.cvtColor(draw(thing, 500 + number), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / camera / f"{number:02}.jpg"), picture)


def session(commands: Sequence[str], folder: Path) -> str:
    """Run commands in a folder, and return what the terminal shows at the end, with ANSI colors."""
    shown = [
        f"\x1b[2m$\x1b[0m \x1b[1m{command}\x1b[0m\n{final_screen(run(command, folder))}"
        for command in commands
    ]
    return "\n\n".join(shown)


def run(command: str, folder: Path) -> str:
    """Run an edgetl command in a pseudo-terminal, and return everything it writes.

    Raises:
        RuntimeError: It failed.
    """
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    words = [sys.executable, "-m", "edgetl", *shlex.split(command)[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(
        words, stdin=there, stdout=there, stderr=there, cwd=folder, env=environment
    ) as process:
        os.close(there)
        written = b"".join(iter(lambda: _read(here), b""))
    os.close(here)
    text = written.decode("utf-8", "replace")
    if process.returncode:
        raise RuntimeError(f"{command} ended with exit code {process.returncode}: {text[-500:]}")
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports that the other end was closed
        return b""


def final_screen(written: str) -> str:
    """Return what a terminal shows after a program wrote this: lines that were erased, such as progress, are gone.

    Example:
        >>> final_screen("0 %\\r\\x1b[2K100 %\\r\\nsaved\\r\\n")
        '100 %\\nsaved'
    """
    lines, row = [""], 0
    for piece in _CONTROL.split(written):
        if piece.endswith("\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece.startswith("\x1b[") and piece.endswith("A"):
            row = max(0, row - int(piece[2:-1] or 1))
        elif piece != "\r" and not piece.startswith("\x1b[?25"):
            lines[row] += piece
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


def to_svg(shown: str, label: str) -> str:
    """Return the picture of a screen, for light and dark.

    Args:
        shown: The text with ANSI colors.
        label: What a screen reader reads.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        console = Console(
            record=True, width=COLUMNS, file=nothing, force_terminal=True, color_system="truecolor"
        )
        console.print(Text.from_ansi(shown))
    name = "terminal"
    dark = console.export_svg(theme=DARK, code_format="{styles}", unique_id=name, clear=False)
    drawn = console.export_svg(theme=LIGHT, code_format=_FORMAT, unique_id=name)
    bottom = max(float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)"', drawn))
    size = {"WIDTH": round(_ACROSS * COLUMNS) + 40, "HEIGHT": round(bottom) + 40}
    card = {"CARD_ACROSS": size["WIDTH"] - 1, "CARD_DOWN": size["HEIGHT"] - 1}
    values = {"LABEL": label, "DARK": dark, **size, **card}
    return re.sub("|".join(sorted(values, reverse=True)), lambda found: str(values[found[0]]), drawn)


if __name__ == "__main__":
    main()
