"""Read the command and Python blocks of the documents, and make them fit for a machine without a camera.

A block is run as it stands on the page. Above a block that cannot be run here, the page has a comment with the reason:

    <!-- not run: needs a Raspberry Pi -->

Only what a test cannot have is replaced, by `SUBSTITUTIONS`: cameras by the fake one, receivers by addresses of this machine,
long measurements by short ones. A page that needs another extra than `device` names its extras in a line of its own, such as
"Needs the extras `device`, `serve`.", and a block with needs of its own has them in a comment; what is no extra is a package:

    <!-- needs: host, scikit-learn -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = {"console", "bash", "python", "py"}

_BLOCK = re.compile(
    r"(?:^<!-- (?:not run: (?P<reason>[^\n]+)|needs: (?P<needs>[^\n]+)) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
GENERATED = re.compile(r"<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Language and contents of a block of any kind."""

_NEEDS = re.compile(r"^Needs the extras? (.*)\.$", re.MULTILINE)

# pattern of a line, what it becomes, and why
SUBSTITUTIONS = (
    (r"~/edgetl/bin/(?=edgetl )", "", "the environment is entered"),
    (r"--camera (\w+=)?(?:0|picamera2|rtsp://\S+)(?!\S)", r"--camera \1{camera}", "no camera here"),
    (r"^(edgetl teach .*)$", r"\1 --countdown 0 --every 0 --frames 4", "no person waits here"),
    (r"^(edgetl (?:run|buttons) (?!.*--frames).*)$", r"\1 --frames 3", "a run ends with Ctrl-C"),
    (r"^(edgetl finetune (?!.*--compare).*)$", r"\1 --epochs 1 --head-epochs 5", "a long training"),
    (r"--workers 8", "--workers 1", "two cores are enough here"),
    (r"--minutes 40", "--minutes 0.2", "a long training"),
    (
        r"^(edgetl (?:convert|finetune) (?!.*--force).*--out .*)$",
        r"\1 --force",
        "what later blocks name is there already",
    ),
    (r"open_camera\(\"0\"\)", 'open_camera("fake:mug")', "no camera here"),
    (r"--seconds 60", "--seconds 1", "a long measurement"),
    (r"--frames (?:200|40)", "--frames 3", "a long measurement"),
    (r"^(edgetl bench (?!compare)(?!.*--frames)[^>]*?)( > \S+)?$", r"\1 --frames 3\2", "a long measurement"),
    (r"--samples 50,200,1000(?:,10000)?", "--samples 6,12", "a long measurement"),
    (
        r"^(edgetl bench (?!compare)[^>]*?)( > \S+)?$",
        r"\1 --warm-up 1 --cold-starts 0 --lessons 2\2",
        "a long measurement",
    ),
    (r"--since 14:30", "--since 00:00", "it may be before 14:30"),
    (r"^curl ", "curl --fail-with-body --silent --show-error ", "an error has to be one here"),
    (r"^(curl .*-N .*)$", r"timeout 2 \1 || true", "it ends with Ctrl-C"),
    (r"^edgetl serve (?!.*--port)(.*)$", r"edgetl serve \1 --port 8080", "the port is in the next blocks"),
    (r"(?<=localhost:)8080|(?<=127\.0\.0\.1:)8080|(?<=--port )8080", "{port}", "the port may be in use here"),
    (r"--host 0.0.0.0", "--host 127.0.0.1", "no test opens a port to the network"),
    (r"https://host/hook", "http://127.0.0.1:9/hook", "no receiver: this is reported, and the run continues"),
    (r"mqtt://broker/", "mqtt://127.0.0.1:9/", "no broker: this is reported, and the run continues"),
    (r"/media/frigate", "media/frigate", "no Frigate here"),
)


@dataclass(frozen=True)
class Block:
    """A block of commands or Python.

    Attributes:
        page: Its page, relative to the repository.
        line: Line of its first line in the page, from 1.
        language: "console", "bash", "python" or "py".
        text: Its contents.
        needs: The extras and packages that it needs.
        reason: Why it is not run; empty if it is run.
    """

    page: str
    line: int
    language: str
    text: str
    needs: tuple[str, ...]
    reason: str

    @property
    def is_python(self) -> bool:
        """Whether it contains Python."""
        return self.language in ("python", "py")

    def lines(self) -> list[str]:
        """Return the commands without comments; a line that ends in a backslash continues in the next one."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line for line in map(_without_comment, joined.splitlines()) if line]


@dataclass(frozen=True)
class Page:
    """A page with its blocks.

    Attributes:
        name: Path relative to the repository.
        blocks: Its blocks in the order of the page.
    """

    name: str
    blocks: tuple[Block, ...]


def _without_comment(line: str) -> str:
    words = re.split(r"\s+#\s", line, maxsplit=1)[0].strip()
    return "" if words.startswith("#") else words


def read_page(path: Path) -> Page:
    """Return the blocks of a page that a reader would type; generated help pages are none."""
    text = GENERATED.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix()
    needs = _NEEDS.search(text)
    extras = tuple(re.findall(r"`([\w-]+)`", needs[1])) if needs else ("device",)
    blocks = []
    for found in _BLOCK.finditer(text):
        if found["language"] in RUN:
            line = text[: found.start("text")].count("\n") + 1
            own = tuple(found["needs"].split(", ")) if found["needs"] else extras
            blocks.append(Block(name, line, found["language"], found["text"], own, found["reason"] or ""))
    return Page(name, tuple(blocks))


def read_pages(names: Iterable[str] = ()) -> list[Page]:
    """Return the pages of the documentation with blocks, or those named."""
    paths = [ROOT / name for name in names] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in map(read_page, paths) if page.blocks]


def adapt(line: str, port: int) -> str:
    """Return a command for a machine without cameras and receivers; see `SUBSTITUTIONS`."""
    words = line.split()
    label = shlex.quote(words[3]) if words[:2] == ["edgetl", "teach"] and not words[3].startswith("-") else ""
    camera = f"fake:{label}" if label else "fake:mug*3,bowl*3"
    for pattern, replacement, _ in SUBSTITUTIONS:
        line = re.sub(pattern, replacement.replace("{camera}", camera).replace("{port}", str(port)), line)
    return line
