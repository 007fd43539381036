"""`edgetl.embed`: any number of workers writes the same files, and nothing that is finished is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device.arrays import unpack_arrays
from device.errors import OutputExistsError, PhotoError, StateError
from device.heads.statistics import Statistics
from device.images import read_photo
from device.learner import Learner
from device.model.codes import encode
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile
from edgetl.embedding import Embedded, embed
from edgetl.embedding.engines import open_engine
from edgetl.embedding.shards import read_content
from edgetl.errors import MissingExtraError, WorkerError
from edgetl.exchange.embedded import teach_embedded
from tests import tiny

REPOSITORY = Path(__file__).parents[3]
COUNT = 24  # photos per label: 72 are 3 shards


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with one photo that cannot be decoded."""
    folder = tmp_path_factory.mktemp("embed") / "photos"
    tiny.write_photos(folder, COUNT)
    whole = (folder / "red" / "000.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file without labels."""
    return Path(shutil.copy(tiny.TINY, tmp_path_factory.mktemp("model") / "mugs.tflite"))


@pytest.fixture(scope="module")
def one(model: Path, photos: Path) -> Embedded:
    """The result of one worker."""
    return embed(model, photos, photos.parent / "one", workers=1)


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files that a job wrote."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


# any number of workers


def test_two_workers_write_the_same_files_as_one(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """Embeddings, statistics and the taught model file are equal to the bit."""
    two = embed(model, photos, tmp_path / "two", workers=2)
    assert content(two.folder) == content(one.folder)
    assert {"embed.json", "statistics.npz", "taught.tflite", "shards/00002.npz"} <= content(one.folder).keys()


def test_two_dask_workers_write_the_same_files_as_one(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """The same through a scheduler, over TCP."""
    pytest.importorskip("distributed", reason="no Dask: pip install 'edgetl[cluster]'")
    two = embed(model, photos, tmp_path / "dask", workers=2, engine="dask")
    assert content(two.folder) == content(one.folder)


def test_a_running_scheduler_is_used(model: Path, photos: Path, one: Embedded, tmp_path: Path) -> None:
    """A worker with two threads has an interpreter per thread."""
    distributed = pytest.importorskip("distributed", reason="no Dask: pip install 'edgetl[cluster]'")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        found = embed(model, photos, tmp_path / "out", engine="dask", scheduler=address)
    assert address.startswith("tcp://127.0.0.1:")
    assert content(found.folder) == content(one.folder)


def test_the_statistics_are_those_of_a_learner_that_was_taught_each_photo(
    model: Path, photos: Path, one: Embedded
) -> None:
    """The learner sees the photos one by one in another order."""
    with Learner.open(model, None) as learner:
        for path in sorted(photos.glob("*/0*.png"), key=lambda path: path.name[::-1]):
            learner.learn_one(read_photo(path), path.parent.name)
        assert one.digest == learner.head.digest()
    assert one.statistics is not None
    restored = Statistics.restore(tiny.DIMENSIONS, unpack_arrays(one.statistics.read_bytes()))
    assert restored.digest() == one.digest
    assert restored.counts == one.labels == dict.fromkeys(tiny.COLORS, COUNT)


def test_a_shard_has_names_labels_embeddings_and_codes(model: Path, photos: Path, one: Embedded) -> None:
    """The codes are the mapped embeddings, and the rows are in the order of the paths."""
    found = [read_content(path) for path in one.shards]
    names = [name for part in found for name in part.names]
    assert names == [f"{label}/{number:03d}.png" for label in sorted(tiny.COLORS) for number in range(COUNT)]
    with Learner.open(model, None) as learner:
        expected = learner.embed_one(read_photo(photos / names[0]))
    assert found[0].labels[0] == "blue"
    assert found[0].embeddings is not None
    np.testing.assert_array_equal(found[0].embeddings[0], expected)
    for part in found:
        assert part.embeddings is not None
        np.testing.assert_array_equal(part.codes, encode(part.embeddings))


def test_numpy_reads_a_shard_without_pickle(one: Embedded) -> None:
    """Other programs need nothing of edgetl."""
    with np.load(one.shards[0], allow_pickle=False) as arrays:
        assert arrays["embeddings"].dtype == np.float32
        assert arrays["codes"].shape == arrays["embeddings"].shape


def test_photos_that_cannot_be_read_are_named(one: Embedded) -> None:
    """They are left out, as `edgetl teach --photos` does."""
    assert [(item.path.name, item.label) for item in one.left_out] == [("cut.png", "red")]
    assert one.photos == 3 * COUNT


# the taught model file


def test_the_taught_model_file_predicts_the_labels(photos: Path, one: Embedded) -> None:
    """It needs no state file."""
    assert one.model is not None
    with Learner.open(one.model, None) as learner:
        for label in tiny.COLORS:
            prediction = learner.predict_one(tiny.photo(label, 900))
            assert (prediction.label, prediction.known) == (label, True)
        assert learner.head.digest() == one.digest


def test_a_model_file_of_few_photos_contains_their_samples(model: Path, tmp_path: Path) -> None:
    """Any head learns from samples, and they calibrate it; look-alikes share a group."""
    tiny.write_photos(tmp_path / "photos", 4)
    few = embed(model, tmp_path / "photos", tmp_path / "few", workers=1)
    assert few.model is not None
    memory = ModelFile.open(few.model).memory
    assert isinstance(memory, Samples)
    assert memory.counts() == dict.fromkeys(tiny.COLORS, 4)
    assert memory.groups is not None
    with Learner.open(few.model, None, head="knn") as learner:
        assert learner.predict_one(tiny.photo("red", 900)).label == "red"


def test_a_model_file_of_many_photos_contains_their_sums(model: Path, tmp_path: Path) -> None:
    """Its size does not depend on the number of photos; photos of the model file are not counted twice."""
    tiny.write_photos(tmp_path / "photos", 44)
    many = embed(model, tmp_path / "photos", tmp_path / "many", workers=1, embeddings=False)
    assert many.model is not None
    memory = ModelFile.open(many.model).memory
    assert isinstance(memory, Sums)
    assert memory.counts() == dict.fromkeys(tiny.COLORS, 44)
    tiny.write_photos(tmp_path / "photos", 1, first=44)
    more = embed(many.model, tmp_path / "photos", tmp_path / "more", workers=1, embeddings=False)
    assert (more.known, more.labels) == (3 * 44, dict.fromkeys(tiny.COLORS, 1))
    assert more.model is not None
    with Learner.open(more.model, None) as learner:
        assert learner.head.counts == dict.fromkeys(tiny.COLORS, 45)
        assert learner.predict_one(tiny.photo("red", 900)).label == "red"
    again = embed(more.model, tmp_path / "photos", tmp_path / "again", workers=1)
    assert (again.known, again.labels, again.model) == (3 * 45, {}, None)
    assert "was taught all of these photos already" in again.remarks[-1]


# interruptions


KILLED = """
import multiprocessing, os, signal, sys
from edgetl import embed

def progress(task, done, total):
    if done:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    embed(*sys.argv[1:], workers=2, progress=progress)
"""


def test_a_killed_run_leaves_no_process_and_is_continued(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """The main process is killed once the first shard is on the disk; the next run embeds the others."""
    (tmp_path / "script.py").write_text(KILLED)
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "script.py", model, photos, out], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    workers = [int(number) for number in killed.stdout.split()]
    assert workers
    patience = time.monotonic() + 60
    while any(is_running(number) for number in workers):
        assert time.monotonic() < patience, "a worker outlived the main process"
        time.sleep(0.05)
    assert not (out / "statistics.npz").exists()
    with Learner.open(model, None) as learner, pytest.raises(StateError, match="run edgetl embed, again"):
        teach_embedded(learner, out)
    resumed = embed(model, photos, out, workers=1)
    assert 0 < resumed.resumed < resumed.photos
    assert content(out) == content(one.folder)


def is_running(process: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_interruption_stops_the_workers_and_keeps_what_is_finished(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """Ctrl-C while a worker is in the middle of a shard."""

    def interrupt(task: str, done: int, total: int | None, /) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(model, photos, tmp_path / "out", workers=1, progress=interrupt)
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 1
    embed(model, photos, tmp_path / "out", workers=1)
    assert content(tmp_path / "out") == content(one.folder)


def test_damaged_shards_are_embedded_again(model: Path, photos: Path, one: Embedded, tmp_path: Path) -> None:
    """Half a file, and the file of other photos."""
    shutil.copytree(one.folder, tmp_path / "out")
    first, second, third = (tmp_path / "out" / "shards" / f"0000{number}.npz" for number in range(3))
    first.write_bytes(first.read_bytes()[:1000])
    shutil.copy(third, second)
    resumed = embed(model, photos, tmp_path / "out", workers=1)
    assert resumed.resumed == len(read_content(third).names)
    assert content(tmp_path / "out") == content(one.folder)


def test_a_worker_that_is_killed_is_reported() -> None:
    """As when the RAM is used up."""
    with (
        open_engine("local", 2, None) as engine,
        pytest.raises(WorkerError, match="run the same command again"),
    ):
        list(engine.completed(os._exit, [1]))


# the folder


def test_a_folder_of_another_job_is_not_overwritten(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """The message names what differs; `force` writes it again."""
    shutil.copytree(one.folder, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="another choice of --embeddings"):
        embed(model, photos, tmp_path / "out", workers=1, embeddings=False)
    assert content(tmp_path / "out") == content(one.folder)
    forced = embed(model, photos, tmp_path / "out", workers=1, embeddings=False, force=True)
    assert (forced.resumed, forced.digest) == (0, one.digest)
    assert read_content(forced.shards[0]).embeddings is None


def test_a_photo_that_changed_since_is_noticed(model: Path, tmp_path: Path) -> None:
    """Its old embedding would be wrong."""
    tiny.write_photos(tmp_path / "photos", 2)
    embed(model, tmp_path / "photos", tmp_path / "out", workers=1)
    shutil.copy(tmp_path / "photos/red/000.png", tmp_path / "photos/red/002.png")
    (tmp_path / "photos/red/000.png").write_bytes((tmp_path / "photos/red/001.png").read_bytes() + b"0")
    with pytest.raises(OutputExistsError, match="photos that changed since"):
        embed(model, tmp_path / "photos", tmp_path / "out", workers=1)


def test_a_folder_with_other_files_is_refused_and_not_touched(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    """Also with `force`."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputExistsError, match=r"such as letter\.txt"):
        embed(model, photos, tmp_path, workers=1, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_in_use_is_refused(model: Path, photos: Path, tmp_path: Path) -> None:
    """Two runs at the same time would disturb each other."""
    refused = []

    def again(task: str, done: int, total: int | None, /) -> None:
        if not refused:
            with pytest.raises(OutputExistsError, match="is in use") as caught:
                embed(model, photos, tmp_path / "out", workers=1)
            refused.append(caught)

    embed(model, photos, tmp_path / "out", workers=1, progress=again)
    assert refused


def test_photos_without_labels_are_only_embedded(model: Path, photos: Path, tmp_path: Path) -> None:
    """There is nothing to sum up per label."""
    result = embed(model, photos / "blue", tmp_path / "out", workers=1)
    assert (result.photos, result.labels, result.statistics, result.model) == (COUNT, {}, None, None)
    assert "only embeddings are written" in result.remarks[0]
    with Learner.open(model, None) as learner, pytest.raises(StateError, match="have no labels"):
        teach_embedded(learner, tmp_path / "out")


def test_a_folder_without_photos_is_refused(model: Path, tmp_path: Path) -> None:
    """Empty, missing, or with photos that cannot be decoded only."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match="contains no photo"):
        embed(model, tmp_path / "empty", tmp_path / "out", workers=1)
    with pytest.raises(PhotoError, match="cannot be listed"):
        embed(model, tmp_path / "missing", tmp_path / "out", workers=1)
    (tmp_path / "empty" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    with pytest.raises(PhotoError, match="none of the 1 photos"):
        embed(model, tmp_path / "empty", tmp_path / "out", workers=1)


# engines


@pytest.mark.parametrize(
    ("engine", "workers", "scheduler", "message"),
    [
        ("ray", 1, None, "local, dask"),
        ("local", 0, None, "at least 1"),
        ("local", None, "tcp://host:1", "has workers of its own"),
        ("dask", 2, "tcp://host:1", "has workers of its own"),
        ("dask", None, "nonsense://host", "no Dask scheduler answers at nonsense://host"),
    ],
)
def test_an_engine_that_cannot_start_is_reported(
    engine: str, workers: int | None, scheduler: str | None, message: str
) -> None:
    """The message names what is expected."""
    if scheduler and "nonsense" in scheduler:
        pytest.importorskip("distributed", reason="no Dask: pip install 'edgetl[cluster]'")
    with pytest.raises(WorkerError, match=message), open_engine(engine, workers, scheduler):
        pass


def test_dask_names_its_extra_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed with edgetl."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"edgetl\[cluster\]"), open_engine("dask", 1, None):
        pass


# into a state file


def test_embeddings_are_taught_to_a_state_file(model: Path, one: Embedded) -> None:
    """The head is that of the statistics; a second import teaches nothing, also after a sample was forgotten."""
    with Learner.open(model, None) as learner:
        first = teach_embedded(learner, one.folder)
        assert (first.taught, first.known) == (dict(one.labels), 0)
        assert learner.head.digest() == one.digest
        assert learner.samples("red", 1)[0].source == "red/023.png"
        learner.forget(1)
        assert teach_embedded(learner, one.folder).taught == {}
        assert sum(learner.head.counts.values()) == 3 * COUNT - 1


def test_two_devices_that_import_the_same_folder_can_be_merged(
    model: Path, one: Embedded, tmp_path: Path
) -> None:
    """Each photo is one sample, whoever imported it."""
    for name in ("kitchen.db", "office.db"):
        with Learner.open(model, tmp_path / name) as learner:
            teach_embedded(learner, one.folder)
    with Learner.open(model, tmp_path / "kitchen.db") as learner:
        assert learner.merge(tmp_path / "office.db") is None
        assert learner.head.digest() == one.digest


def test_photos_in_the_model_file_are_not_taught_again(one: Embedded) -> None:
    """The taught model file contains them already."""
    assert one.model is not None
    with Learner.open(one.model, None) as learner:
        again = teach_embedded(learner, one.folder)
        assert (again.taught, again.known) == ({}, 3 * COUNT)


def test_embeddings_of_another_backbone_or_with_other_views_are_refused(
    model: Path, photos: Path, one: Embedded, tmp_path: Path
) -> None:
    """They mean nothing to this head."""
    with Learner.open(tiny.TINY_GRAY, None) as learner, pytest.raises(StateError, match="another backbone"):
        teach_embedded(learner, one.folder)
    with Learner.open(model, None, views="flip") as learner, pytest.raises(StateError, match="views 'one'"):
        teach_embedded(learner, one.folder)
