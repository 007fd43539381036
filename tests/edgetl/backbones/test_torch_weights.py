"""Weights are read without unpickling, and anything but tensors is refused."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetl.backbones.torch_weights import read_torch_weights
from edgetl.errors import BackboneError

MAGIC = 0x1950A86A20F9469CFC6C


class FloatStorage:
    """A stand-in for torch.FloatStorage; only its name is written to the file."""


def _rebuild_tensor_v2(*arguments: Any) -> None:
    """Stand in for torch._utils._rebuild_tensor_v2; only its name is written to the file."""


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle write torch's names even if torch is not installed."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    monkeypatch.setattr(FloatStorage, "__module__", "torch")
    monkeypatch.setattr(_rebuild_tensor_v2, "__module__", "torch._utils")
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


class _Tensor:
    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values

    def __reduce__(self) -> tuple[Any, ...]:
        strides = tuple(stride // 4 for stride in self.values.strides)
        storage = _StorageReference(self.key, self.values.size)
        return _rebuild_tensor_v2, (storage, 0, self.values.shape, strides, False, OrderedDict())


class _StorageReference:
    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _StorageReference):
            return ("storage", FloatStorage, value.key, "cpu", value.count, None)
        return None


def legacy_file(content: Any, arrays: dict[str, np.ndarray]) -> bytes:
    """Return a file in the format of torch.save before PyTorch 1.6."""
    target = io.BytesIO()
    for part in (MAGIC, 1001, {"little_endian": True}):
        pickle.dump(part, target, protocol=2)
    _Pickler(target, protocol=2).dump(content)
    pickle.dump(list(arrays), target, protocol=2)
    for values in arrays.values():
        target.write(values.size.to_bytes(8, "little") + values.astype("<f4").tobytes())
    return target.getvalue()


@pytest.fixture
def weights(torch_names: None) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return a file with two tensors, and the tensors."""
    arrays = {"0": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "1": np.float32([1.5, -2])}
    content = OrderedDict(a=_Tensor("0", arrays["0"]), b=_Tensor("1", arrays["1"]))
    return legacy_file(content, arrays), arrays


def test_tensors_are_read_unchanged(weights: tuple[bytes, dict[str, np.ndarray]], tmp_path: Path) -> None:
    """Names, shapes and values are the same."""
    (tmp_path / "w.pth").write_bytes(weights[0])
    read = read_torch_weights(tmp_path / "w.pth")
    assert list(read) == ["a", "b"]
    assert (read["a"] == weights[1]["0"]).all()
    assert (read["b"] == weights[1]["1"]).all()


def test_a_file_truncated_anywhere_is_refused(
    weights: tuple[bytes, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Every length is tried."""
    path = tmp_path / "w.pth"
    for length in range(len(weights[0])):
        path.write_bytes(weights[0][:length])
        with pytest.raises(BackboneError, match=r"w\.pth"):
            read_torch_weights(path)


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(torch_names: None, tmp_path: Path) -> None:
    """The name of the function is refused before any call."""
    marker = tmp_path / "harm"
    (tmp_path / "w.pth").write_bytes(legacy_file(OrderedDict(a=_Attack(marker)), {}))
    with pytest.raises(BackboneError, match="mkdir"):
        read_torch_weights(tmp_path / "w.pth")
    assert not marker.exists()


@pytest.mark.parametrize("first", [7, "text", {"magic": MAGIC}])
def test_another_pickle_is_refused(first: object, tmp_path: Path) -> None:
    """It does not start with PyTorch's number."""
    (tmp_path / "w.pth").write_bytes(pickle.dumps(first, protocol=2))
    with pytest.raises(BackboneError, match="magic"):
        read_torch_weights(tmp_path / "w.pth")


@given(data=st.binary(max_size=200))
def test_noise_is_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All other bytes lead to the same kind of error."""
    path = tmp_path_factory.getbasetemp() / "noise.pth"
    path.write_bytes(data)
    with pytest.raises(BackboneError):
        read_torch_weights(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error has its path."""
    with pytest.raises(BackboneError, match="check the path"):
        read_torch_weights(tmp_path / "none.pth")
