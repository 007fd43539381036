"""The HTTP API for other programs, version 1: predict, teach, correct and read.

docs/http-api.md describes it, and openapi.json specifies it; a test compares both with the running server.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import (
    CameraError,
    EdgetlError,
    EmbeddingError,
    HeadError,
    LabelError,
    PhotoError,
    SampleNotFoundError,
    SelectionError,
    StateBusyError,
    StorageError,
)
from ..formats import Reason
from ..learner.correcting import Target
from ..learner.selecting import SampleFilter
from ..store import Sample
from .answers import (
    MEANINGS,
    answer,
    before_of,
    check_background,
    check_one_sent,
    download,
    fields,
    flag,
    jpeg,
    json_object,
    kind_wanted,
    limit_of,
    meant,
    number,
    only_get,
    refuse_crowd,
    wants_forecast,
)
from .bodies import V1, Refusal
from .guard import VisibleJSON
from .page import Page
from .photos import decode_upload, kind_of, read_embedding, read_upload
from .regions import prefix_of
from .streams import events

_STATUS: tuple[tuple[type[EdgetlError], int], ...] = (
    (SampleNotFoundError, 404),
    (LabelError, 422),
    (SelectionError, 422),
    (PhotoError, 422),
    (EmbeddingError, 422),
    (HeadError, 409),
    (StateBusyError, 503),
    (CameraError, 503),
    (StorageError, 503),
)
_OF_PHOTO = {Reason.HEIC: 415, Reason.FORMAT: 415, Reason.TOO_LARGE: 413}
_UPLOADS = 16  # maximum number of photos in RAM; each has up to 16 MiB
_AT_ONCE = 2  # maximum number of photos decoded at the same time; each needs up to 150 MB of RAM
_SOURCE, _HOLD = 100, 64  # maximum number of characters

Result = TypeVar("Result")


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error of edgetl."""
    if isinstance(error, PhotoError) and error.reason in _OF_PHOTO:
        return _OF_PHOTO[error.reason]
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def program_routes(page: Page) -> list[BaseRoute]:
    """Return the routes of the API, except the one that issues tokens."""
    api = _Programs(page)
    sample = V1 + "samples/{id}"
    get: dict[str, Callable[..., Any]] = {
        V1 + "openapi.json": api.openapi,
        V1 + "status": api.status,
        V1 + "model": api.model,
        V1 + "model.tflite": api.export,
        V1 + "events": api.events,
        V1 + "snapshot.jpg": api.snapshot,
        sample + ".jpg": api.thumbnail,
        V1 + "doubts": api.doubts,
        V1 + "doubts/{id}.jpg": api.doubt,
    }
    post = {
        V1 + "predict": api.predict,
        V1 + "undo": api.undo,
        V1 + "samples/correct": api.correct,
        V1 + "doubts/teach": api.answer,
        V1 + "doubts/drop": api.drop,
    }
    return [
        *(only_get(path, endpoint) for path, endpoint in get.items()),
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post.items()),
        # one route per path, so that the answer to another method lists all that are allowed
        _route(V1 + "samples", {"GET": api.samples, "POST": api.teach}),
        _route(sample, {"GET": api.sample, "PATCH": api.relabel, "DELETE": api.forget}),
    ]


def _route(path: str, endpoints: dict[str, Callable[..., Any]]) -> Route:
    async def call(request: Request) -> Response:
        response: Response = await endpoints[request.method](request)
        return response

    route = Route(path, call, methods=list(endpoints))
    route.methods = set(endpoints)  # Starlette adds HEAD
    return route


class _Programs:
    def __init__(self, page: Page) -> None:
        self._page, self._learner, self._lessons = page, page.learner, page.lessons
        self._uploads = 0
        self._limiter: anyio.CapacityLimiter | None = None

    # predicting and teaching

    async def predict(self, request: Request) -> Response:
        every = flag(request.query_params.get("all_scores", "false"))
        with self._upload():
            if kind_of(request) == "application/json":
                embedding = await read_embedding(request)
                return VisibleJSON(await self._work(lambda: self._prediction(lambda: embedding, every)))
            photo, _ = await read_upload(request)
            return VisibleJSON(
                await self._work(lambda: self._prediction(lambda: self._embedded(photo), every))
            )

    async def teach(self, request: Request) -> Response:
        if kind_of(request) == "application/json":
            raise Refusal(415, "the body must be a photo, or a form with a photo; got JSON")
        with self._upload():
            photo, sent = await read_upload(request)
            label, not_label = _meaning(sent)
            source, hold = _short(sent, "source", _SOURCE), _short(sent, "hold", _HOLD)
            sample, counts = await self._work(
                lambda: self._lessons.learn(
                    decode_upload(photo), label, source, not_label=not_label, hold=hold
                )
            )
        place = {"location": f"{prefix_of(request.scope)}{V1}samples/{sample.id}"}
        answered = _described(sample) | {"counts": counts} | self._lessons.hidden()
        return VisibleJSON(answered, 201, place)

    def _embedded(self, photo: bytes) -> NDArray[np.float32]:
        return self._learner.embed_one(decode_upload(photo))

    def _prediction(self, embed: Callable[[], NDArray[np.float32]], all_scores: bool) -> dict[str, Any]:
        start = time.perf_counter()
        prediction = self._learner.predict_embedding(embed(), all_scores=all_scores)
        self._page.http_meter.count(prediction, time.perf_counter() - start)
        return prediction.to_dict()

    @contextlib.contextmanager
    def _upload(self) -> Iterator[None]:
        if self._uploads >= _UPLOADS:
            raise Refusal(429, f"{_UPLOADS} photos are being sent already; try again in a second")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def _work(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread, few at a time, so that neither RAM nor the threads of the page run out."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    # correcting

    async def relabel(self, request: Request) -> Response:
        _, label, not_label = await meant(request)
        return await answer(self._relabeled, _id(request), label, not_label)

    def _relabeled(self, id: int, label: str | None, not_label: str | None) -> dict[str, Any]:
        self._lessons.relabel(id, label, not_label=not_label)
        return self._sample(id) | self._counts()

    def _counts(self) -> dict[str, Any]:
        return {"counts": self._lessons.counts()} | self._lessons.hidden()

    async def forget(self, request: Request) -> Response:
        return await answer(self._forgotten, _id(request))

    def _forgotten(self, id: int) -> dict[str, Any]:
        self._lessons.forget(id)
        return {"id": id} | self._counts()

    async def correct(self, request: Request) -> Response:
        body = await json_object(request)
        known = {"select": dict, "action": str, "dry_run": bool, **MEANINGS}
        wrong = [name for name, value in body.items() if type(value) is not known.get(name)]
        if wrong or not {"select", "action"} <= body.keys():
            raise Refusal(
                400,
                "the body must be an object with select and action, and perhaps one of label, not and background, and "
                "dry_run as true or false",
            )
        check_background(body)
        target = Target(body.get("label"), body.get("not"), body.get("background", False))
        wanted = SampleFilter.from_dict(body["select"])
        return await answer(
            lambda: self._corrected(wanted, body["action"], target, body.get("dry_run", False))
        )

    def _corrected(self, wanted: SampleFilter, action: str, target: Target, dry_run: bool) -> dict[str, Any]:
        done = self._lessons.correct(wanted, action, target, dry_run=dry_run)
        return done | {"counts": self._lessons.counts()}

    # uncertain frames

    async def doubts(self, request: Request) -> Response:
        def listed() -> dict[str, Any]:
            doubts = self._page.doubts
            return {"doubts": [doubt.to_dict() for doubt in doubts.items()], "problem": doubts.problem}

        return await answer(listed)

    async def doubt(self, request: Request) -> Response:
        return jpeg(await run_in_threadpool(self._page.doubt, _id(request)))

    async def answer(self, request: Request) -> Response:
        body, label, not_label = await meant(request, ids=list)
        numbers = _ids(body["ids"])

        def taught() -> dict[str, Any]:
            samples = self._lessons.answer(numbers, label, not_label=not_label)
            return {"samples": [_described(one) for one in samples], **self._counts()}

        return await answer(taught)

    async def drop(self, request: Request) -> Response:
        numbers = _ids((await fields(request, ids=list))["ids"])
        return await answer(self._lessons.drop, numbers)

    async def undo(self, request: Request) -> Response:
        await fields(request)

        def undone() -> dict[str, Any]:
            done = self._lessons.undo()
            return {name: done[name] for name in ("undone", "message")} | self._counts()

        return await answer(undone)

    # reading

    async def samples(self, request: Request) -> Response:
        label, not_label, background = kind_wanted(request)
        limit, before = limit_of(request), before_of(request)
        excluded = flag(request.query_params.get("excluded", "false"))

        def found() -> dict[str, Any]:
            listed = self._learner.samples(
                label, limit, before, excluded, not_label=not_label, background=background
            )
            return {"samples": [_described(sample) for sample in listed]}

        return await answer(found)

    async def sample(self, request: Request) -> Response:
        return await answer(self._sample, _id(request))

    def _sample(self, id: int) -> dict[str, Any]:
        return _described(self._learner.store.sample(id))

    async def thumbnail(self, request: Request) -> Response:
        return jpeg(await run_in_threadpool(self._page.thumbnail, _id(request)))

    async def status(self, request: Request) -> Response:
        forecast = wants_forecast(request)
        return await answer(lambda: self._lessons.report(forecast) | {"camera": self._page.loop.figures()})

    async def model(self, request: Request) -> Response:
        return await answer(self._model)

    def _model(self) -> dict[str, Any]:
        model = self._learner.model
        return {
            "name": model.path.name,
            "backbone": model.manifest.backbone,
            "dimensions": model.manifest.dimensions,
            "quantization": model.manifest.quantization,
            "sha256": model.sha256,
            "runtime": str(self._learner.runtime),
            "head": self._learner.head.name,
            **self._counts(),
        }

    async def export(self, request: Request) -> Response:
        return await download(self._lessons.export)

    async def events(self, request: Request) -> Response:
        refuse_crowd(self._page.events.readers)
        return events(self._page.events)

    async def snapshot(self, request: Request) -> Response:
        picture = await run_in_threadpool(self._page.loop.snapshot)
        return Response(picture, media_type="image/jpeg")

    async def openapi(self, request: Request) -> Response:
        return Response(_specification(), media_type="application/json")


@cache
def _specification() -> bytes:
    return (Path(__file__).parent / "openapi.json").read_bytes()


def _id(request: Request) -> int:
    id = number(request.path_params["id"])
    if id < 0:
        raise Refusal(404, f"there is no sample {request.path_params['id'][:20]!r}; ids are whole numbers")
    return id


def _ids(sent: list[Any]) -> list[int]:
    if not sent or not all(type(one) is int for one in sent):
        raise Refusal(400, "ids must be a list of at least one id")
    if wrong := [one for one in sent if not 0 <= one < 2**63]:
        raise Refusal(404, f"there is no frame {str(wrong[0])[:20]}")
    return sent


def _meaning(sent: dict[str, str]) -> tuple[str | None, str | None]:
    """Return the label and the denied label of a photo; none for background."""
    background = flag(sent.get("background", "false"))
    label, not_label = sent.get("label"), sent.get("not")
    if label is None and not_label is None and not background:
        raise Refusal(
            400,
            "the label is missing; add ?label=LABEL to the address, or the field `label` to the form; ?not=LABEL teaches "
            "what is not LABEL, and ?background=true what belongs to no label",
        )
    check_one_sent({"label": label, "not": not_label, "background": background})
    if "\ufffd" in (label or not_label or ""):  # what undecodable bytes become
        raise Refusal(400, "the label is not UTF-8; percent-encode its UTF-8 bytes in the address")
    return label, not_label


def _short(sent: dict[str, str], name: str, limit: int) -> str:
    text = sent.get(name, "")
    if len(text) > limit or not text.isprintable():
        raise Refusal(422, f"a {name} has at most {limit} printable characters, got {len(text)} characters")
    return text


def _described(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "label": sample.label,
        "not_label": sample.not_label,
        "time": sample.time,
        "source": sample.source,
        "burst": sample.burst,
        "thumbnail": sample.thumbnail is not None,
        "excluded": sample.excluded,
    }
