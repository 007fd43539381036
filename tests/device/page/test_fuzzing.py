"""Schemathesis sends generated requests to every endpoint of the HTTP API, valid ones and invalid ones."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from device.cameras.fake import draw

from .conftest import Client, Serve

EXAMPLES = 4  # per endpoint and mode
ENDLESS = "/api/v1/events"  # a stream of events, tested elsewhere


def test_every_endpoint_answers_generated_requests_as_specified(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """No request causes a failure of the server, an answer that is not specified, or one of another shape."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        schemathesis = pytest.importorskip("schemathesis", reason="no Schemathesis: pip install schemathesis")
        from schemathesis.checks import not_a_server_error
        from schemathesis.generation.modes import GenerationMode
        from schemathesis.specs.openapi.checks import (
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        )

    server, client = serve()
    for label in ("mug", "plant"):
        server.page.learner.learn_many([draw(label, number) for number in range(3)], [label] * 3)
    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    ]  # fmt: skip
    schema = schemathesis.openapi.from_dict(client.ask("/api/v1/openapi.json"))
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        for mode in GenerationMode:
            fuzz(operation, mode, server.url, checks)
        tried.add((operation.method, operation.path))
    assert len(tried) >= 13
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
    assert client.ask("/api/v1/status")["camera"]["condition"] == "live"


def fuzz(operation: Any, mode: Any, url: str, checks: list[Any]) -> None:
    """Send generated requests of one mode to an endpoint, and check each answer."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        case.call_and_validate(base_url=url.rstrip("/"), checks=checks)

    with contextlib.suppress(Unsatisfiable):  # an endpoint without parameters has no invalid request
        check()


def test_fuzzing_finds_an_answer_that_is_not_specified(client: Client) -> None:
    """The test above can fail: with a wrong document it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schemathesis = pytest.importorskip("schemathesis", reason="no Schemathesis: pip install schemathesis")
        from schemathesis.generation.modes import GenerationMode
        from schemathesis.specs.openapi.checks import response_schema_conformance
    document = client.ask("/api/v1/openapi.json")
    answer = document["paths"]["/api/v1/undo"]["post"]["responses"]["200"]
    answer["content"]["application/json"]["schema"] = {"type": "string"}
    schema = schemathesis.openapi.from_dict(document)
    operation = schema["/api/v1/undo"]["POST"]
    with pytest.raises(BaseException, match=r"(?i)schema") as failure:
        fuzz(
            operation,
            GenerationMode.POSITIVE,
            f"http://127.0.0.1:{client.port}",
            [response_schema_conformance],
        )
    assert not isinstance(failure.value, KeyboardInterrupt)


NAMES = [
    "label", "hold", "old", "new", "id", "ids", "key", "action", "label_filter", "limit", "not_label", "background", "dry_run",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(
    st.sampled_from(NAMES), VALUES | st.sampled_from(["mug", "plant", 1, 2]), max_size=4
)


def test_every_endpoint_of_the_page_survives_generated_objects(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the fields: an answer below 500, JSON, and no logged error."""
    server, client = serve()
    for label in ("mug", "plant"):
        server.page.learner.learn_many([draw(label, number) for number in range(3)], [label] * 3)
    paths = sorted(path for path in post_addresses(server) if not path.startswith("/api/v1/"))
    assert len(paths) >= 10

    @given(path=st.sampled_from(paths), body=OBJECTS | VALUES)
    @settings(max_examples=100, database=None, suppress_health_check=list(HealthCheck))
    def check(path: str, body: Any) -> None:
        answer = client.post(path, body)
        assert answer.status < 500 or answer.status in (503, 507), (path, body, answer.body)
        assert isinstance(answer.json, dict)

    check()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text


def post_addresses(server: Any) -> set[str]:
    """Return the addresses of the running server that accept POST."""
    app = server._server.config.app
    while not hasattr(app, "routes"):
        app = getattr(app, "_app", None) or app._first
    return {route.path for route in app.routes if "POST" in (getattr(route, "methods", None) or ())}
