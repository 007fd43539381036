"""The commands with a learner, as they are typed: results on stdout, the rest on stderr, no tracebacks."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner, Result

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner
from device.store import NewSample
from edgetl.cli import main

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "tiny.tflite"
TAUGHT = ROOT / "tests" / "data" / "tiny_taught.tflite"


def edgetl(*words: object) -> Result:
    """Run a command and return its result."""
    return CliRunner().invoke(main, [str(word) for word in words])


def asked(*words: object) -> Any:
    """Run a command that must succeed, with --json, and return what it wrote."""
    done = edgetl(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file in its own folder, so that the default state file is beside it."""
    return Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))


@pytest.fixture
def taught(model: Path) -> Path:
    """The same model, taught two labels."""
    for scene in ("red", "blue"):
        asked("teach", model, scene, "--camera", f"fake:{scene}", "--frames", 5)
    return model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos, one subfolder per label."""
    for scene in ("red", "Grün & blau"):
        folder = tmp_path / "photos" / scene
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.jpg").write_bytes(encode_jpeg(draw(scene, number)))
    return tmp_path / "photos"


def test_a_burst_teaches_frames_and_shows_what_was_saved(model: Path) -> None:
    """Each frame is a sample; the state file is beside the model unless it is named."""
    result = asked("teach", model, "mug", "--camera", "fake:red", "--frames", 3)
    assert (result["taught"], result["ids"], result["samples"]) == ({"mug": 3}, [1, 2, 3], {"mug": 3})
    assert result["state"] == str(model.with_suffix(".db"))
    said = edgetl("teach", model, "bowl", "--camera", "fake:blue", "--frames", 2)
    assert "bowl 2 (samples 4-5)" in said.stdout
    assert f"edgetl forget {model} --last" in said.stdout


def test_the_undo_command_that_teach_prints_reverts_everything(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    """Each photo of a folder is a separate burst; another state file is named in the command."""
    state = tmp_path / "my state.db"
    said = edgetl("teach", model, "--photos", photos, "--state", state)
    reported = re.search(r"Not what you meant\? edgetl (.*)", said.stdout)
    assert reported is not None
    assert edgetl(*shlex.split(reported[1])).exit_code == 0
    assert asked("status", model, "--state", state)["samples"] == {}


def test_the_burst_ends_when_the_source_ends(model: Path) -> None:
    """The frames before the end are taught."""
    assert asked("teach", model, "mug", "--camera", "fake:red*4,end")["taught"] == {"mug": 4}


def test_a_folder_of_photos_is_taught_by_its_subfolders_and_only_once(model: Path, photos: Path) -> None:
    """A second run skips known photos; a text file named .jpg is reported and skipped."""
    (photos / "red" / "notes.jpg").write_text("not a photo")
    first = edgetl("teach", model, "--photos", photos, "--json")
    assert json.loads(first.stdout)["taught"] == {"Grün & blau": 4, "red": 4}
    assert "notes.jpg" in first.stderr
    again = asked("teach", model, "--photos", photos)
    assert (again["taught"], again["known_already"]) == ({}, 8)
    assert asked("teach", model, "--photos", photos, "--again")["samples"] == {"Grün & blau": 8, "red": 8}


def test_a_folder_without_subfolders_needs_a_label(model: Path, photos: Path) -> None:
    """All its photos get this label."""
    done = edgetl("teach", model, "--photos", photos / "red")
    assert (done.exit_code, "add a LABEL" in done.stderr) == (2, True)
    assert asked("teach", model, "rot", "--photos", photos / "red")["taught"] == {"rot": 4}


def test_keys_teach_several_labels_and_undo(model: Path) -> None:
    """Digits teach the frame in view, u undoes, an unknown key is reported, q ends."""
    command = [sys.executable, "-m", "edgetl", "teach", str(model), "--camera", "fake:red", "--json"]
    command += ["--keys", "mug,bowl"]
    done = subprocess.run(
        command, cwd=ROOT, input="112u29q", capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["taught"] == {"bowl": 1, "mug": 2}
    assert "[1] mug  [2] bowl" in done.stderr
    assert "undid bowl (sample 3)" in done.stderr
    assert "no label on key '9'" in done.stderr


def test_keys_are_read_without_enter_and_the_terminal_is_restored(model: Path) -> None:
    """On a pseudo-terminal."""
    import termios

    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    command = [sys.executable, "-m", "edgetl", "teach", str(model), "--keys", "mug", "--camera", "fake:red"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    assert b"[1] mug" in process.stderr.readline()
    os.write(leader, b"1")
    assert b"taught mug (sample 1)" in process.stderr.readline()
    os.write(leader, b"q")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, b"Saved in" in out) == (0, True)
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    os.close(follower)


def test_messages_are_written_above_the_live_table(taught: Path) -> None:
    """Drift is reported while the table is shown."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "edgetl", "run", str(taught), "--camera", "fake:green*40,end"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    written = b""
    with contextlib.suppress(OSError):  # how a terminal ends that nobody writes to any more
        while some := os.read(leader, 65536):
            written += some
    os.close(leader)
    assert process.wait(timeout=60) == 0
    shown = written.decode()
    before, _, after = shown.partition("Most of the last frames")
    assert after
    assert "frame 39" in after
    assert before.endswith("\x1b[2K")  # the table was taken away first, and is drawn anew below


def test_interrupting_a_burst_shows_what_was_saved(model: Path) -> None:
    """Ctrl-C exits with 130; acknowledged samples stay."""
    command = [sys.executable, "-m", "edgetl", "teach", str(model), "--keys", "mug", "--camera", "fake:red"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, cwd=ROOT, stdin=follower, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    os.write(leader, b"1")
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 130
    assert "Interrupted. Saved in" in said
    assert "Traceback" not in said
    assert asked("status", model)["samples"] == {"mug": 1}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["teach", "MODEL"], 2, "expected one of: a LABEL"),
        (["teach", "MODEL", "mug", "--keys", "a"], 2, "expected one of"),
        (["teach", "MODEL", " ", "--camera", "fake"], 1, "must not be empty"),
        (["teach", "MODEL", "mug", "--camera", "nowhere.mp4"], 1, "there is no camera"),
        (["teach", "nowhere.tflite", "mug"], 1, "there is no model file"),
        (["run", "MODEL", "--camera", "fake"], 1, "edgetl teach"),
        (["forget", "MODEL", "--last"], 1, "nothing was taught yet"),
        (["rollback", "MODEL"], 1, "nothing was taught yet"),
        (["forget", "MODEL"], 2, "exactly one of"),
        (["export", "MODEL", "--out", "x.tflite"], 1, "teach something first"),
        (["backup", "nowhere.db", "--out", "x.db"], 1, "does not exist"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(model: Path, words: list[str], code: int, message: str) -> None:
    """With the right exit code and without a traceback; reading creates no state file."""
    done = edgetl(*[model if word == "MODEL" else word for word in words])
    assert (done.exit_code, message in done.stderr) == (code, True), done.output
    assert "unexpected" not in done.output
    assert words[0] == "teach" or not model.with_suffix(".db").exists()


def test_run_writes_a_line_of_json_per_frame(taught: Path) -> None:
    """With label, scores and times; the summary goes to stderr."""
    done = edgetl("run", taught, "--camera", "fake:red*2,blue*2,end", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["best"] for line in lines] == ["red", "red", "blue", "blue"]
    assert [line["changed"] for line in lines] == [True, False, True, False]
    assert set(lines[0]["scores"]) == {"red", "blue"}
    assert "4 frames:" in done.stderr


def test_run_smooths_over_frames_and_applies_the_threshold(taught: Path) -> None:
    """One odd frame changes nothing; with a threshold of one nothing is known."""
    done = edgetl("run", taught, "--camera", "fake:red*4,blue,red*2,end", "--smooth", 5, "--json")
    assert {json.loads(line)["best"] for line in done.stdout.splitlines()} == {"red"}
    done = edgetl("run", taught, "--camera", "fake:red", "--frames", 3, "--threshold", 1)
    assert done.stdout.count("  unknown (most like red)\n") == 3
    assert "%" not in done.stdout


def test_run_expects_labels_as_frequently_as_they_were_taught_if_asked(taught: Path) -> None:
    """With --priors taught, the label with more samples is more probable for the same frames."""
    asked("teach", taught, "red", "--camera", "fake:red", "--frames", 40)
    words = ("run", taught, "--camera", "fake:red,blue", "--frames", 1, "--json")
    found = {}
    for priors in ("even", "taught"):
        done = edgetl(*words, "--priors", priors)
        assert done.exit_code == 0, done.output
        found[priors] = json.loads(done.stdout.splitlines()[0])["prediction"]["scores"]["red"]
    assert found["even"] < found["taught"]
    refused = edgetl(*words, "--head", "softmax", "--priors", "even")
    assert refused.exit_code == 1
    assert "the softmax head has no priors" in refused.stderr


def test_views_are_kept_measured_and_changed_by_reembed(model: Path, tmp_path: Path) -> None:
    """Teach with flip, see it in status and inspect, measure it, and embed the pictures again with one view."""
    taught = asked("teach", model, "red", "--camera", "fake:red", "--frames", 3, "--views", "flip")
    assert taught["taught"] == {"red": 3}
    asked("teach", model, "blue", "--camera", "fake:blue", "--frames", 3)
    assert asked("status", model)["model"]["views"] == "flip"
    assert "Views    flip" in edgetl("status", model).stdout
    refused = edgetl("teach", model, "blue", "--camera", "fake:blue", "--views", "one")
    assert refused.exit_code == 1
    assert "--views one --state NEW.db" in refused.stderr
    found = asked("views", model)
    assert (found["samples"], found["gain"], found["without_picture"]) == (0, None, 0)
    shown = edgetl("views", model).stdout
    assert "too few samples" in shown
    assert "uses the mirror image already" in shown
    asked("reembed", model, model.with_suffix(".db"), "--views", "one", "--state", tmp_path / "one.db")
    assert asked("status", model, "--state", tmp_path / "one.db")["model"]["views"] == "one"
    missing = edgetl("views", model, "--state", tmp_path / "none.db")
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr
    asked("export", model, "--out", tmp_path / "personal.tflite")
    assert "flip: a frame and its mirror image" in edgetl("inspect", tmp_path / "personal.tflite").stdout


def test_run_reports_drift_once(model: Path) -> None:
    """Most frames are unlike anything taught, as with other light or a moved camera."""
    for scene in ("red", "orange"):
        asked("teach", model, scene, "--camera", f"fake:{scene}", "--frames", 20)
    done = edgetl("run", model, "--camera", "fake:red*60,black*300,end")
    assert done.stderr.count("unlike anything that was taught") == 1
    assert edgetl("run", model, "--camera", "fake:red*60,end").stderr.count("unlike anything") == 0


def test_status_shows_the_drift_that_run_measured(taught: Path) -> None:
    """The share of unknown frames is stored at the end of a run; teaching makes it out of date."""
    assert asked("status", taught)["drift"] is None
    edgetl("run", taught, "--camera", "fake:black*300,end")
    drift = asked("status", taught)["drift"]
    assert (drift["predictions"], drift["drifted"]) == (300, True)
    assert drift["unknown_share"] > 0.5
    assert drift["unknown_score"] > drift["threshold"]
    text = edgetl("status", taught).stdout
    assert f"Drift    {drift['unknown_share']:.0%} of the latest frames" in text
    assert "the scene seems to have changed" in text
    assert "before the latest change" not in text
    asked("teach", taught, "red", "--camera", "fake:red", "--frames", 1)
    assert "before the latest change" in edgetl("status", taught).stdout


def test_run_counts_correct_predictions_on_labeled_folders(model: Path, photos: Path) -> None:
    """A folder with one subfolder per label is a test set."""
    asked("teach", model, "--photos", photos)
    done = edgetl("run", model, "--camera", photos)
    assert "8 of 8 agree with their folders (100.0%)" in done.stderr


def test_a_command_runs_when_its_label_appears(taught: Path, tmp_path: Path) -> None:
    """Once per appearance, with the observation in its environment, and never through a shell."""
    script = tmp_path / "ring.sh"
    script.write_text(f'#!/bin/sh\necho "$1 $EDGETL_LABEL $EDGETL_PROBABILITY" >> "{tmp_path}/rung"\n')
    script.chmod(0o755)
    done = edgetl(
        "run", taught, "--camera", "fake:red*3,blue*3,end", "--on", "blue", f"{script} '$HOME;ls'", "--smooth", 1
    )  # fmt: skip
    assert done.exit_code == 0
    rung = (tmp_path / "rung").read_text().splitlines()
    assert len(rung) == 1
    assert rung[0].startswith("$HOME;ls blue 0.")


def test_output_and_exit_code_of_a_command_are_shown_on_stderr(taught: Path) -> None:
    """After the label; stdout contains only results."""
    done = edgetl(
        "run", taught, "--camera", "fake:red*3,end", "--json", "--shell", "--on", "red", "echo ding; echo dong >&2; exit 3"
    )  # fmt: skip
    assert done.exit_code == 0
    assert "[red] ding\n[red] dong\n" in done.stderr
    assert "ended with exit code 3" in done.stderr
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "red", "no-such-command-here"], "there is no command"),
        (["--on", "red", "echo 'open"], "wrongly quoted"),
        (["--webhook", "ftp://user:secret@host/x"], "http://HOST"),
        (["--webhook", "http://user:secret/@host/x"], "%2F"),
        (["--webhook", "http://host/x", "--webhook-header", "secret"], "'Name: value'"),
        (["--webhook", "http://host/x", "--webhook-header", "A: ${NOT_SET}"], "NOT_SET, which is not set"),
        (["--mqtt", "mqtt://user:secret@host"], "mqtt://host/shed/camera"),
        (["--mqtt", "mqtt://user:secret@host/a/#"], "mqtt://host/shed/camera"),
        (["--mqtt", "mqtt://user:secret@host/a/+/b"], "without +, # and ?"),
    ],
)
def test_hooks_that_cannot_work_are_refused_at_once(taught: Path, words: list[str], message: str) -> None:
    """Before the first frame; the message does not repeat a password."""
    done = edgetl("run", taught, "--camera", "fake", "--frames", 1, *words)
    assert (done.exit_code, message in done.stderr) == (1, True)
    assert "secret" not in done.output


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted."""

    posted: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Take one message."""
        length = int(self.headers["Content-Length"])
        self.posted.append({**self.headers, "path": self.path, **json.loads(self.rfile.read(length))})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web server on loopback."""
    posted: list[dict[str, Any]] = []
    handler = type("Handler", (Receiver,), {"posted": posted})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_changes_are_posted_to_a_webhook(taught: Path, receiver: tuple[str, list[dict[str, Any]]]) -> None:
    """The last one always; an unreachable receiver is reported once and stops nothing."""
    url, posted = receiver
    done = edgetl("run", taught, "--camera", "fake:red*3,blue*3,end", "--webhook", url)
    assert done.exit_code == 0
    assert posted[-1]["best"] == "blue"
    done = edgetl("run", taught, "--camera", "fake:red,blue,end", "--webhook", "http://127.0.0.1:9/x")
    assert (done.exit_code, done.stderr.count("cannot be reached")) == (0, 1)


def test_receivers_and_their_secrets_can_come_from_the_environment(
    taught: Path, receiver: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several addresses in one variable, one header per line."""
    url, posted = receiver
    monkeypatch.setenv("EDGETL_WEBHOOK", f"{url}?to=1 {url}?to=2")
    monkeypatch.setenv("EDGETL_WEBHOOK_HEADER", "X-Device: the shed\nX-Key: ${SHED_KEY}")
    monkeypatch.setenv("EDGETL_WEBHOOK_PASSWORD", "s3cret")
    monkeypatch.setenv("SHED_KEY", "k3y")
    done = edgetl("run", taught, "--camera", "fake:red*3,end")
    assert done.exit_code == 0
    assert {message["path"] for message in posted} == {"/hook?to=1", "/hook?to=2"}
    for message in posted:
        assert (message["X-Device"], message["X-Key"]) == ("the shed", "k3y")
        assert base64.b64decode(message["Authorization"].removeprefix("Basic ")) == b":s3cret"


def test_the_last_burst_is_forgotten_and_restored(taught: Path) -> None:
    """A burst is forgotten as a whole; undo restores it; after purging it cannot be restored."""
    assert asked("forget", taught, "--last")["samples"] == {"red": 5}
    assert asked("forget", taught, "--undo")["samples"] == {"blue": 5, "red": 5}
    assert asked("forget", taught, "--id", 1, "--id", 2)["samples"] == {"blue": 5, "red": 3}
    assert asked("forget", taught, "--newest", 2)["forgotten"] == [9, 10]
    assert asked("forget", taught, "--label", "red")["samples"] == {"blue": 3}
    assert asked("forget", taught, "--purge")["purged"] == 7
    assert asked("forget", taught, "--undo")["undone"] is None
    done = edgetl("forget", taught, "--id", 1)
    assert (done.exit_code, "is forgotten" in done.stderr) == (1, True)


def test_labels_are_renamed_merged_corrected_and_deleted(taught: Path) -> None:
    """Each is a single change."""
    assert asked("label", "rename", taught, "red", "rot")["samples"] == {"blue": 5, "rot": 5}
    assert asked("label", "set", taught, 1, 2, "blue")["samples"] == {"blue": 7, "rot": 3}
    assert asked("label", "rename", taught, "rot", "blue")["joined"]
    assert asked("label", "delete", taught, "blue")["samples"] == {}
    done = edgetl("label", "rename", taught, "mug", "cup")
    assert (done.exit_code, "nothing was taught as 'mug'" in done.stderr) == (1, True)


def test_status_shows_samples_accuracy_and_sizes_and_checks_the_file(taught: Path) -> None:
    """As text and as JSON."""
    status = asked("status", taught, "--verify")
    assert (status["samples"], status["verified"]) == ({"blue": 5, "red": 5}, 10)
    assert status["report"]["labels"] == ["blue", "red"]
    text = edgetl("status", taught).stdout
    assert "Accuracy" in text
    assert "tiny, int8, 32 dimensions" in text
    listed = asked("status", taught, "--samples", 3, "--label", "red")
    assert [sample["id"] for sample in listed] == [5, 4, 3]


def test_status_of_a_taught_model_needs_no_state_file(tmp_path: Path) -> None:
    """It creates none either. `lab` is the key of 0.1 for `host`."""
    model = Path(shutil.copy(TAUGHT, tmp_path / "host.tflite"))
    status = asked("status", model)
    assert (status["samples"], bool(status["host"])) == ({}, True)
    assert status["lab"] == status["host"]
    assert not model.with_suffix(".db").exists()
    assert "On the host" in edgetl("status", model).stdout


def test_a_label_that_looks_like_markup_is_shown_unchanged(model: Path) -> None:
    """Tables do not interpret labels as formatting."""
    asked("teach", model, "[bold]mug[/bold]", "--camera", "fake:red", "--frames", 1)
    assert "[bold]mug[/bold]" in edgetl("status", model).stdout


def test_merge_adds_the_samples_of_another_device_once(taught: Path, tmp_path: Path) -> None:
    """Merging again changes nothing."""
    other = tmp_path / "other.db"
    asked("teach", taught, "green", "--camera", "fake:green", "--frames", 2, "--state", other)
    result = asked("merge", taught, other)
    assert (result["merged"], result["samples"]) == ({str(other): 2}, {"blue": 5, "green": 2, "red": 5})
    assert asked("merge", taught, other)["merged"] == {str(other): 0}


def test_each_run_of_teach_saves_a_version(taught: Path) -> None:
    """Listed with its note and accuracy; undo reverts a rollback."""
    assert [version["note"] for version in asked("rollback", taught)] == ["taught red 5", "taught blue 5"]
    assert "taught blue 5 (10 samples, accuracy" in edgetl("rollback", taught).stdout
    assert asked("rollback", taught, "--to", 1)["samples"] == {"red": 5}
    assert asked("forget", taught, "--undo")["samples"] == {"blue": 5, "red": 5}
    done = edgetl("rollback", taught, "--to", 7)
    assert (done.exit_code, "no version 7" in done.stderr) == (1, True)


def test_a_new_model_is_taught_what_the_old_one_was_taught(taught: Path, tmp_path: Path) -> None:
    """The error about the old state contains the command, ready to run."""
    newer = Path(shutil.copy(TAUGHT, tmp_path / "newer.tflite"))
    state, made = taught.with_suffix(".db"), tmp_path / "NEW.db"
    done = edgetl("status", newer, "--state", state)
    typed = re.search(r"edgetl (reembed \S+ \S+ --state) NEW\.db", done.stderr)
    assert (done.exit_code, typed is not None) == (1, True)
    assert edgetl("reembed", newer, state, "--state", state).exit_code == 1
    found = asked("reembed", newer, state, "--state", made)
    assert (found["samples"], found["left_behind"]) == ({"blue": 5, "red": 5}, {})
    assert "Next: edgetl status" in edgetl("reembed", newer, state, "--state", made, "--force").stdout
    assert asked("status", newer, "--state", made)["samples"] == {"blue": 5, "red": 5}


def test_a_mistyped_label_or_state_is_reported(taught: Path, tmp_path: Path) -> None:
    """A hook that can never run and a missing state file cause a message."""
    done = edgetl("run", taught, "--camera", "fake:red,end", "--on", "rde", "true")
    assert (done.exit_code, "nothing was taught as 'rde' yet" in done.stderr) == (0, True)
    done = edgetl("status", taught, "--state", tmp_path / "typo.db")
    assert (done.exit_code, "typo.db does not exist" in done.stderr) == (0, True)
    done = edgetl("run", taught, "--state", tmp_path / "typo.db", "--camera", "fake:red,end")
    assert (done.exit_code, "typo.db does not exist" in done.stderr, "mugs.db" in done.stderr) == (
        1,
        True,
        False,
    )


def test_a_coral_that_cannot_be_used_is_reported(taught: Path) -> None:
    """The CPU is used; no source line is shown."""
    done = edgetl("run", taught, "--camera", "fake:red,end", "--edgetpu")
    assert done.exit_code == 0
    assert "Warning: " in done.stderr
    assert "Running on the CPU." in done.stderr
    assert "RuntimeWarning" not in done.stderr


def test_a_backup_is_a_state_file_and_a_damaged_one_is_recovered(taught: Path, tmp_path: Path) -> None:
    """The error about a damaged file contains the command that recovers it."""
    state, copy, new = taught.with_suffix(".db"), tmp_path / "copy.db", tmp_path / "new.db"
    assert asked("backup", state, "--out", copy)["samples"] == {"blue": 5, "red": 5}
    assert edgetl("backup", state, "--out", copy).exit_code == 1
    state.write_bytes(copy.read_bytes()[: copy.stat().st_size - 2048])
    done = edgetl("status", taught)
    assert (done.exit_code, f"edgetl recover {state} --out" in done.stderr) == (1, True)
    found = asked("recover", state, "--out", new, "--model", taught)
    assert sum(found["samples"].values()) + len(found["lost"]) == 10
    assert asked("status", taught, "--state", new)["samples"] == found["samples"]


def test_every_help_text_ends_in_an_example() -> None:
    """The last line before the options begins with the command itself."""
    for words in (
        *(["teach"], ["run"], ["status"], ["forget"], ["merge"], ["export"], ["backup"], ["rollback"]),
        *(["recover"], ["reembed"], ["label"], ["label", "rename"], ["label", "delete"], ["label", "set"]),
    ):
        text = edgetl(*words, "--help").stdout.split("Options:")[0].rstrip()
        assert text.splitlines()[-1].strip().startswith(f"edgetl {words[0]}"), words


def test_export_and_backup_into_a_forbidden_folder_fail_and_leave_nothing(
    taught: Path, forbidden: Path
) -> None:
    """Exit code 1 and the next step."""
    state = taught.with_suffix(".db")
    for words in (
        ("export", taught, "--out", forbidden / "mine.tflite"),
        ("backup", state, "--out", forbidden / "copy.db"),
    ):
        done = edgetl(*words)
        assert (done.exit_code, "may write" in done.stderr) == (1, True), done.output
    assert list(forbidden.iterdir()) == []


def test_teaching_into_a_forbidden_folder_fails(forbidden: Path) -> None:
    """The error names the state file and the next step."""
    done = edgetl(
        "teach", TINY, "red", "--camera", "fake:red", "--state", forbidden / "mugs.db", "--frames", 2
    )
    assert done.exit_code == 1
    assert "forbidden/mugs.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(forbidden.iterdir()) == []


def test_a_label_without_a_readable_photo_is_an_error_before_teaching(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the label would be lost; with --skip-empty the others are taught."""
    monkeypatch.setattr("device.heif.can_read_heif", lambda: False)
    (photos / "green").mkdir()
    (photos / "green" / "IMG_1.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")
    done = edgetl("teach", model, "--photos", photos)
    assert done.exit_code == 1
    assert "green (1 HEIC photo (green/IMG_1.heic))" in done.stderr
    assert asked("status", model)["samples"] == {}
    result = asked("teach", model, "--photos", photos, "--skip-empty")
    assert result["taught"] == {"Grün & blau": 4, "red": 4}
    assert result["left_out"] == [{"path": "green/IMG_1.heic", "label": "green", "reason": "heic"}]


def test_a_stored_label_with_an_invisible_mark_is_shown_escaped(taught: Path) -> None:
    """An older version accepted it; `status`, `run` and `label rename` show it and accept it as shown."""
    with Learner.open(taught, taught.with_suffix(".db")) as learner:
        learner.store.learn([NewSample("\u200fשלום", learner.store.codes([1])[0], 1.0, "", 1, None)])
    for words in (["status", taught], ["run", taught, "--camera", "fake:red", "--frames", 2]):
        done = edgetl(*words)
        assert done.exit_code == 0
        assert "\u200f" not in done.output
    assert "\\u200fשלום" in edgetl("status", taught).stdout
    assert asked("label", "rename", taught, "\\u200fשלום", "שלום")["samples"]["שלום"] == 1


def test_teach_shows_what_its_accuracy_is_worth(taught: Path) -> None:
    """The figure has its interval and number of samples, and a label that was not judged is named."""
    done = edgetl("teach", taught, "green", "--camera", "fake:green", "--frames", 1)
    assert re.search(
        r"Accuracy \d.* \(95 % interval \d+% to \d+%\), each of 10 samples\s+left out", done.stdout
    )
    assert "Not judged: green." in done.stdout.replace("\n", " ")
    result = asked("teach", taught, "green", "--camera", "fake:green", "--frames", 1)
    assert result["judged"] == 12
    assert result["unjudged"] == []
    assert result["interval"][0] <= result["accuracy"] <= result["interval"][1]


def test_status_forecasts_on_request(taught: Path) -> None:
    """Five frames of each label are too few; with more, the sentences and the JSON agree."""
    assert asked("status", taught)["forecast"] is None
    few = asked("status", taught, "--forecast")["forecast"]
    assert few["now"] is None
    assert "Too few photos to forecast" in few["text"][0]
    teach_views(taught.with_suffix(".db"), taught)
    made = asked("status", taught, "--forecast")["forecast"]
    assert made["labels"]["cup"]["more"] == 24
    shown = edgetl("status", taught, "--forecast").stdout
    for line in made["text"]:
        assert line in " ".join(shown.split())
    assert "24 more photos of cup would bring it from" in shown


def test_status_names_labels_that_are_mixed_up_and_their_samples(taught: Path) -> None:
    """The text names the samples; the JSON has the same ones."""
    teach_views(taught.with_suffix(".db"), taught)
    mixed = asked("status", taught)["report"]["mixed"]
    assert sorted(mixed["labels"]) == ["bowl", "cup"]
    shown = edgetl("status", taught).stdout
    assert "Mixed up most: bowl and cup" in shown
    assert all(str(number) in shown for number in mixed["samples"][0])


def teach_views(state: Path, model: Path) -> None:
    """Teach two labels that look the same, 24 separate views each."""
    random = np.random.default_rng(0)
    with Learner.open(model, state, threads=1) as learner:
        values = random.normal(size=(48, learner.model.manifest.dimensions)).astype(np.float32)
        images = [np.zeros((4, 4, 3), np.uint8)] * 48
        learner.learn_many(images, ["bowl", "cup"] * 24, embeddings=values)
