"""Finding the runtime and saying what is wrong when there is none."""

from __future__ import annotations

import ctypes.util
import os
import sys
from pathlib import Path

import pytest

from device.errors import DelegateError, ModelFileError, RuntimeMissingError
from device.model.runtime import explain, load_edgetpu, load_runtime, open_interpreter, quiet_stderr


def test_a_runtime_is_found_and_named() -> None:
    """Every figure is printed with it."""
    runtime = load_runtime()
    assert runtime.name in ("ai-edge-litert", "tflite-runtime")
    assert runtime.version[0].isdigit()


def test_without_a_runtime_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both modules blocked."""
    monkeypatch.delenv("EDGETL_RUNTIME", raising=False)
    for name in (
        "ai_edge_litert.interpreter",
        "tflite_runtime.interpreter",
        "ai_edge_litert",
        "tflite_runtime",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match="pip install"):
        load_runtime()
    with pytest.raises(RuntimeMissingError, match="NumPy 1"):  # the extra does not install this one
        load_runtime("tflite-runtime")


def test_an_unknown_runtime_is_refused() -> None:
    """The choices are named."""
    with pytest.raises(RuntimeMissingError, match="litert"):
        load_runtime("onnx")


def test_a_broken_model_is_an_error_with_its_name(tmp_path: Path) -> None:
    """The runtime's own words come after ours."""
    (tmp_path / "broken.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(ModelFileError, match=r"broken\.tflite"):
        open_interpreter(tmp_path / "broken.tflite")


def test_a_missing_edge_tpu_is_said_plainly() -> None:
    """No Edge TPU library here, or no stick."""
    if ctypes.util.find_library("edgetpu"):
        pytest.skip("the Edge TPU's library is installed here")
    with pytest.raises(DelegateError, match="libedgetpu"):
        load_edgetpu()


def test_errors_of_the_runtime_are_explained() -> None:
    """The Edge TPU's custom op and Flex have next steps of their own."""
    runtime = load_runtime()
    tpu = explain(RuntimeError("Encountered unresolved custom op: edgetpu-custom-op."), "m", runtime)
    flex = explain(RuntimeError("Select TensorFlow op(s) FlexSave"), "m", runtime)
    assert isinstance(tpu, DelegateError)
    assert "Coral" in str(tpu)
    assert "Flex" in str(flex)


def test_only_the_runtimes_chatter_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    """INFO lines vanish, anything else arrives."""
    with quiet_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: something real\n")
    assert capfd.readouterr().err == "ERROR: something real\n"
