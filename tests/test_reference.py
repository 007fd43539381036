"""The reference in docs/ is complete: environment variables, requests of the HTTP API, and fields of the file formats."""

from __future__ import annotations

import json
import re
from pathlib import Path

from device.model.manifest import Manifest
from device.model.preprocess import Preprocessing
from scripts.options_page import commands, options

ROOT = Path(__file__).resolve().parents[1]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for package in ("device", "edgetl", "converters")
    for path in (ROOT / package).rglob("*.py")
)


def page(name: str) -> str:
    """Return a page of the documentation."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_every_environment_variable_of_edgetl_is_documented() -> None:
    """And no variable is documented that nothing reads. Those of a fleet are passed from one process of edgetl to another."""
    read = {
        name for name in re.findall(r"\bEDGETL_[A-Z_]+\b", SOURCES) if not name.startswith("EDGETL_FLEET_")
    }
    written = set(re.findall(r"`(EDGETL_[A-Z_]+)`", page("environment")))
    assert len(read) > 10
    assert written == read


def test_every_request_of_the_http_api_is_documented() -> None:
    """The table of docs/http-api.md names each path and method of openapi.json."""
    api = json.loads((ROOT / "device" / "page" / "openapi.json").read_text(encoding="utf-8"))
    text = page("http-api")
    missing = []
    for path, methods in api["paths"].items():
        shown = path.removeprefix("/api/v1").replace("{id}", "ID")
        for method in methods.keys() - {"parameters"}:
            in_table = rf"`{method.upper()} {re.escape(shown)}[`?]"
            in_block = rf"/api/v1{re.escape(shown)}\b"  # as the token, which has a section of its own
            missing += [] if re.search(f"{in_table}|{in_block}", text) else [f"{method} {path}"]
    assert missing == []


def test_every_field_of_a_manifest_is_documented() -> None:
    """Other programs read edgetl.json by docs/model-file.md."""
    text = page("model-file")
    fields = {*Manifest.__dataclass_fields__, *Preprocessing.__dataclass_fields__}
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []


def test_every_command_and_option_is_in_the_reference() -> None:
    """Also the commands inside of groups, such as `label rename`."""
    headings = page("commands")
    assert [name for name, _ in commands() if f"### edgetl {name}\n" not in headings] == []
    rows = re.findall(r"^\| `(-[^`]+)` \|", page("options"), re.MULTILINE)
    assert sorted(rows) == sorted(option.replace("|", "/") for option, _ in options())
