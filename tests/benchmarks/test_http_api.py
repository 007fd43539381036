"""The benchmark of the HTTP API, with a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")
pytest.importorskip("uvicorn", reason="the page needs its extra: pip install 'edgetl[serve]'")

from benchmarks.http_api import send, serving, summary, teach
from device.cameras.fake import draw
from device.images import encode_jpeg
from tests.tiny import TINY


def test_each_client_is_answered(tmp_path: Path) -> None:
    """Every client sends at least one photo."""
    photos = [encode_jpeg(draw(name, 1)) for name in ("red", "blue")]
    with serving(TINY, tmp_path) as port:
        with pytest.raises(RuntimeError, match="409"):
            teach_nothing(port, photos)
        teach(port, photos)
        assert len(send(port, photos, 2, 0.01)) >= 2


def teach_nothing(port: int, photos: list[bytes]) -> None:
    """Ask for a prediction before anything is taught."""
    import contextlib
    import http.client

    from benchmarks.http_api import request

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        request(connection, "predict", photos[0], 200)


def test_the_rate_is_the_mean_of_the_rounds() -> None:
    """Two rounds of half a second."""
    found = summary([[0.1] * 5, [0.05] * 10], 0.5)
    assert (found["per_second"], found["rounds"]) == (15.0, [10.0, 20.0])
    assert found["p50_ms"] == 50.0
