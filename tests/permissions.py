"""File permissions that apply even to root, so that tests of them also run in CI."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION_3 = 0x20080522  # version of the capability calls with two sets of 32
_OVERRIDE, _READ_SEARCH, _FOWNER = 1 << 1, 1 << 2, 1 << 3  # capabilities(7) with which root bypasses modes
# effective, permitted, inheritable of the first 32 capabilities, then of the rest
_Sets = ctypes.c_uint32 * 6


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Make file permissions apply to this thread, and to threads and processes that it starts, inside the block."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(_VERSION_3, 0), _Sets()
    _call(libc.capget, header, before)
    without = _Sets(*before)
    without[0] &= ~(_OVERRIDE | _READ_SEARCH | _FOWNER)
    _call(libc.capset, header, without)
    try:
        yield
    finally:
        _call(libc.capset, header, before)


def _call(function: ctypes._CFuncPtr, header: ctypes.Array[ctypes.c_uint32], sets: _Sets) -> None:
    if function(header, sets):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
