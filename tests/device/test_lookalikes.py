"""Groups of look-alikes: bursts join, distinct photos of one label do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device.grouping import join
from device.images import Image
from device.lookalikes import Shot, group_lookalikes, read_shots
from device.looks import look_at
from tests.scenes import frame, scene, write


def shot(label: str, image: Image, name: str = "", time: float | None = None) -> Shot:
    """Return a shot of a picture."""
    return Shot(label, name, look_at(image), time)


def test_frames_of_a_scene_join_and_scenes_stay_apart() -> None:
    """Ten scenes of five frames are ten groups, without any help from names."""
    shots = [shot("ab"[number % 2], frame(number, place)) for number in range(10) for place in range(5)]
    groups = group_lookalikes(shots).groups
    assert groups.tolist() == np.repeat(np.arange(10), 5).tolist()


def test_distinct_photos_of_one_label_stay_single() -> None:
    """Photos that merely share a label are not joined, for any names."""
    shots = [
        shot("ab"[number % 2], scene(number), f"{'ab'[number % 2]}/{number:03}.jpg") for number in range(30)
    ]
    assert group_lookalikes(shots).count == 30


def test_features_shared_with_other_labels_join_nothing() -> None:
    """Where all photos show the same fixed view, as solar cells do, only closer look-alikes are joined."""
    random = np.random.default_rng(0)

    def cell(number: int) -> Image:
        image = scene(99).copy()
        x, y = random.integers(0, 120, 2)
        image[y : y + 36, x : x + 36] = scene(number)[:36, :36]
        return image

    cells = [shot("ab"[number % 2], cell(number)) for number in range(24)]
    found = group_lookalikes([*cells, cells[4]])
    assert found.level > 0.6
    assert found.groups[24] == found.groups[4]
    assert found.count >= 20


def test_neighbors_of_a_recording_join_although_its_ends_differ() -> None:
    """A camera that pans over a wide scene makes one group; numbered photos of different things do not."""
    wide = np.concatenate([scene(number) for number in range(4)], axis=1)
    pan = [wide[:, at : at + 160] for at in range(0, 480, 24)]
    recording = [shot("a", np.ascontiguousarray(view), f"a/clip_{at:04}.jpg") for at, view in enumerate(pan)]
    others = [shot("b", scene(50 + number), f"b/{number:04}.jpg") for number in range(20)]
    found = group_lookalikes([*recording, *others])
    assert len(np.unique(found.groups[:20])) <= 3
    assert len(np.unique(found.groups[20:])) == 20


def test_photos_taken_within_seconds_join_unless_the_clock_stands_still() -> None:
    """Two shots in two seconds are of one moment; the same second on every photo proves nothing."""
    times = [0.0, 2.0, 60.0, 120.0, 122.5]
    timed = [shot("a", scene(number), f"a/{number}x.jpg", time) for number, time in enumerate(times)]
    assert group_lookalikes(timed).groups.tolist() == [0, 0, 1, 2, 2]
    stopped = [shot("a", scene(number), f"a/{number}x.jpg", 5.0) for number in range(6)]
    assert group_lookalikes(stopped).count == 6


def test_labels_never_share_a_group_and_the_same_picture_under_two_is_a_conflict() -> None:
    """The pair is reported instead of joined."""
    shots = [shot("a", scene(number)) for number in range(8)] + [shot("b", frame(3, 0)), shot("b", scene(2))]
    found = group_lookalikes(shots)
    assert found.count == 10
    assert found.conflicts == ((2, 9),)


def test_black_photos_are_counted_and_no_conflict() -> None:
    """They show nothing, so they contradict nothing."""
    black = np.zeros((40, 40, 3), np.uint8)
    found = group_lookalikes([shot("a", black), shot("a", black), shot("b", black)])
    assert (found.flat, found.count, found.conflicts) == (3, 2, ())


def test_files_are_read_and_a_damaged_one_stays_by_itself(tmp_path: Path) -> None:
    """A photo that cannot be read joins nothing here; other code reports it."""
    good = [write(frame(0, number), tmp_path / "a" / f"{number}.jpg") for number in range(2)]
    (tmp_path / "a" / "bad.jpg").write_bytes(b"no photo")
    seen: list[int] = []
    photos = [(path, "a") for path in [*good, tmp_path / "a" / "bad.jpg", tmp_path / "missing.jpg"]]
    shots = read_shots(photos, lambda task, done, total: seen.append(done))
    assert [one.look is None for one in shots] == [False, False, True, True]
    assert group_lookalikes(shots).groups.tolist() == [0, 0, 1, 2]
    assert seen == [1, 2, 3, 4]


def test_no_photos_are_no_groups() -> None:
    """The empty list is accepted."""
    assert group_lookalikes([]).count == 0
    assert join(0, []).tolist() == []
    assert group_lookalikes([Shot("a"), Shot("b")]).groups.tolist() == [0, 1]
