"""Randomly changed model files, and the child process that opens them: python -m tests.mutants reads paths from stdin.

A number always produces the same mutant.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from device.arrays import pack_arrays, unpack_arrays
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile, write_model_file
from tests.hostile import TakenApart
from tests.tiny import SIDE, TINY_INFER, TINY_TAUGHT, TINY_VERSION_1, photo

_ADDRESS_SPACE = 4 * 2**30  # bytes; protects the machine from a mutant that allocates too much
_EXTREMES = (0, 1, 2, -1, -2, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, -(2**31))
_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 31, 33, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, float("inf"), float("nan"), "", "x",
    "32", "é\u202e", [], [1], [[]], {}, {"a": 1}, [0, 1], [1.5, 2], {"W": [0, 4]}, "identity", "l2", [1, 2, 3],
)  # fmt: skip
_DTYPES = ("i1", "u1", "<i2", ">i2", "<i4", "<u4", "<i8", "<f4", "<f8", "?")


def mutant(number: int) -> tuple[str, bytes]:
    """Return the kind and the content of the mutant with this number."""
    kind = list(KINDS)[number % len(KINDS)]
    noise = random.Random(number)
    return kind, KINDS[kind](noise, noise.choice(_good()))


@functools.cache
def _good() -> tuple[TakenApart, ...]:
    """Return the files that mutants are made from: both versions, both forms of memory, with and without ``infer``."""
    opened = ModelFile.open(TINY_TAUGHT)
    assert isinstance(opened.memory, Samples)
    sums = Sums.of(opened.memory.codes, opened.memory.labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sums.tflite")
        write_model_file(path, opened.model_part(), opened.manifest, opened.labels, sums)
        return tuple(map(TakenApart.read, (TINY_TAUGHT, TINY_VERSION_1, TINY_INFER, path)))


def _bytes(noise: random.Random, data: bytes, start: int = 0) -> bytes:
    """Change up to eight places: a bit, a byte, or a number of four bytes; sometimes cut or repeat."""
    changed = bytearray(data)
    for _ in range(noise.choice((1, 1, 1, 2, 4, 8))):
        place = noise.randrange(start, len(changed))
        match noise.randrange(5):
            case 0 | 1:
                changed[place] ^= 1 << noise.randrange(8)
            case 2:
                changed[place] = noise.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 3:
                aligned = place // 4 * 4
                changed[aligned : aligned + 4] = struct.pack("<i", noise.choice(_EXTREMES))
            case _:
                changed[place : place + noise.randrange(9)] = changed[start : start + noise.randrange(9)]
                changed += bytes(max(0, start + 16 - len(changed)))
    return bytes(changed)


def _anywhere(noise: random.Random, good: TakenApart) -> bytes:
    data = good.packed()
    if noise.random() < 0.2:
        return data[: noise.randrange(len(data))]
    return _bytes(noise, data)


def _flatbuffer(noise: random.Random, good: TakenApart) -> bytes:
    part = bytearray(good.part)
    for _ in range(noise.choice((1, 1, 1, 2, 3, 6))):
        place = noise.randrange(len(part) // 4) * 4
        if noise.random() < 0.6:
            part[place + noise.randrange(4)] ^= 1 << noise.randrange(8)
        else:
            part[place : place + 4] = struct.pack("<i", noise.choice(_EXTREMES))
    return _with_part(good, bytes(part))


def _small_numbers(noise: random.Random, good: TakenApart) -> bytes:
    """Change numbers that look like indices, sizes or options, which determine most of a graph's meaning."""
    part = bytearray(good.part)
    places = np.frombuffer(good.part, "<i4", len(part) // 4)
    small = np.flatnonzero((places >= 0) & (places < 256)) * 4
    for _ in range(noise.choice((1, 1, 2))):
        place = int(small[noise.randrange(len(small))])
        old = struct.unpack_from("<i", part, place)[0]
        new = noise.choice((old + 1, old - 1, 0, 1, 2, 3, 7, 31, 33, 64, 4096, 2**20, -1))
        part[place : place + 4] = struct.pack("<i", new)
    return _with_part(good, bytes(part))


def _exchanged(noise: random.Random, good: TakenApart) -> bytes:
    """Swap two small numbers near each other, such as the inputs of two ops."""
    words = np.frombuffer(good.part[: len(good.part) // 4 * 4], "<i4").copy()
    small = np.flatnonzero((words >= 0) & (words < 256))
    for _ in range(noise.choice((1, 1, 2))):
        place = noise.randrange(len(small))
        other = min(len(small) - 1, place + noise.randrange(1, 200))
        one, two = small[place], small[other]
        words[one], words[two] = words[two], words[one]
    return _with_part(good, words.tobytes() + good.part[4 * len(words) :])


def _with_part(good: TakenApart, part: bytes) -> bytes:
    return TakenApart(part, good.members).mended().packed()


def _directory(noise: random.Random, good: TakenApart) -> bytes:
    return _bytes(noise, good.packed(), len(good.part))


def _manifest(noise: random.Random, good: TakenApart) -> bytes:
    fields = json.loads(good.members["edgetl.json"])
    for _ in range(noise.choice((1, 1, 2))):
        inside = noise.choice((fields, fields, fields["preprocessing"], fields["head_weights"]))
        name = noise.choice(sorted(inside))
        if noise.random() < 0.1:
            del inside[name]
            if inside is fields:
                break
        else:
            inside[name] = noise.choice(_STRANGE)
            if not all(isinstance(fields.get(key), dict) for key in ("preprocessing", "head_weights")):
                break
    text = json.dumps(fields).encode()
    return _sealed(good, text if noise.random() < 0.8 else _bytes(noise, text))


def _sealed(good: TakenApart, manifest: bytes) -> bytes:
    """Replace the manifest and correct only its own checksum."""
    changed = good.with_member("edgetl.json", manifest)
    if "edgetl.sha256" in good.members:
        changed = changed.with_member("edgetl.sha256", hashlib.sha256(manifest).hexdigest().encode())
    return changed.packed()


def _memory(noise: random.Random, good: TakenApart) -> bytes:
    arrays = dict(unpack_arrays(good.members["taught.npz"]))
    name = noise.choice(sorted(arrays))
    array = np.array(arrays[name])
    match noise.randrange(7):
        case 0:
            arrays[name] = array.astype(noise.choice(_DTYPES))
        case 1:
            arrays[name] = array.ravel()[: noise.randrange(array.size + 1)]
        case 2:
            arrays[name] = array[..., np.newaxis] if noise.random() < 0.5 else array.T
        case 3:
            flat = array.reshape(-1)
            low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
            flat[noise.randrange(flat.size)] = noise.choice((low, high, 0, 1, high // 2))
            arrays[name] = flat.reshape(array.shape)
        case 4:
            del arrays[name]
        case 5:
            arrays[noise.choice(("judge", "group", "x"))] = array
        case _:
            packed = _bytes(noise, good.members["taught.npz"])
            return good.with_member("taught.npz", packed).mended().packed()
    return good.with_member("taught.npz", pack_arrays(arrays)).mended().packed()


def _labels(noise: random.Random, good: TakenApart) -> bytes:
    return good.with_member("labels.txt", _bytes(noise, good.members["labels.txt"])).mended().packed()


KINDS: dict[str, Callable[[random.Random, TakenApart], bytes]] = {
    "anywhere": _anywhere,
    "flatbuffer": _flatbuffer,
    "small numbers": _small_numbers,
    "directory": _directory,
    "manifest": _manifest,
    "memory": _memory,
    "labels": _labels,
    "exchanged numbers": _exchanged,
}


def open_as_a_device(path: Path, folder: Path) -> str:
    """Open a model file, predict, export and inspect it; return ``opened`` or ``refused``."""
    from converters.inspection import inspect
    from device.errors import EdgetlError
    from device.learner import Learner

    outcome = "opened"
    try:
        with Learner.open(path, None, threads=1) as learner:
            learner.predict_one(photo("red", 1, SIDE))
            learner.export(folder / "exported.tflite", force=True)
    except EdgetlError as error:
        outcome = "refused"
        if str(path) not in str(error) and path.name not in str(error):
            outcome = f"unnamed: {error}"
    with contextlib.suppress(EdgetlError):
        inspect(path)
    return outcome


def answer(path: Path, folder: Path) -> dict[str, Any]:
    """Return the outcome for one file, with the processor time in seconds and the peak RAM in megabytes."""
    _reset_peak()
    started = time.process_time()
    try:
        outcome = open_as_a_device(path, folder)
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "seconds": time.process_time() - started, "megabytes": _peak()}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def main() -> None:
    """Print one line of JSON per path."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            print(json.dumps(answer(Path(line.strip()), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
