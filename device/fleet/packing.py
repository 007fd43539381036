"""Contributions as bytes: npz arrays of packed integers, checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..arrays import MAX_BYTES, pack_arrays, unpack_arrays
from ..errors import ArraysError, EdgetlError, FleetError
from ..heads.packing import checked_array, pack_sums, unpack_sums
from .checks import check_model, check_statistics
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
    described = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8)}
    return pack_arrays(described | pack_sums(sums), compress=False)


def unpack_contribution(data: bytes, model: FleetModel, sender: str = "") -> Contribution:
    """Return the contribution in bytes from another machine, after every check.

    Args:
        data: What `pack_contribution` returned.
        model: The model of this fleet.
        sender: Name of the device that sent the bytes, if it is known; it replaces the name in the bytes.

    Raises:
        FleetError: The bytes are damaged, of another model, or contain statistics that no samples have.
    """
    who = sender or "a device"
    try:
        arrays = unpack_arrays(data, max_bytes=min(MAX_BYTES, _ROOM + 24 * model.dimensions**2))
        header = _header(arrays)
        who = sender or check_client(header.client)
        found = FleetModel(header.backbone, header.dimensions, header.embedding_map, header.views)
        check_model(found, model)
        sums = unpack_sums(arrays, model.dimensions)
        check_statistics(sums, model)
    except (EdgetlError, KeyError, IndexError, ValueError) as error:
        raise FleetError(f"the contribution of {who} is refused: {_reason(error)}") from error
    return Contribution(who, found, sums)


def _header(arrays: Arrays) -> _Header:
    try:
        header = msgspec.json.decode(bytes(checked_array(arrays, "header", np.uint8, 1)), type=_Header)
    except msgspec.MsgspecError as error:
        raise ArraysError(f"its header is damaged: {error}") from error
    if header.format != FORMAT:
        raise ArraysError(
            f"it has format {header.format}, and this version of edgetl reads {FORMAT}; install one version of edgetl on"
            " all devices"
        )
    return header


def _reason(error: Exception) -> str:
    return f"{error.args[0]!s} is missing" if isinstance(error, KeyError) else str(error)
