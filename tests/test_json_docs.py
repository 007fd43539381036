"""The examples in docs/json.md have the fields and types of real output."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from device.cameras import open_camera
from device.cameras.fake import draw
from device.learner import Learner
from device.page.page import Page
from edgetl.cli import main
from tests.tiny import TINY, write_photos

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "json.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: json.loads(text)
    for name, text in re.findall(r"<!-- example: (\w+) -->\n```json\n(.*?)```", TEXT, re.DOTALL)
}
OLD = {"index", "label", "best", "probability", "known", "familiar", "unknown_score", "scores"}
LABELS = ("red", "blue")


def shape(value: Any) -> Any:
    """Return the fields and types of a JSON value; labels in ``scores`` count as one field."""
    if isinstance(value, dict):
        return {
            name: "scores" if name == "scores" and set(map(type, found.values())) <= {float} else shape(found)
            for name, found in value.items()
        }
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def without(fields: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """Return `fields` without the old names, all of which must be there."""
    assert old <= fields.keys()
    return {name: value for name, value in fields.items() if name not in old}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file whose state file contains two scenes of the fake camera."""
    path = tmp_path / "mugs.tflite"
    path.write_bytes(TINY.read_bytes())
    with Learner.open(path, path.with_suffix(".db")) as learner:
        for scene in LABELS:
            learner.learn_many([draw(scene, index) for index in range(8)], [scene] * 8)
    return path


@pytest.fixture
def page(model: Path) -> Iterator[Page]:
    """Return the parts behind the page, with a scene that was not taught."""
    with Learner.open(model, model.with_suffix(".db")) as learner:
        page = Page(learner, lambda: open_camera("fake:green*1000"))
        page.start()
        yield page
        page.stop()


def lines(*words: object) -> list[dict[str, Any]]:
    """Run a command with --json and return the lines it writes."""
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_example_is_compared_below() -> None:
    """A new example in docs/json.md needs a test."""
    assert set(EXAMPLES) == {
        "prediction",
        "observation",
        "buttons",
        "events",
        "doubts",
        "status",
        "forecast",
        "bench",
        "comparison",
        "recommendation",
    }


def test_a_prediction_has_the_documented_fields(model: Path) -> None:
    """The fields are the same in Python and in every observation."""
    with Learner.open(model, model.with_suffix(".db")) as learner:
        fields = learner.predict_one(draw("red", 9)).to_dict()
    assert shape(fields) == shape(EXAMPLES["prediction"])
    assert list(fields) == list(EXAMPLES["prediction"])
    assert EXAMPLES["observation"]["prediction"] == EXAMPLES["prediction"]


def test_status_has_the_documented_fields(model: Path) -> None:
    """As the command writes it; `lab` is the old name of `host`."""
    done = CliRunner().invoke(main, ["status", str(model), "--json"])
    fields = without(json.loads(done.stdout), {"lab"})
    assert shape(fields) == shape(EXAMPLES["status"])


def test_run_writes_the_documented_observation(model: Path) -> None:
    """The old names are beside the new ones."""
    for fields in lines("run", model, "--camera", "fake:red*2", "--frames", 2):
        assert shape(without(fields, OLD)) == shape(EXAMPLES["observation"])
        assert fields["index"] == fields["frame"]
        assert fields["best"] == fields["prediction"]["label"]


def test_a_webhook_gets_the_documented_observation(model: Path) -> None:
    """The body of the POST is what `run --json` writes."""
    bodies: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        written = lines("run", model, "--camera", "fake:red", "--frames", 1, "--webhook", url)
        server.shutdown()
    assert bodies == written
    assert shape(without(bodies[0], OLD)) == shape(EXAMPLES["observation"])


def test_a_command_gets_the_documented_observation(model: Path, tmp_path: Path) -> None:
    """It is in EDGETL_OBSERVATION, and in the variable with the old name."""
    command = f'echo "$EDGETL_OBSERVATION" > {tmp_path}/new; echo "$EDGETL_SIGHTING" > {tmp_path}/old'
    written = lines("run", model, "--camera", "fake:red", "--frames", 1, "--shell", "--on", "*", command)
    assert json.loads((tmp_path / "new").read_text()) == written[0]
    assert (tmp_path / "new").read_text() == (tmp_path / "old").read_text()


def test_buttons_write_the_documented_observation(pins: Any, model: Path) -> None:
    """It also has what was taught and undone; both are empty if no button is pressed."""
    pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'edgetl[gpio]'")
    (fields,) = lines("buttons", model, "--camera", "fake:red", "--frames", 1, "--teach", "red=17")
    expected = shape(EXAMPLES["buttons"]) | {"taught": []}
    assert shape(without(fields, OLD)) == expected


def test_the_page_streams_the_documented_observation(page: Page) -> None:
    """Events of the page have no old names."""
    version, event = 0, {}
    while not event.get("prediction"):
        found = asyncio.run(page.events.after(version, 30))
        assert found is not None
        version, event = found[0], json.loads(found[1])
    assert shape(event) == shape(EXAMPLES["events"])


def test_the_page_lists_uncertain_frames_as_documented(page: Page) -> None:
    """A scene that was never taught is uncertain at once."""
    version = 0
    while not page.queue()["doubts"]:
        found = asyncio.run(page.events.after(version, 30))
        assert found is not None
        version = found[0]
    entry = page.queue()["doubts"][0]
    found = {"doubts": [without(entry, set(entry["prediction"]))], "problem": page.doubts.problem}
    assert shape(found) == shape(EXAMPLES["doubts"])


def test_bench_writes_the_documented_measurement(model: Path) -> None:
    """What this machine does not report is null, and so has another type than in the example."""
    write_photos(model.parent / "photos", 6)
    text = bench_json(model, "--accuracy", model.parent / "photos", "--shots", "1,all", "--profile")
    fields = json.loads(text)
    assert shape(filled(fields, EXAMPLES["bench"])) == shape(EXAMPLES["bench"])
    assert list(fields) == list(EXAMPLES["bench"])
    (model.parent / "sizes.json").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(main, ["recommend", str(model.parent / "sizes.json"), "--json"])
    answer = json.loads(done.stdout)
    assert shape(filled(answer, EXAMPLES["recommendation"])) == shape(EXAMPLES["recommendation"])


def test_bench_compare_writes_the_documented_comparison(model: Path, tmp_path: Path) -> None:
    """The two results differ in the number of threads."""
    for name, threads in (("a.json", 1), ("b.json", 2)):
        (tmp_path / name).write_text(bench_json(model, "--threads", threads), encoding="utf-8")
    done = CliRunner().invoke(
        main, ["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]
    )
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert shape(filled(fields, EXAMPLES["comparison"])) == shape(EXAMPLES["comparison"])
    assert fields["models"][0]["differences"] == ["runtime: threads 1 and 2"]


def bench_json(model: Path, *words: object) -> str:
    """Return what a short `edgetl bench --json` writes."""
    options = [
        "--frames",
        3,
        "--lessons",
        2,
        "--samples",
        12,
        "--cold-starts",
        1,
        "--no-energy",
        *words,
        "--json",
    ]
    done = CliRunner().invoke(main, ["bench", str(model), *map(str, options)])
    assert done.exit_code == 0, done.output
    return done.stdout


def filled(fields: Any, example: Any) -> Any:
    """Return `fields` with the values of `example` in place of null and of empty lists."""
    if fields is None or fields == []:
        return example
    if isinstance(fields, dict):
        assert fields.keys() == example.keys()
        return {name: filled(value, example[name]) for name, value in fields.items()}
    return [filled(value, example[0]) for value in fields] if isinstance(fields, list) else fields


def test_the_forecast_is_as_documented(model: Path) -> None:
    """The command writes every documented field, for labels with enough views and for one without."""
    random = np.random.default_rng(0)
    with Learner.open(model, model.with_suffix(".db"), threads=1) as learner:
        values = random.normal(size=(48, learner.model.manifest.dimensions)).astype(np.float32)
        learner.learn_many([draw("red")] * 48, ["mug", "cup"] * 24, embeddings=values)
        learner.learn_one(draw("green"), "bowl")
    done = CliRunner().invoke(main, ["status", str(model), "--forecast", "--json"])
    status = json.loads(done.stdout)
    written, documented = status["forecast"], EXAMPLES["forecast"]
    assert shape(written["labels"].pop("mug")) == shape(documented["labels"].pop("mug"))
    assert shape(written) | {"labels": {}} == shape(documented)
    assert "bowl" in written["too_few"]
