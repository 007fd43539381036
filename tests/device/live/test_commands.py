"""Commands run for the label in view; none delays the camera."""

from __future__ import annotations

import json
import os
import queue
from pathlib import Path

import pytest

from device.errors import PeripheralError
from device.live.commands import LINES, WIDTH, CommandHook

from .seen import observation

PATIENCE = 30.0
EMULATED = os.environ.get("EDGETL_EMULATED") == "1"  # set in the virtual Pi


class Script:
    """A shell script that reports its start and waits until the test lets it end.

    Attributes:
        path: The script.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._begun, self._go = folder / "script.sh", folder / "begun", folder / "go"
        os.mkfifo(self._begun)
        os.mkfifo(self._go)
        self.path.write_text(f'#!/bin/sh\necho "$EDGETL_LABEL" > {self._begun}\nread answer < {self._go}\n')
        self.path.chmod(0o755)

    def begun(self) -> str:
        """Wait for the next run; return its label."""
        return self._begun.read_text().strip()

    def go_on(self) -> None:
        """Let the waiting run end."""
        self._go.write_text("\n")


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A script in a folder of this test."""
    return Script(tmp_path)


def test_a_change_while_the_command_runs_is_not_lost(script: Script) -> None:
    """The last run is for the label in view; labels that came and went meanwhile have no run."""
    hook = CommandHook("*", str(script.path), every=0.0)
    hook.update(observation("red"))
    assert script.begun() == "red"
    for label in ("blue", "green", "blue"):
        hook.update(observation(label))
    script.go_on()
    assert script.begun() == "blue"
    script.go_on()
    hook.close(PATIENCE)


def test_a_change_within_the_minimum_time_runs_afterwards(script: Script) -> None:
    """Not earlier, and also when no further frame arrives."""
    now = [0.0]
    hook = CommandHook("*", str(script.path), every=60.0, clock=lambda: now[0])
    hook.update(observation("red"))
    assert script.begun() == "red"
    script.go_on()
    hook.update(observation("blue"))
    now[0] = 30.0
    hook.wake()
    hook.update(observation("green"))
    now[0] = 61.0
    hook.wake()
    assert script.begun() == "green"
    script.go_on()
    hook.close(PATIENCE)


def test_a_command_runs_only_for_its_label(tmp_path: Path) -> None:
    """The environment has the observation and no secrets."""
    hook = CommandHook("mug", f"env > {tmp_path}/mug", shell=True)
    other = CommandHook("bowl", f"touch {tmp_path}/bowl")
    os.environ["EDGETL_WEBHOOK"] = "http://u:s3cret@host/"
    try:
        for each in (hook, other):
            each.update(observation("mug"))
            each.close(PATIENCE)
    finally:
        del os.environ["EDGETL_WEBHOOK"]
    text = (tmp_path / "mug").read_text()
    variables = dict(line.partition("=")[::2] for line in text.splitlines())
    assert variables["EDGETL_LABEL"] == "mug"
    assert json.loads(variables["EDGETL_OBSERVATION"])["label"] == "mug"
    assert "s3cret" not in text
    assert not (tmp_path / "bowl").exists()


def test_a_star_means_every_change(tmp_path: Path) -> None:
    """Unknown included."""
    hook = CommandHook("*", f"touch {tmp_path}/touched", every=0.0)
    hook.update(observation("unknown"))
    hook.close(PATIENCE)
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("command", "remark"),
    [
        ("false", "the command 'false' ended with exit code 1"),
        ("/bin/sh -c 'kill -9 $$'", "the command \"/bin/sh -c 'kill -9 $$'\" was ended by SIGKILL"),
    ],
)
def test_a_command_that_fails_is_reported(command: str, remark: str) -> None:
    """With its exit code or signal."""
    remarks: list[str] = []
    hook = CommandHook("mug", command, notice=remarks.append)
    hook.update(observation("mug"))
    hook.close(PATIENCE)
    assert remarks == [remark]


def test_the_output_of_a_command_is_shown_with_controls_and_passwords_hidden() -> None:
    """Stdout and stderr, after the label."""
    remarks: list[str] = []
    words = "printf 'ding\\033[2J\\n'; echo http://u:s3cret@host/ >&2"
    hook = CommandHook("mug", words, shell=True, notice=remarks.append)
    hook.update(observation("mug"))
    hook.close(PATIENCE)
    assert remarks == ["[mug] ding\\u001b[2J", "[mug] http://u:***@host/"]


def test_long_output_of_a_command_is_cut_and_does_not_block_it() -> None:
    """More lines than a pipe can buffer are read, and a few are shown."""
    remarks: list[str] = []
    command = "i=0; while [ $i -lt 3000 ]; do echo line $i of a command that goes on and on; i=$((i+1)); done"
    hook = CommandHook("mug", f"printf '%01000d\\n' 0; {command}", shell=True, notice=remarks.append)
    hook.update(observation("mug"))
    hook.close(PATIENCE)
    assert len(remarks) == LINES + 1
    assert len(remarks[0]) <= WIDTH + len("[mug] ...")
    assert "not shown" in remarks[-1]


def test_a_program_left_in_the_background_does_not_delay_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command has ended, even if its output is still open."""
    monkeypatch.setattr("device.live.commands._OUTPUT_SECONDS", 0.05)
    fifo, runs = tmp_path / "fifo", queue.Queue[str]()
    os.mkfifo(fifo)
    hook = CommandHook("*", f"read line < {fifo} & echo started", shell=True, every=0.0, notice=runs.put)
    for label in ("red", "blue"):
        hook.update(observation(label))
        assert runs.get(timeout=PATIENCE) == f"[{label}] started"
    hook.close(PATIENCE)
    handle = os.open(fifo, os.O_RDWR)
    os.write(handle, b"\n\n")
    os.close(handle)


def test_a_command_that_is_missing_at_run_time_is_tried_again(tmp_path: Path) -> None:
    """Its file may be on a disk that is not mounted yet."""
    script, remarks, now = tmp_path / "ring.sh", queue.Queue[str](), [0.0]
    script.write_text("#!/bin/sh\necho ding\n")
    script.chmod(0o755)
    hook = CommandHook("mug", str(script), notice=remarks.put, clock=lambda: now[0])
    text = script.read_text()
    script.unlink()
    hook.update(observation("mug"))
    remark = remarks.get(timeout=PATIENCE)
    if EMULATED and "ended with exit code 127" in remark:
        pytest.skip(
            "Python 3.13 starts programs with posix_spawn, and qemu's vfork does not report a missing file"
        )
    assert "cannot be started: No such file" in remark
    script.write_text(text)
    script.chmod(0o755)
    now[0] = 5.0
    hook.wake()
    assert remarks.get(timeout=PATIENCE) == "[mug] ding"
    assert "works again" in remarks.get(timeout=PATIENCE)
    hook.close(PATIENCE)


@pytest.mark.parametrize(
    ("command", "message"),
    [("", "empty"), ("no-such-program", "no command"), ("echo 'open", "quoted")],
)
def test_a_command_that_cannot_run_is_refused(command: str, message: str) -> None:
    """Before the first frame."""
    with pytest.raises(PeripheralError, match=message):
        CommandHook("mug", command)
