"""Read the weights in a legacy PyTorch file, without PyTorch and without unpickling.

A pickle is a program that may call any function. This reader interprets the opcodes itself, accepts only
those of a dictionary of tensors, and calls nothing by name: a file with anything else is refused. The format
(``torch.save`` before 1.6): four pickles (magic number, protocol, system, the dictionary), a pickled list of storage
keys, then for each storage its element count as int64 and its elements, little-endian.
"""

from __future__ import annotations

import io
import math
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackboneError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ZIP = b"PK\x03\x04"
_MAX_BYTES = 512 * 2**20
_MAX_OPCODES = 200_000
_MAX_DIMENSIONS = 8

# the names that a file may contain; they are looked up here, never imported
_STORAGES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_MARK = object()

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE",
}  # fmt: skip
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_weights(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a legacy PyTorch state dictionary.

    Args:
        path: A file that ``torch.save(model.state_dict(), path)`` wrote before PyTorch 1.6.

    Returns:
        Name -> array, float32 or int64, in the order of the file.

    Raises:
        BackboneError: The file is missing, truncated, of another format, or contains anything but tensors.
    """
    path = Path(path)
    data = _read_bytes(path)
    try:
        return _parse(data)
    except BackboneError as error:
        raise BackboneError(
            f"{path} cannot be used: {error}; download it again, or name another file"
        ) from None
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        UnicodeError,
    ) as error:
        raise BackboneError(
            f"{path} is not a legacy PyTorch file of weights, or it is damaged: {error}; "
            "download it again, or name another file"
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise BackboneError(f"{path} has {size} bytes, expected at most {_MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise BackboneError(f"{path} cannot be read: {error.strerror}; check the path") from error


def _parse(data: bytes) -> dict[str, NDArray[Any]]:
    if data.startswith(_ZIP):
        raise BackboneError(
            "it is in the zip format of PyTorch 1.6 and later; write it with "
            "torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)"
        )
    stream = io.BytesIO(data)
    magic = _load(stream)
    if magic != _MAGIC:
        raise BackboneError(
            f"it does not start with PyTorch's legacy magic number but with {str(magic)[:40]}"
        )
    protocol = _load(stream)
    if protocol != _PROTOCOL:
        raise BackboneError(f"expected PyTorch's protocol {_PROTOCOL}, got {str(protocol)[:40]}")
    system = _load(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise BackboneError("expected little-endian weights")
    tensors = _load(stream)
    keys = _load(stream)
    if not isinstance(tensors, dict) or not isinstance(keys, list):
        raise BackboneError("expected a dictionary of tensors and a list of storage keys")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise BackboneError(f"expected only named tensors, got {name!r} -> {type(tensor).__name__}")
    storages = _read_storages(data, stream.tell(), keys, tensors)
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storages(
    data: bytes, position: int, keys: list[Any], tensors: dict[str, _Tensor]
) -> dict[str, NDArray[Any]]:
    declared: dict[str, _Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if declared.setdefault(storage.key, storage) != storage:
            raise BackboneError(f"the storage {storage.key!r} is declared in two ways")
    if len(set(keys)) != len(keys) or set(keys) != set(declared):
        raise BackboneError("the list of storages does not fit the tensors")
    arrays = {}
    for key in keys:
        storage = declared[key]
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        if count != storage.count:
            raise BackboneError(f"the storage {key!r} should have {storage.count} elements, got {count}")
        position += 8
        end = position + count * storage.dtype.itemsize
        if end > len(data):
            raise BackboneError(f"the file is truncated: expected {end} bytes, got {len(data)}")
        arrays[key] = np.frombuffer(data, storage.dtype, count, position)
        position = end
    if position != len(data):
        raise BackboneError(f"{len(data) - position} bytes follow the last tensor, expected none")
    return arrays


def _view(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, storage.dtype)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if last >= storage.size or math.prod(tensor.shape) > storage.size:
        raise BackboneError(f"a tensor of shape {tensor.shape} reaches beyond its storage of {storage.size}")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    window = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return window.astype(storage.dtype.newbyteorder("="))  # a copy, so that the bytes of the file are freed


def _load(stream: io.BytesIO) -> Any:
    """Interpret one pickle and return its value."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if number > _MAX_OPCODES:
            raise BackboneError(f"it contains more than {_MAX_OPCODES} pickle opcodes")
        if opcode.name == "STOP":
            return stack.pop()
        _step(opcode.name, argument, stack, memo)
    raise BackboneError("a pickle has no end")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in _LITERALS:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _EMPTY:
        stack.append(_EMPTY[name]())
    elif name == "PROTO":
        pass
    elif name == "MARK":
        stack.append(_MARK)
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "GLOBAL":
        stack.append(_global(argument))
    else:
        _combine(name, stack)


def _combine(name: str, stack: list[Any]) -> None:
    if name == "TUPLE":
        stack.append(tuple(_pop_to_mark(stack)))
    elif name in _SHORT_TUPLES:
        size = _SHORT_TUPLES[name]
        stack[-size:] = [tuple(stack[-size:])]
    elif name == "APPEND":
        value = stack.pop()
        stack[-1].append(value)
    elif name == "APPENDS":
        values = _pop_to_mark(stack)
        stack[-1].extend(values)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1][key] = value
    elif name == "SETITEMS":
        values = _pop_to_mark(stack)
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    elif name == "BINPERSID":
        stack.append(_storage(stack.pop()))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_reduce(function, arguments))
    elif name == "BUILD":
        stack.pop()  # the attributes of a state dictionary (its versions) are not needed
    else:
        raise BackboneError(f"it contains the pickle opcode {name}, which no dictionary of tensors needs")


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    mark = next((index for index in range(len(stack) - 1, -1, -1) if stack[index] is _MARK), None)
    if mark is None:
        raise BackboneError("it closes a group that was not opened")
    values = stack[mark + 1 :]
    del stack[mark:]
    return values


def _global(name: str) -> _Global:
    if name not in (_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGES):
        raise BackboneError(f"it names {name!r}, which is refused: a file of weights contains tensors only")
    return _Global(name)


def _reduce(function: Any, arguments: Any) -> Any:
    if function == _Global(_ORDERED_DICT) and arguments == ():
        return {}
    if function == _Global(_REBUILD_TENSOR):
        return _tensor(*arguments[:4])
    raise BackboneError(f"it calls {function!r}, which is refused")


def _storage(reference: Any) -> _Storage:
    kind, storage, key, _, count, view = reference
    if kind != "storage" or view is not None or not isinstance(storage, _Global) or not isinstance(key, str):
        raise BackboneError(f"expected a reference to a storage, got {str(reference)[:80]}")
    if type(count) is not int or not 0 <= count <= _MAX_BYTES // 4:
        raise BackboneError(f"a storage of {count!r} elements is refused")
    return _Storage(key, _STORAGES[storage.name], count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if (
        not isinstance(storage, _Storage)
        or len(shape) != len(strides)
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(number) is int and 0 <= number <= _MAX_BYTES for number in numbers)
    ):
        raise BackboneError(f"a tensor of shape {shape!r} and strides {strides!r} is refused")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
