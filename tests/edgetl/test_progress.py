"""Progress in a pipe or a log file, and the summary of teaching many labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from device.cameras.fake import draw
from device.images import encode_jpeg, thumbnail_pixels
from edgetl.cli import main
from edgetl.commands import progress
from edgetl.commands.progress import Lines
from edgetl.commands.session import counted, counted_with_hidden
from tests.tiny import TINY


class Clock:
    """A clock of the test."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def test_a_long_task_writes_a_line_now_and_then_with_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every ten seconds at first, and later when a tenth of the time has passed again."""
    clock = Clock()
    show = Lines(ends=False, clock=clock)
    for done in range(1, 1001):
        clock.now += 0.5
        show("Teaching photos", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Teaching photos: 21 of 1000, 2%, about 8 min left"
    assert lines[-1] == "Teaching photos: done in 499.5 s"
    assert 20 < len(lines) < 35


def test_a_short_task_writes_only_its_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing where they are not wanted."""
    for ends, written in ((True, ["Read ...", "Read: done in 4.0 s"]), (False, [])):
        clock = Clock()
        show = Lines(ends=ends, clock=clock)
        for done in range(5):
            show("Read", done, 4)
            clock.now += 1.0
        assert capsys.readouterr().err.splitlines() == written


def test_a_task_without_a_total_writes_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no time left to estimate."""
    clock = Clock()
    show = Lines(ends=False, clock=clock)
    show("Reading", 0, None)
    clock.now = 5000.0
    show("Reading", 7, None)
    assert capsys.readouterr().err == "Reading: 7 after 1 h 23 min\n"


def test_many_labels_are_summed_up() -> None:
    """Negatives and background come last, in every command."""
    assert counted({"b": 2, "a": 1}) == "a 1, b 2"
    assert (
        counted({f"{number:02d}": 5 + number % 2 for number in range(43)})
        == "236 samples of 43 labels, 5 to 6 each"
    )
    assert counted_with_hidden({"a": 1}, {"a": 2}, 3) == "a 1, not a 2, background 3"
    denied = {f"{number:02d}": 1 for number in range(9)}
    assert counted_with_hidden({}, denied, 0) == "9 negatives of 9 labels, 1 each"
    assert counted_with_hidden({}, {}, 0) == "nothing"


def test_a_folder_with_43_labels_ends_in_a_short_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line fits in a terminal; a pipe gets the progress with the time left."""
    monkeypatch.setattr(progress, "_FIRST_LINE", 0.0)
    model = Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))
    for number in range(43):
        folder = tmp_path / "photos" / f"a thing with number {number:02d}"
        folder.mkdir(parents=True)
        photo = encode_jpeg(thumbnail_pixels(draw(folder.name, number)))
        (folder / "one.jpg").write_bytes(photo)
    done = CliRunner().invoke(main, ["teach", str(model), "--photos", str(tmp_path / "photos")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("43 samples of 43 labels, 1 each (samples 1-43).")
    assert "Taught in total: 43 samples of 43 labels, 1 each." in lines
    assert len(lines) <= 6
    assert max(map(len, lines[1:-1])) <= 100
    shown = [line for line in done.stderr.splitlines() if line.startswith("Teaching photos: ")]
    assert any("of 43, " in line and line.endswith(" left") for line in shown)
