"""The header of SQLite's index of the log, read where SQLite has mapped it into this process.

All connections to a file with a log share its index, ``FILE-shm``, in memory. It begins with two copies of a header of 48
bytes, which every commit of every process changes; before each read, SQLite compares them with the header that it read
before (https://www.sqlite.org/walformat.html, section 2.2). Comparing the same bytes here takes a twentieth of the time of
``PRAGMA data_version``, which matters because every frame of a camera asks.

The file is not opened for that: closing it again would drop the locks that SQLite has on it.
"""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_HEADER_BYTES = 48
_VERSION = 3007000  # of the format of the index


def mapped_header(path: Path) -> ctypes.Array[ctypes.c_char] | None:
    """Return the header of the index of a state file's log, as this process has it in memory; None if that is not known.

    Read it only while the connection that mapped it is open. A value that was read while another process wrote it differs
    from the ones before and after.

    Args:
        path: The state file, without symbolic links.
    """
    try:
        number = Path(f"{path}-shm").stat().st_ino
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, ValueError):  # no such file, or no Linux
        return None
    starts = [
        int(line.split("-", 1)[0], 16) for line in lines if _begins(line, f"{path.absolute()}-shm", number)
    ]
    if len(starts) != 1:
        return None
    header = (ctypes.c_char * _HEADER_BYTES).from_address(starts[0])
    return header if _is_initialized(header.raw) else None


def _begins(line: str, name: str, number: int) -> bool:
    """Return whether a line of the kernel's list is the beginning of a file with this name and inode."""
    # address, permissions, offset, device, inode, name
    fields = line.split(None, 5)
    return len(fields) == 6 and fields[5] == name and int(fields[2], 16) == 0 and int(fields[4]) == number


def _is_initialized(header: bytes) -> bool:
    version, initialized = struct.unpack_from("=I8xB", header)
    return bool(version == _VERSION and initialized == 1)
