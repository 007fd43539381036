"""Photos and embeddings in the body of a request, checked before they cost RAM or time."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..formats import HEAD_BYTES, photo_format
from ..heif import read_heif
from ..images import Image, read_photo
from ..photo_size import photo_size
from .bodies import Refusal

MAX_PIXELS = 50_000_000
"""Maximum number of pixels of a photo; decoded they take 150 MB of RAM."""

_FORMATS = ("JPEG", "PNG", "WebP", "BMP")
_FIELD = 64 * 1024  # maximum bytes of a text field in a form
_FORM = "multipart/form-data"


def kind_of(request: Request) -> str:
    """Return the content type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_upload(request: Request) -> tuple[bytes, dict[str, str]]:
    """Return the encoded photo in the body, and the fields sent with it: of the query, or of the form.

    Raises:
        Refusal: The body is empty, is not a form, or the form has no photo.
    """
    fields = dict(request.query_params)
    if kind_of(request) != _FORM:
        photo = await request.body()
        if not photo:
            raise Refusal(
                400, "the body is empty; send the photo as the body, for example with --data-binary"
            )
        return photo, fields
    photo, sent = await _read_form(request)
    return photo, fields | sent


async def _read_form(request: Request) -> tuple[bytes, dict[str, str]]:
    size = int(request.headers.get("content-length", "0")) or None
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=1, max_fields=8, max_part_size=_FIELD
    )  # fmt: skip
    parser.spool_max_size = size or 2**30  # the size of the body is limited, so the photo stays in RAM
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}") from error
    try:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise Refusal(
                400, "the form must have the photo as the file `image`, for example -F image=@mug.jpg"
            )
        return await image.read(), {key: value for key, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()


def decode_upload(photo: bytes) -> Image:
    """Return a photo that was sent: uint8 [H, W, 3] RGB.

    Raises:
        Refusal: It is in another format, or has too many pixels.
        PhotoError: It is damaged or cut off, or HEIC and too large or the package that reads HEIC is not installed.
    """
    form = photo_format(photo[:HEAD_BYTES])
    if form == "HEIC":
        return read_heif(photo, "the photo", MAX_PIXELS)
    if form not in _FORMATS:
        raise Refusal(
            415, f"the photo must be JPEG, PNG, WebP, BMP or HEIC, got {form or 'an unknown format'}"
        )
    width, height = photo_size(photo) or (0, 0)
    if width * height > MAX_PIXELS:
        raise Refusal(
            413, f"a photo has at most {MAX_PIXELS} pixels, got {width}x{height}; send it at a smaller size"
        )
    if not width * height:
        raise Refusal(422, f"the header of the {form} photo is damaged; save it again")
    return read_photo(photo)


async def read_embedding(request: Request) -> NDArray[np.float32]:
    """Return the embedding in a body of JSON: float32 [D].

    Raises:
        Refusal: The body is not JSON, or not an object with a list of finite numbers.
    """
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error
    values = body.get("embedding") if isinstance(body, dict) else None
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise Refusal(400, 'the body must be {"embedding": [...]} with a list of numbers, or a photo')
    try:
        with np.errstate(over="ignore"):
            embedding = np.array(values, np.float64).astype(np.float32)
    except OverflowError:  # an integer of hundreds of digits
        embedding = np.array([np.inf], np.float32)
    if not np.isfinite(embedding).all():
        raise Refusal(422, "the embedding must consist of finite float32 numbers")
    return embedding
