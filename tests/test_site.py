"""The documentation site: it builds without a warning, and every page is in its contents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site is built with MkDocs, which is in the group dev")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    """A page that is missing in the contents, and a link that leads nowhere, are warnings."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}


def test_the_reference_has_every_public_name(site: Path) -> None:
    """From the docstrings, with the signature of each method."""
    import edgetl

    text = (site / "reference.html").read_text(encoding="utf-8")
    names = [name for name in edgetl.__all__ if not name.startswith("_")]
    assert [name for name in names if not re.search(rf'id="[a-z_.]+\.{name}"', text)] == []
    assert re.search(r'id="[a-z_.]+\.Learner\.learn_one"', text)


def test_the_site_loads_nothing_from_another_server(site: Path) -> None:
    """It can be read without a network."""
    for name in ("index.html", "reference.html"):
        text = (site / name).read_text(encoding="utf-8")
        assert not [line for line in text.splitlines() if '<script src="http' in line or "fonts.g" in line], (
            name
        )


def test_links_out_of_the_documents_lead_to_the_repository(site: Path) -> None:
    """Such as to the results of the benchmarks, which are no page of the site."""
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "https://github.com/edgetl/edgetl/blob/main/benchmarks/RESULTS.md" in text


def test_pages_at_the_top_of_the_repository_are_pages_of_the_site(site: Path) -> None:
    """Links between them and docs/ stay in the site."""
    assert 'href="contributing.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert 'href="model-file.html"' in (site / "contributing.html").read_text(encoding="utf-8")
    assert 'href="deploy.html"' in (site / "changelog.html").read_text(encoding="utf-8")
    assert "blob/main/examples/hello.py" in (site / "examples.html").read_text(encoding="utf-8")
