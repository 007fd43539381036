"""Rules of this repository: the direction of imports, the cost of start-up, and what every command must show."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgetl.cli import SECTIONS, main

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"tensorflow", "keras", "scipy", "pandas", "matplotlib", "sklearn"}
MAY_IMPORT = {  # package -> the other packages of this repository that it may import
    "device": set[str](),
    "converters": {"device"},
    "edgetl": {"device", "converters"},
}
ROOMS = {  # room of `device` -> the rooms it may import; modules in the root are the ground, which imports no room
    "model": {"ground"},
    "store": {"ground"},
    "cameras": {"ground"},
    "heads": {"ground", "model"},
    "learner": {"ground", "model", "store", "heads"},
    "fleet": {"ground", "model", "store", "heads", "learner"},
    "live": {"ground", "model", "store", "cameras", "heads", "learner"},
    "system": {"ground", "model", "store", "cameras", "heads", "learner"},
    "page": {"ground", "model", "store", "cameras", "heads", "learner", "live", "system"},
}
OURS = {*MAY_IMPORT, "benchmarks", "tests"}
# packages that a command's module may not import: only click, light modules of edgetl and the standard library
START_UP_BLOCKED = {
    *HEAVY,
    "numpy",
    "cv2",
    "ai_edge_litert",
    "tflite_runtime",
    "rich",
    "flatbuffers",
    "starlette",
    "uvicorn",
    "gpiozero",
    "paho",
    "cryptography",
}
ALLOWED_UNPICKLERS = {"weights.py"}  # restricted: it refuses all globals except four
WITHOUT_JSON = {"serve", "buttons"}  # they run until they are stopped
COMMANDS = [name for names in SECTIONS.values() for name in names]


def modules(package: str) -> Iterator[Path]:
    """Return the source files of a package of this repository."""
    return (REPOSITORY / package).rglob("*.py")


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return the top-level packages that a source file imports, without those of TYPE_CHECKING blocks."""
    found = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")), top_level_only):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def _statements(tree: ast.AST, top_level_only: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if not (top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from _statements(node, top_level_only)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_in_one_direction(package: str) -> None:
    """`device` imports no other package, `converters` only `device`, and none the benchmarks or tests."""
    forbidden = OURS - MAY_IMPORT[package] - {package}
    wrong = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules(package)
        if (bad := imports(path) & forbidden)
    }
    assert wrong == {}


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms of `device` that a module of `device` imports, without its own."""
    parts = path.relative_to(REPOSITORY).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = [*parts[: len(parts) - node.level], *(node.module or "").split(".")]
            found.add(target[1] if target[1] in ROOMS else "ground")
    return found - {room_of(path)}


def room_of(path: Path) -> str:
    """Return the room of `device` that contains a module; modules in its root are the ground."""
    parts = path.relative_to(REPOSITORY / "device").parts
    return parts[0] if len(parts) > 1 else "ground"


def test_every_folder_of_device_is_a_room() -> None:
    """A new room needs an entry in `ROOMS`."""
    assert {room_of(path) for path in modules("device")} == {"ground", *ROOMS}


@pytest.mark.parametrize("room", ["ground", *ROOMS])
def test_the_rooms_of_device_import_in_one_direction(room: str) -> None:
    """Lower rooms never import higher ones, so that each can be read and tested without those above it."""
    wrong = {
        str(path.relative_to(REPOSITORY)): bad
        for path in modules("device")
        if room_of(path) == room and (bad := rooms_imported(path) - ROOMS.get(room, set()))
    }
    assert wrong == {}


def test_the_device_never_imports_the_heavy_libraries() -> None:
    """This includes imports inside functions, because none of them is installed on a Pi."""
    wrong = {path.name: bad for path in modules("device") if (bad := imports(path) & HEAVY)}
    assert wrong == {}


@pytest.mark.parametrize("package", ["edgetl", "converters"])
def test_heavy_libraries_are_imported_only_when_used(package: str) -> None:
    """Importing TensorFlow takes seconds and half a gigabyte of RAM."""
    wrong = {
        path.name: bad for path in modules(package) if (bad := imports(path, top_level_only=True) & HEAVY)
    }
    assert wrong == {}


def test_no_file_has_the_marks_of_a_merge_conflict() -> None:
    """Git does not refuse to commit them."""
    marks = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    texts = [path for pattern in ("*.md", "*/*.md", "*.toml") for path in REPOSITORY.glob(pattern)]
    assert [path.name for path in texts if marks.search(path.read_text())] == []


def test_no_package_uses_pickle() -> None:
    """A model file or state file from someone else must not be able to run code."""
    for package in MAY_IMPORT:
        for path in modules(package):
            source = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in source, path
            if path.name not in ALLOWED_UNPICKLERS:
                assert not imports(path) & {"pickle", "dill", "joblib"}, path


BLOCKED_HELP = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked in this test")

sys.meta_path.insert(0, Block())
sys.argv = ["edgetl", *{arguments!r}]
from edgetl.cli import main
try:
    main()
except SystemExit as stopped:
    loaded = sorted({{name.partition(".")[0] for name in sys.modules}} & set({blocked!r}))
    assert not loaded, loaded
    raise
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_needs_no_heavy_package(arguments: list[str]) -> None:
    """`edgetl --help` imports neither TensorFlow nor NumPy nor OpenCV nor a runtime, and works without them."""
    program = BLOCKED_HELP.format(blocked=START_UP_BLOCKED, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "edgetl" in done.stdout


def test_the_public_names_are_imported_lazily() -> None:
    """`import edgetl` imports none of their modules."""
    program = f"import edgetl, sys; print(sorted({{n.partition('.')[0] for n in sys.modules}} & {START_UP_BLOCKED!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def command(name: str) -> click.Command:
    """Return the click command with this name."""
    found = main.get_command(click.Context(main), name)
    assert isinstance(found, click.Command)
    return found


def pages(name: str) -> list[tuple[str, click.Command]]:
    """Return a command, and the commands inside it if it is a group, by their full names."""
    found = command(name)
    inner = found.commands.items() if isinstance(found, click.Group) else ()
    return [(name, found), *((f"{name} {sub}", inside) for sub, inside in inner)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_has_an_example_of_its_command(name: str) -> None:
    """The example can be typed: it starts with the name of the command."""
    for full, _ in pages(name):
        done = CliRunner().invoke(main, [*full.split(), "--help"], prog_name="edgetl")
        assert done.exit_code == 0, done.output
        head, _, example = done.output.partition("Example")
        assert example, f"edgetl {full} --help shows no example"
        assert f"edgetl {name}" in example.partition("Options:")[0], full
        assert head.strip(), full


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_writes_json(name: str) -> None:
    """Each command has `--json`, or names the option for its machine-readable result."""
    for full, found in pages(name):
        if isinstance(found, click.Group):
            continue
        options = {option for parameter in found.params for option in parameter.opts}
        assert "--json" in options or full in WITHOUT_JSON, full


def test_every_command_file_is_listed() -> None:
    """A command that is not in `SECTIONS` cannot be called."""
    files = {path.stem for path in (REPOSITORY / "edgetl" / "commands").glob("*.py")}
    assert files - {"__init__", "options"} >= set(COMMANDS)


def test_every_command_is_documented() -> None:
    """README or a page in docs/ names each command."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
        if path.exists()
    )
    assert [name for name in COMMANDS if f"edgetl {name}" not in text] == []


def test_packages_are_marked_as_typed() -> None:
    """Each package contains py.typed."""
    assert all((REPOSITORY / package / "py.typed").is_file() for package in MAY_IMPORT)


def test_no_comment_makes_the_formatter_split_a_line() -> None:
    """A comment that makes a line too long belongs above it; otherwise it follows a bracket, or stands in brackets of its own."""
    ignored = r"(?! (?:noqa|fmt|type): )"
    broken = re.compile(
        rf"^ *[])}}]+(?: as \w+)?:? +#{ignored}|\($\n *[^#\n]*[^#\s,(]  #{ignored}[^\n]*\n *\)$",
        re.MULTILINE,
    )
    found = []
    for path in (path for package in (*OURS, "scripts") for path in modules(package)):
        text = path.read_text(encoding="utf-8")
        lines = [text[: match.end()].count("\n") + 1 for match in broken.finditer(text)]
        found += [f"{path.relative_to(REPOSITORY)}:{line}" for line in lines]
    assert found == []
