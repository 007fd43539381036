"""The figures of `status`, which are computed once per state and stored in the state file."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.learner import Learner, figures, settling
from device.learner.figures import STORE_FROM, Figures, KeptFigures
from device.store import Store

TINY = Path(__file__).resolve().parents[2] / "data" / "tiny.tflite"
BLANK = np.zeros((4, 4, 3), np.uint8)


def teach(learner: Learner, count: int, seed: int = 0) -> None:
    """Teach samples of two labels that overlap, each a burst of its own."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(count, learner.model.manifest.dimensions)).astype(np.float32)
    embeddings[np.arange(count), np.arange(count) % 2] += 1
    labels = [("even", "odd")[place % 2] for place in range(count)]
    learner.learn_many([BLANK] * count, labels, embeddings=embeddings)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry whenever figures are computed."""
    calls: list[int] = []
    compute = figures.figures_of

    def counted(*given: object) -> Figures:
        calls.append(1)
        return compute(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(figures, "figures_of", counted)
    return calls


def test_figures_are_computed_once_per_state(computed: list[int]) -> None:
    """A second status of the same state costs nothing; a lesson leads to new figures."""
    with Learner.open(TINY, None, threads=1) as learner:
        teach(learner, 20)
        first = learner.status()
        assert learner.status().to_dict()["report"] == first.to_dict()["report"]
        assert len(computed) == 1
        teach(learner, 2, seed=1)
        assert learner.status().report.samples == 22  # type: ignore[union-attr]
        learner.undo()
        assert learner.status().to_dict()["report"] == first.to_dict()["report"]
        assert learner.status().head == first.head
        assert learner.status().behind == 0


def test_figures_are_prepared_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within `settling`, the figures are there a moment after the last lesson, and equal those computed on request."""
    monkeypatch.setattr(settling, "REST", 0.0)
    prepared, prepare = threading.Event(), KeptFigures.prepare

    def seen(kept: KeptFigures, *given: object) -> None:
        prepare(kept, *given)  # type: ignore[arg-type]
        prepared.set()

    monkeypatch.setattr(KeptFigures, "prepare", seen)
    with Learner.open(TINY, None, threads=1) as learner, learner.settling():
        assert learner.is_settling
        teach(learner, 200)
        assert prepared.wait(30)
        monkeypatch.setattr(figures, "figures_of", _must_not_be_called)
        background = learner.status()
    with Learner.open(TINY, None, threads=1) as other:
        monkeypatch.undo()
        teach(other, 200)
        assert other.status().to_dict()["report"] == background.to_dict()["report"]
        assert other.status().head == background.head


def test_a_lesson_during_the_preparation_discards_it() -> None:
    """Figures of a head that is no longer the present one are not kept."""
    with Learner.open(TINY, None, threads=1) as learner:
        teach(learner, 20)
        before = learner.store.position()
        kept = KeptFigures(learner.model, learner.store, lambda: "head")
        old = learner.head.clone()
        teach(learner, 2, seed=1)
        kept.prepare(old, before)
        assert kept.of(learner.head, learner.store.position()).report.samples == 22  # type: ignore[union-attr]


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Return a state file whose figures were computed before it was closed."""
    with Learner.open(TINY, tmp_path / "taught.db", threads=1) as learner:
        teach(learner, STORE_FROM)
        learner.status()
    return tmp_path / "taught.db"


def test_stored_figures_are_read_by_the_next_process(
    closed: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They equal those that the samples lead to; a state opened for reading only uses them too."""
    with Learner.open(TINY, closed, threads=1, read_only=True) as learner:
        stored = learner.status()
        assert not computed
        monkeypatch.setattr(Figures, "from_bytes", lambda data: None)
    with Learner.open(TINY, closed, threads=1) as learner:
        fresh = learner.status()
        assert len(computed) == 1
    assert stored.to_dict()["report"] == fresh.to_dict()["report"]
    assert repr(stored.report) == repr(fresh.report)
    assert stored.head == fresh.head


@pytest.mark.parametrize(
    "change",
    [
        lambda learner: teach(learner, 2, seed=1),
        lambda learner: learner.rename_label("odd", "strange"),
        lambda learner: learner.forget(1),
    ],
    ids=["teach", "rename", "forget"],
)
def test_stored_figures_of_an_earlier_state_are_not_used(
    closed: Path, computed: list[int], change: Callable[[Learner], object]
) -> None:
    """A status that waits contains new figures after any change."""
    with Learner.open(TINY, closed, threads=1) as learner:
        change(learner)
        waited = learner.status(wait=True)
        assert len(computed) == 1
        assert waited.behind == 0
        assert learner.status().to_dict()["report"] == waited.to_dict()["report"]


def test_figures_from_before_the_latest_changes_are_marked(closed: Path, computed: list[int]) -> None:
    """Counts and digest are those of the present samples, the estimate is the earlier one, and no sample it names changed."""
    with Learner.open(TINY, closed, threads=1) as learner:
        before = learner.status()
        assert before.report is not None
        suspect = before.report.suspects[0]
        teach(learner, 2, seed=1)
        learner.relabel(suspect, "even" if learner.store.sample(suspect).label == "odd" else "odd")
        after = learner.status()
        assert not computed
        assert after.behind == 3
        assert sum(after.samples.values()) == STORE_FROM + 2
        assert after.head["digest"] == learner.head.digest() != before.head["digest"]
        assert after.report is not None
        assert after.report.accuracy == before.report.accuracy
        assert suspect in before.report.suspects
        assert suspect not in after.report.suspects
        assert len(after.report.suspects) == len(after.report.suggested) == len(before.report.suspects) - 1
        learner.undo()
        learner.undo()
        assert learner.status().behind == 0
        assert not computed


@pytest.mark.parametrize(
    "change",
    [
        lambda learner: teach(learner, STORE_FROM // 8, seed=1),
        lambda learner: learner.rename_label("odd", "strange"),
        lambda learner: learner.delete_label("odd"),
    ],
    ids=["a lesson of many samples", "rename", "delete"],
)
def test_large_changes_lead_to_new_figures(
    closed: Path, computed: list[int], change: Callable[[Learner], object]
) -> None:
    """A tenth of the samples, and changes of labels, are never left out of the estimate."""
    with Learner.open(TINY, closed, threads=1) as learner:
        learner.status()
        change(learner)
        assert learner.status().behind == 0
        assert len(computed) == 1


def test_earlier_figures_stay_in_the_state_file(closed: Path, computed: list[int]) -> None:
    """A process that teaches and never asks leaves them to the next one."""
    with Learner.open(TINY, closed, threads=1) as learner:
        teach(learner, 2, seed=1)
    with Learner.open(TINY, closed, threads=1, read_only=True) as learner:
        assert learner.status().behind == 2
        assert not computed
        assert learner.status(wait=True).behind == 0
        assert learner.keep_figures()
    with Learner.open(TINY, closed, threads=1, read_only=True) as learner:
        assert learner.status().behind == 0
        assert len(computed) == 1


def test_figures_are_written_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Closing does not write again what `keep_figures` has written."""
    written, keep_head = [], Store.keep_head

    def counted(store: Store, name: str, *kept: Any) -> None:
        written.append(name)
        keep_head(store, name, *kept)

    monkeypatch.setattr(Store, "keep_head", counted)
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1) as learner:
        teach(learner, STORE_FROM)
        learner.status(wait=True)
        assert learner.keep_figures()
    assert sum(name.startswith("figures of") for name in written) == 1


def test_the_share_of_rejected_negatives_may_be_an_earlier_one_too(closed: Path) -> None:
    """It is stored with the figures, and a lesson does not wait for a new one."""
    with Learner.open(TINY, closed, threads=1) as learner:
        width = learner.model.manifest.dimensions
        random = np.random.default_rng(2)
        negatives = -random.random((4, width), np.float32)
        learner.learn_many([BLANK] * 4, [None] * 4, not_label="odd", embeddings=negatives)
        first = learner.status(wait=True)
        assert set(first.rejected) == {"odd"}
        teach(learner, 2, seed=1)
        assert learner.status().rejected == first.rejected
        assert learner.status().behind == 2
    with Learner.open(TINY, closed, threads=1, read_only=True) as learner:
        assert learner.status().rejected == first.rejected
        assert learner.status().behind == 2


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"form": 0}', b'{"form": 2, "digest": "", "report": {"labels": 3}}']
)
def test_stored_figures_of_another_form_are_ignored(data: bytes) -> None:
    """Figures are derived data: what cannot be read is computed again."""
    assert Figures.from_bytes(data) is None


def test_figures_of_another_head_are_not_used(closed: Path, computed: list[int]) -> None:
    """Figures of the exact head are not shown for another one."""
    with Learner.open(TINY, closed, threads=1, head="ncm") as learner:
        learner.status()
        assert len(computed) == 1


def _must_not_be_called(*given: object) -> Figures:
    raise AssertionError("the figures are known already")


def test_a_forecast_is_made_on_request_and_kept(closed: Path) -> None:
    """It is stored beside the report, and disappears with the next change."""
    with Learner.open(TINY, closed, threads=1) as learner:
        assert learner.status().forecast is None
        made = learner.status(forecast=True).forecast
        assert made is not None
        assert made.then is not None
        assert set(made.labels) == {"even", "odd"}
        assert learner.status().forecast == made
    with Learner.open(TINY, closed, threads=1, read_only=True) as learner:
        assert learner.status().forecast == made
    with Learner.open(TINY, closed, threads=1) as learner:
        teach(learner, 2, seed=1)
        assert learner.status().forecast is None
        assert learner.status(wait=True).forecast is None


def test_predictions_do_not_wait_for_a_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a forecast is computed, another thread predicts and teaches; the forecast then says that it is out of date."""
    entered, release = threading.Event(), threading.Event()
    read = figures.judged_samples

    def slow(*given: object) -> object:
        found = read(*given)  # type: ignore[arg-type]
        entered.set()
        assert release.wait(30)
        return found

    with Learner.open(TINY, None, threads=1) as learner:
        teach(learner, 20)
        learner.status()
        monkeypatch.setattr(figures, "judged_samples", slow)
        result: list[object] = []
        thread = threading.Thread(target=lambda: result.append(learner.status(forecast=True).forecast))
        thread.start()
        assert entered.wait(30)
        learner.predict_embedding(np.ones(learner.model.manifest.dimensions, np.float32))
        teach(learner, 2, seed=1)
        release.set()
        thread.join(30)
        assert result[0].reason == figures.CHANGED  # type: ignore[attr-defined]
        monkeypatch.undo()
        assert learner.status().forecast is None


def test_a_head_that_depends_on_the_order_is_not_forecast() -> None:
    """The softmax head would have to be trained many times; the reason says so."""
    with Learner.open(TINY, None, threads=1, head="softmax") as learner:
        teach(learner, 20)
        forecast = learner.status(forecast=True).forecast
        assert forecast is not None
        assert "softmax" in forecast.describe()[0]


def test_nothing_taught_is_not_forecast() -> None:
    """An empty model has a reason instead of a forecast."""
    with Learner.open(TINY, None, threads=1) as learner:
        forecast = learner.status(forecast=True).forecast
        assert forecast is not None
        assert "Too few photos" in forecast.describe()[0]
