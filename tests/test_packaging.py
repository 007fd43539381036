"""The contents of the wheel, and the packages that a device installs with it."""

from __future__ import annotations

import email.parser
import importlib.util
import re
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = {"edgetl", "converters", "device"}
HOST_ONLY = ("tensorflow", "keras", "matplotlib", "scipy", "pandas", "scikit-learn", "torch")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built with the build backend, without a network or an isolated environment."""
    for module in ("hatchling", "hatch_fancy_pypi_readme"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (pip install hatchling hatch-fancy-pypi-readme)")
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    path = next(WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"]))
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Return the METADATA of the wheel."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(wheel.read(name).decode())


def requirements(metadata: Message, extra: str | None) -> list[str]:
    """Return the requirements of the wheel itself, or those that `extra` adds."""
    found = []
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        wanted = f"extra == '{extra}'" in marker.replace('"', "'") if extra else "extra" not in marker
        if wanted:
            found.append(requirement.strip())
    return found


def test_the_wheel_contains_exactly_three_packages(wheel: zipfile.ZipFile) -> None:
    """`converters` and `device` are common words, so nothing else may be installed beside them."""
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_contains_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """It contains the sources, py.typed and the page's files, and no files of a compiler or an editor."""
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed


def test_the_page_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    """The page works in an installation, not only in a checkout."""
    assert [name for name in wheel.namelist() if name.startswith("device/") and name.endswith(".html")]


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    """It installs one script, `edgetl`."""
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "edgetl = edgetl.cli:main" in wheel.read(name).decode()


def test_the_wheel_is_for_every_machine(wheel: zipfile.ZipFile) -> None:
    """It is pure Python: laptop and Pi install the same file."""
    assert wheel.filename is not None
    assert wheel.filename.endswith("py3-none-any.whl")


@pytest.mark.parametrize("extra", [None, "device", "tflite-runtime"])
def test_a_device_installs_no_package_of_the_host(metadata: Message, extra: str | None) -> None:
    """TensorFlow and similar packages belong to `[host]`."""
    names = " ".join(requirements(metadata, extra)).lower()
    assert not [name for name in HOST_ONLY if name in names]


def test_the_device_extra_is_a_runtime_and_opencv(metadata: Message) -> None:
    """It has two packages with aarch64 wheels; another one needs a reason."""
    names = {
        requirement.split(">")[0].split("<")[0].split("=")[0]
        for requirement in requirements(metadata, "device")
    }
    assert names == {"ai-edge-litert", "opencv-python-headless"}


def test_every_requirement_has_bounds(metadata: Message) -> None:
    """It has a tested lower bound and an upper bound before the next breaking release, or an exact pin."""
    loose = [
        line
        for line in metadata.get_all("Requires-Dist", [])
        if "==" not in line.partition(";")[0] and not (">=" in line and "<" in line.partition(";")[0])
    ]
    assert loose == []


def test_every_link_of_the_description_is_absolute_and_leads_to_a_file(metadata: Message) -> None:
    """PyPI shows README.md outside of the repository, where a relative link or picture leads nowhere."""
    description = str(metadata.get_payload())
    shown = re.sub(r"^```.*?^```$", "", description, flags=re.MULTILINE | re.DOTALL)
    found = [a or b for a, b in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", shown)]
    assert len(found) > 20
    assert [link for link in found if not link.startswith(("https://", "#", "mailto:"))] == []
    assert "<!--" not in description
    version, homepage = metadata["Version"], addresses()["Homepage"]
    raw = homepage.replace("https://github.com/", "https://raw.githubusercontent.com/")
    own = [link for link in found if link.startswith((homepage, raw))]
    paths = [re.sub(rf"^({homepage}/blob|{raw})/v{version}/|#.*$", "", link) for link in own if "/v" in link]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    assert any(path.startswith("docs/images/") for path in paths)


def addresses() -> dict[str, str]:
    """Return the addresses of the project in pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project["urls"])


def test_the_address_of_the_repository_is_the_same_everywhere() -> None:
    """`Homepage` in pyproject.toml is the address; a fork changes it there and runs this test to find the others."""
    repository = addresses()["Homepage"].removeprefix("https://github.com/")
    pattern = re.compile(r"https://(?:github\.com|raw\.githubusercontent\.com)/([\w.-]+/edgetl)\b")
    folders = ("*", "docs/*.md", "device/**/*.py", "edgetl/**/*.py", "scripts/*.py", ".github/**/*")
    for path in sorted({path for pattern in folders for path in REPOSITORY.glob(pattern) if path.is_file()}):
        for name in pattern.findall(path.read_text(encoding="utf-8", errors="replace")):
            assert name == repository, f"{path.relative_to(REPOSITORY)} names {name}"
