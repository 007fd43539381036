"""What Prometheus reads at /metrics, checked with Prometheus's own parser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.page.metrics import CONTENT_TYPE, Meter, sample_metrics, text_of

from ..live.seen import observation
from .conftest import Answer, Client, Scene, Serve

HARD_LABELS = ["a/b", 'a "quoted" label', "back\\slash", "😀 猫", "ends in \\", "{x='1'}", "x" * 10_000]


def families(text: str) -> dict[str, Any]:
    """Return the metrics by name, as Prometheus's parser reads them."""
    parser = pytest.importorskip(
        "prometheus_client.parser", reason="no prometheus-client: pip install prometheus-client"
    )
    found = list(parser.text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found), "a metric occurs twice"
    return {family.name: family for family in found}


def value(found: dict[str, Any], name: str, **labels: str) -> float | None:
    """Return a value, or None where there is none."""
    samples = [sample for family in found.values() for sample in family.samples if sample.name == name]
    values = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    assert len(values) <= 1, (name, labels)
    return float(values[0]) if values else None


def scrape(client: Client) -> dict[str, Any]:
    """Return the metrics of a server."""
    answer = client.get("/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    return families(answer.body.decode())


def test_a_camera_is_measured(client: Client, scene: Scene) -> None:
    """Frames, age of the newest frame, latency, predictions per label and samples per label."""
    client.look()
    before = scrape(client)
    assert value(before, "edgetl_frames_total", source="camera") > 0  # type: ignore[operator]  # a number
    assert value(before, "edgetl_unknown_ratio", source="camera") is None
    client.teach("mug")
    client.sees("mug")
    client.look()
    found = scrape(client)
    assert value(found, "edgetl_camera_up", source="camera") == 1
    age = value(found, "edgetl_newest_frame_age_seconds", source="camera")
    assert age is not None
    assert age >= 0
    assert value(found, "edgetl_samples", label="mug") == 3
    predicted = value(found, "edgetl_predictions_total", source="camera", label="mug") or 0
    frames = value(found, "edgetl_frames_total", source="camera")
    assert frames is not None
    assert 0 < predicted + (value(found, "edgetl_unknown_predictions_total", source="camera") or 0) <= frames
    assert value(found, "edgetl_latency_seconds_count", source="camera") == frames
    assert value(found, "edgetl_latency_seconds_bucket", source="camera", le="+Inf") == frames
    assert value(found, "edgetl_info", model="tiny.tflite", backbone="tiny") == 1


def test_predictions_over_http_are_counted(serve: Serve) -> None:
    """Also without a camera, which then has no metrics."""
    _, client = serve(camera=False)
    photo = encode_jpeg(draw("red", 1))
    for path in (f"samples?label={quote('a/b')}", "predict", "predict"):
        answer = Answer(client.open(f"/api/v1/{path}", "POST", photo, Content_Type="image/jpeg"))
        assert answer.status < 300
    found = scrape(client)
    assert value(found, "edgetl_predictions_total", source="http", label="a/b") == 2
    assert value(found, "edgetl_frames_total", source="camera") is None
    assert value(found, "edgetl_camera_up") is None


def test_negatives_and_background_are_counted_apart_from_labels(serve: Serve) -> None:
    """Without any, negatives have no value and background is 0."""
    _, client = serve(camera=False)
    photo = encode_jpeg(draw("red", 1))

    def teach(meaning: str) -> None:
        answer = Answer(client.open(f"/api/v1/samples?{meaning}", "POST", photo, Content_Type="image/jpeg"))
        assert answer.status == 201

    teach("label=mug")
    found = scrape(client)
    assert value(found, "edgetl_negatives") is None
    assert value(found, "edgetl_background_samples", source="camera") == 0
    for meaning in ("not=mug", "not=mug", "background=true"):
        teach(meaning)
    found = scrape(client)
    assert value(found, "edgetl_samples", label="mug") == 1
    assert value(found, "edgetl_negatives", source="camera", label="mug") == 2
    assert value(found, "edgetl_background_samples", source="camera") == 1


def test_metrics_need_a_token_where_the_page_needs_a_session(serve: Serve) -> None:
    """Labels and their numbers are not public."""
    server, client = serve(sign_in=True)
    assert client.get("/metrics").status == 401
    token = server.sessions.token  # type: ignore[union-attr]  # sign_in makes sessions
    assert client.get("/metrics", Authorization=f"Bearer {token}").status == 200


@pytest.mark.parametrize("label", HARD_LABELS)
def test_every_label_is_read_back_unchanged(label: str) -> None:
    """Backslashes, quotes, line breaks and long labels."""
    meter = Meter("front")
    meter.see(observation(label))
    found = families(text_of([*meter.metrics(), *sample_metrics("front", {label: 3}, {label: 2}, 1)]))
    assert value(found, "edgetl_predictions_total", label=label) == 1
    assert value(found, "edgetl_samples", label=label) == 3
    assert value(found, "edgetl_negatives", label=label) == 2


def test_the_histogram_is_cumulative_and_the_share_is_that_of_unknown_predictions() -> None:
    """One fast known and three slow unknown predictions."""
    now = [10.0]
    meter = Meter("front", clock=lambda: now[0])
    meter.see(replace(observation("mug"), embed_ms=4.0, head_ms=0.5))
    for _ in range(3):
        meter.see(replace(observation("unknown"), embed_ms=100.0, head_ms=50.0))
    now[0] = 12.5
    found = families(text_of(meter.metrics()))
    buckets = {
        le: value(found, "edgetl_latency_seconds_bucket", le=le) for le in ("0.005", "0.1", "0.25", "+Inf")
    }
    assert buckets == {"0.005": 1, "0.1": 1, "0.25": 4, "+Inf": 4}
    assert value(found, "edgetl_latency_seconds_sum") == pytest.approx(0.4545)
    assert value(found, "edgetl_unknown_ratio") == 0.75
    assert value(found, "edgetl_newest_frame_age_seconds") == 2.5


def test_metrics_of_two_sources_are_joined() -> None:
    """A metric must not occur twice in the text."""
    meters = [Meter("front"), Meter("back")]
    for meter in meters:
        meter.see(observation("mug"))
    found = families(text_of([metric for meter in meters for metric in meter.metrics()]))
    assert value(found, "edgetl_predictions_total", source="back") == 1
