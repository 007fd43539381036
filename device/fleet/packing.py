"""Contributions as bytes: npz arrays of packed integers, checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..arrays import MAX_BYTES, pack_arrays, pack_texts, unpack_arrays, unpack_texts
from ..errors import ArraysError, EdgetlError, FleetError
from ..heads.integers import pack_integers, pack_symmetric, unpack_integers, unpack_symmetric
from ..model.memory import Sums
from .checks import check_contribution
from .contribution import Contribution, FleetModel, check_client

FORMAT = 1
_ROOM = 64 * 2**20  # bytes for labels and the sums per label

Arrays = Mapping[str, NDArray[Any]]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    client: str
    backbone: str
    dimensions: int
    embedding_map: str
    views: str


def pack_contribution(contribution: Contribution) -> bytes:
    """Return a contribution as bytes; equal contributions become equal bytes."""
    model, sums = contribution.model, contribution.sums
    header = _Header(
        FORMAT, contribution.client, model.backbone, model.dimensions, model.embedding_map, model.views
    )
    arrays: dict[str, NDArray[Any]] = {
        "header": np.frombuffer(msgspec.json.encode(header), np.uint8),
        "names": pack_texts(list(sums.labels)),
        "counts": sums.numbers.astype(np.int64),
        "sums": pack_integers(sums.sums),
    }
    return pack_arrays(arrays | pack_symmetric(sums.gram.astype(np.int64)), compress=False)


def unpack_contribution(data: bytes, model: FleetModel, sender: str = "") -> Contribution:
    """Return the contribution in bytes from another machine, after every check.

    Args:
        data: What `pack_contribution` returned.
        model: The model of this fleet.
        sender: Name of the device that sent the bytes, for messages, if it is known.

    Raises:
        FleetError: The bytes are damaged, of another model, or contain statistics that no samples have.
    """
    who = sender or "a device"
    try:
        arrays = unpack_arrays(data, max_bytes=min(MAX_BYTES, _ROOM + 24 * model.dimensions**2))
        header = _header(arrays)
        who = sender or check_client(header.client)
        found = FleetModel(header.backbone, header.dimensions, header.embedding_map, header.views)
        _refuse_other_model(found, model)
        contribution = Contribution(check_client(header.client), found, _sums(arrays, model.dimensions))
    except (EdgetlError, KeyError, IndexError, ValueError) as error:
        raise FleetError(f"the contribution of {who} is refused: {_reason(error)}") from error
    check_contribution(contribution, model)
    return contribution


def _header(arrays: Arrays) -> _Header:
    try:
        header = msgspec.json.decode(bytes(_array(arrays, "header", np.uint8, 1)), type=_Header)
    except msgspec.MsgspecError as error:
        raise ArraysError(f"its header is damaged: {error}") from error
    if header.format != FORMAT:
        raise ArraysError(
            f"it has format {header.format}, and this version of edgetl reads {FORMAT}; install one version of edgetl on"
            " all devices"
        )
    return header


def _refuse_other_model(found: FleetModel, model: FleetModel) -> None:
    if found != model:
        raise ArraysError(
            f"it was taught to the model {found}, but the fleet uses {model}; all devices need the same backbone:"
            " copy the model file of the fleet to the device, and use edgetl reembed for what was taught"
        )


def _sums(arrays: Arrays, dimensions: int) -> Sums:
    labels = tuple(unpack_texts(_array(arrays, "names", np.uint8, 1)))
    sums = unpack_integers(_array(arrays, "sums", np.uint8, 3))
    symmetric = {
        "gram_diagonal": _array(arrays, "gram_diagonal", np.int64, 1),
        "gram_widths": _array(arrays, "gram_widths", np.uint8, 1),
        "gram_bits": _array(arrays, "gram_bits", np.uint8, 1),
    }
    gram = unpack_symmetric(symmetric, dimensions)
    return Sums(labels, _array(arrays, "counts", np.int64, 1), sums, gram)


def _array(arrays: Arrays, name: str, dtype: type[np.generic], axes: int) -> NDArray[Any]:
    if name not in arrays:
        raise ArraysError(f"the array {name} is missing")
    found = arrays[name]
    if found.dtype != np.dtype(dtype).newbyteorder("<") or found.ndim != axes:
        raise ArraysError(
            f"{name} must be {np.dtype(dtype).name} with {axes} axes, got {found.dtype} {list(found.shape)}"
        )
    return found.astype(dtype, copy=False)  # the machine's own byte order


def _reason(error: Exception) -> str:
    return f"{error.args[0]!s} is missing" if isinstance(error, KeyError) else str(error)
