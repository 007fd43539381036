"""Measuring model files; times come from a fake clock where they matter."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.cameras import open_camera
from device.errors import LabelError, MeasurementError, ModelFileError, PhotoError
from device.heads import HEADS
from device.model.runtime import load_runtime
from device.progress import no_progress
from device.system.bench import Plan, bench
from device.system.frames import Frames
from device.system.grid import CPU, Combination, Grid, RuntimeChoice, Teaching
from device.system.steps import STEPS
from device.system.subject import Subject
from tests.tiny import DIMENSIONS, TINY, TINY_GRAY, TINY_TAUGHT, write_photos

SHORT = Plan(frames=3, lessons=2, warm_up=1, starts=0, energy=False)
FEW = Grid(samples=(12,), labels=3, threads=(1,))
WITH_CAMERA = {"capture", "capture to prediction", "button to new head"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file in a folder of its own."""
    path = tmp_path / "models" / "mugs.tflite"
    path.parent.mkdir()
    path.write_bytes(TINY.read_bytes())
    return path


def test_a_bench_describes_machine_runtime_model_and_conditions(model: Path) -> None:
    """Times without them mean nothing."""
    found = bench([model], plan=SHORT, grid=FEW).to_dict()
    (result,) = found["results"]
    assert result["runtime"]["name"] == load_runtime().name
    assert result["runtime"]["threads"] == 1
    assert result["model"]["dimensions"] == DIMENSIONS
    assert result["model"]["bytes"] == TINY.stat().st_size
    assert len(result["model"]["sha256"]) == 64
    assert found["machine"]["governor"]
    assert found["conditions"]["peak_ram_bytes"] > 0
    assert not found["partial"]
    json.dumps(found, allow_nan=False)


def test_every_step_is_timed(model: Path) -> None:
    """With few samples, the exact head has no complete fit apart from the update."""
    (result,) = bench([model], plan=SHORT, grid=FEW).results
    runs = {timing.step: timing.runs for timing in result.timings}
    assert list(runs) == [step for step in STEPS if step not in {"head, complete fit", *WITH_CAMERA}]
    assert runs["frame to prediction"] == 3
    assert runs["lesson to new head"] == 2
    assert all(0 < timing.minimum <= timing.p50 <= timing.p99 for timing in result.timings)


def test_the_complete_fit_is_timed_apart_where_an_update_comes_first(model: Path) -> None:
    """The exact head answers from an update from 150 samples on."""
    (result,) = bench([model], plan=SHORT, grid=Grid(samples=(160,), labels=2)).results
    assert {timing.step: timing.runs for timing in result.timings}["head, complete fit"] == 2


@pytest.mark.parametrize("head", HEADS)
def test_every_lesson_meets_the_same_head(model: Path, tmp_path: Path, head: str) -> None:
    """A lesson is forgotten again, so that the number of samples stays the same."""
    image = Frames.noise()[0]
    combination = Combination(model, RuntimeChoice(), 1, CPU, Teaching(head, 12, 3))
    subject = Subject.open(combination, tmp_path, image)
    counts = dict(subject.head.counts)
    for number in range(3):
        subject.time_lesson(image, number)
    assert subject.head.counts == subject.learner.head.counts == counts
    assert sum(subject.store.counts().values()) == 3
    subject.close()


def test_models_are_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of each, then the next frame of each; the same for lessons."""
    order: list[tuple[str, str]] = []

    def noting(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def act(self: Subject, *arguments: object) -> None:
            order.append((name, self.learner.model.path.name))
            real(self, *arguments)

        return act

    for name in ("time_frame", "time_lesson"):
        monkeypatch.setattr(Subject, name, noting(name, getattr(Subject, name)))
    bench([TINY, TINY_TAUGHT], plan=Plan(2, lessons=1, warm_up=0, starts=0, energy=False), grid=FEW)
    pair = [TINY.name, TINY_TAUGHT.name]
    assert order == [(name, model) for name in ("time_frame", "time_frame", "time_lesson") for model in pair]


def test_a_duration_limits_frames_and_lessons(model: Path) -> None:
    """Three quarters of it are for frames; a fake clock moves by 0.01 s at each look."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    plan = Plan(frames=None, seconds=4.0, lessons=1000, warm_up=0, starts=0, energy=False)
    (result,) = bench([model], plan=plan, grid=FEW, clock=clock).results
    runs = {timing.step: timing.runs for timing in result.timings}
    assert 23 <= runs["frame to prediction"] <= 28  # 3 s, ten looks and two more per frame
    assert 9 <= runs["lesson to new head"] <= 12  # 1 s, eight looks and one more per lesson
    assert result.timings[0].p50 == pytest.approx(10)


def test_ctrl_c_keeps_what_was_measured(model: Path) -> None:
    """The result is marked as partial."""

    def stop(task: str, done: int, total: int | None, /) -> None:
        if (task, done) == ("frames", 2):
            raise KeyboardInterrupt

    found = bench([model], plan=Plan(50, warm_up=0, starts=0, energy=False), grid=FEW, progress=stop)
    assert found.partial
    assert {timing.step: timing.runs for timing in found.results[0].timings}["preprocessing"] == 2
    assert "lesson to new head" not in {timing.step for timing in found.results[0].timings}


def test_ctrl_c_keeps_the_combinations_whose_turn_had_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second model has no frame yet."""
    real, calls = Subject.time_frame, iter(range(9))

    def stopping(self: Subject, *arguments: Any) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(Subject, "time_frame", stopping)
    found = bench([TINY, TINY_TAUGHT], plan=SHORT, grid=FEW)
    assert found.partial
    assert [result.model["name"] for result in found.results] == [TINY.name]


def test_an_error_in_the_middle_keeps_what_was_measured(model: Path) -> None:
    """A camera that ends is an example; the result names the error."""
    with open_camera("fake:red*3,end") as camera:
        found = bench([model], plan=SHORT, grid=FEW, frames=Frames.of_camera(camera))
    assert found.partial
    assert found.error is not None
    assert {timing.step: timing.runs for timing in found.results[0].timings}["capture"] == 2


def test_ctrl_c_before_the_first_frame_is_not_a_result(model: Path) -> None:
    """There is nothing to keep."""

    def stop(task: str, done: int, total: int | None, /) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench([model], plan=Plan(50, warm_up=1, starts=0, energy=False), grid=FEW, progress=stop)


def test_nothing_is_left_behind(model: Path) -> None:
    """The temporary state is removed, and a state file of the model is not touched."""
    bench([model], plan=SHORT, grid=FEW)
    assert [path.name for path in model.parent.iterdir()] == ["mugs.tflite"]


def test_a_camera_adds_the_capture_to_a_prediction_and_a_lesson(model: Path) -> None:
    """Frame to prediction is the time without it."""
    with open_camera("fake:red*100") as camera:
        (result,) = bench([model], plan=SHORT, grid=FEW, frames=Frames.of_camera(camera)).results
    runs = {timing.step: timing.runs for timing in result.timings}
    assert runs["capture"] == 5
    assert (runs["capture to prediction"], runs["button to new head"]) == (3, 2)
    times = {timing.step: timing.samples for timing in result.timings}
    for place in range(3):
        together = times["capture"][place] + times["frame to prediction"][place]
        assert times["capture to prediction"][place] == pytest.approx(together, abs=2e-4)


def test_every_combination_is_measured_and_named(model: Path) -> None:
    """A head with less room than labels is named with the reason, and the others are measured."""
    grid = Grid(heads=("exact", "softmax"), samples=(12,), labels=9, threads=(1, 2))
    found = bench([model], plan=SHORT, grid=grid)
    measured = [(result.head["name"], result.runtime["threads"]) for result in found.results]
    assert measured == [("exact", 1), ("exact", 2)]
    missing = [(entry.combination.teaching.name, entry.combination.threads) for entry in found.unavailable]
    assert missing == [("softmax", 1), ("softmax", 2)]
    assert "room for 8 labels" in found.unavailable[0].reason


def test_an_edge_tpu_that_is_not_there_is_named_and_not_replaced_by_the_cpu(model: Path) -> None:
    """A time of the CPU must not stand for one of the Edge TPU."""
    found = bench([model], plan=SHORT, grid=Grid(samples=(12,), delegates=("edgetpu", "cpu")))
    assert [result.runtime["delegate"] for result in found.results] == ["cpu"]
    assert "backbone_edgetpu.tflite" in found.unavailable[0].reason


def test_a_measurement_without_any_combination_raises_the_first_reason(model: Path) -> None:
    """There is no result without a time."""
    with pytest.raises(LabelError, match="room for 8 labels"):
        bench([model], plan=SHORT, grid=Grid(heads=("softmax",), samples=(12,), labels=9))


def test_the_samples_of_the_host_are_measured_only_where_there_are_some() -> None:
    """Without them, with and without would be the same."""
    grid = Grid(samples=(12,), labels=3, host=(True, False))
    found = bench([TINY, TINY_TAUGHT], plan=SHORT, grid=grid)
    heads = [
        (result.model["name"], result.head["host"], result.head["host_samples"]) for result in found.results
    ]
    assert heads == [(TINY.name, False, 0), (TINY_TAUGHT.name, True, 36), (TINY_TAUGHT.name, False, 0)]


def test_the_overhead_compares_a_prediction_with_the_bare_interpreter(model: Path) -> None:
    """It is the ratio of the medians of the steps."""
    (result,) = bench([model], plan=SHORT, grid=FEW).results
    times = {timing.step: timing.samples for timing in result.timings}
    bare = [sum(pair) for pair in zip(times["preprocessing"], times["backbone"], strict=True)]
    assert result.overhead is not None
    assert result.overhead.cpu_ratio is not None
    assert result.overhead.ratio == pytest.approx(
        sorted(times["frame to prediction"])[1] / sorted(bare)[1], rel=0.02
    )


def test_a_gray_model_is_measured() -> None:
    """Preprocessing decides the channels."""
    (result,) = bench([TINY_GRAY], plan=SHORT, grid=FEW).results
    assert result.timings


def test_photos_are_shown_in_turn(tmp_path: Path, model: Path) -> None:
    """Unreadable ones are skipped."""
    write_photos(tmp_path / "photos", 2, ("red", "blue"))
    (tmp_path / "photos" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    frames = Frames.photos(tmp_path / "photos")
    assert frames.describe() == {"source": "photos", "images": 4, "width": 32, "height": 32}
    assert frames[4] is frames[0]
    assert bench([model], plan=SHORT, grid=FEW, frames=frames).frames["source"] == "photos"


def test_a_folder_without_a_readable_photo_is_refused(tmp_path: Path) -> None:
    """The message names the folder."""
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(PhotoError, match=tmp_path.name):
        Frames.photos(tmp_path)


def test_a_missing_model_is_refused_before_anything_is_measured(tmp_path: Path, model: Path) -> None:
    """The message names the file."""
    with pytest.raises(ModelFileError, match=r"nope\.tflite"):
        bench([model, tmp_path / "nope.tflite"], plan=SHORT, grid=FEW, progress=no_progress)


def test_cpu_time_is_compared_only_with_one_thread(model: Path) -> None:
    """With several, other threads of the interpreter work too."""
    found = bench([model], plan=SHORT, grid=Grid(samples=(12,), labels=3, threads=(1, 2)))
    ratios = [result.overhead.cpu_ratio if result.overhead else 0 for result in found.results]
    assert ratios[0]
    assert ratios[1] is None


def test_cpu_time_is_that_of_the_thread(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the thread is read; here it moves by 1 at each look."""
    looks = iter(range(10_000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(looks)))
    found = bench([model], plan=Plan(2, lessons=1, warm_up=0, starts=0, energy=False, clock="cpu"), grid=FEW)
    assert found.clock == found.to_dict()["clock"] == "cpu"
    times = {timing.step: timing.samples for timing in found.results[0].timings}
    # milliseconds; the look between is that for the ratio of CPU time
    assert set(times["backbone"]) == {2000.0}


@pytest.mark.parametrize(
    ("clock", "threads", "word"), [("cpu", (1, 2), "one thread"), ("sun", (1,), "elapsed, cpu")]
)
def test_cpu_time_of_several_threads_is_refused(
    model: Path, clock: str, threads: tuple[int, ...], word: str
) -> None:
    """The interpreter's threads are not those of Python."""
    with pytest.raises(MeasurementError, match=word):
        bench([model], plan=Plan(2, clock=clock), grid=Grid(threads=threads))
