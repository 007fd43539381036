"""The TFLite runtime: LiteRT, or tflite-runtime where only that is installed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DelegateError, ModelFileError, RuntimeMissingError

# distribution name -> module with Interpreter and load_delegate; in order of preference
_RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
SHORT_NAMES = {
    "litert": "ai-edge-litert",
    "ai-edge-litert": "ai-edge-litert",
    "tflite-runtime": "tflite-runtime",
}
_EDGETPU_LIBRARY = {"linux": "libedgetpu.so.1", "darwin": "libedgetpu.1.dylib"}
MAX_THREADS = 4


@dataclass(frozen=True)
class Runtime:
    """A TFLite runtime that is installed.

    Attributes:
        name: ``ai-edge-litert`` or ``tflite-runtime``.
        interpreter_class: Its ``Interpreter``.
        load_delegate: Its ``load_delegate``.
    """

    name: str
    interpreter_class: Callable[..., Any]
    load_delegate: Callable[..., Any]

    @functools.cached_property
    def version(self) -> str:
        """The version of its distribution; looked up late, because that imports a parser of e-mails."""
        import importlib.metadata

        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return "of unknown version"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def __repr__(self) -> str:
        return f"<Runtime {self}>"


def load_runtime(prefer: str | None = None) -> Runtime:
    """Import the runtime: `prefer`, else what EDGETL_RUNTIME names, else the first that is installed.

    Raises:
        RuntimeMissingError: No runtime can be imported, or the named one cannot.
    """
    wanted = prefer or os.environ.get("EDGETL_RUNTIME")
    if wanted and wanted not in SHORT_NAMES:
        raise RuntimeMissingError(f"the runtime must be one of {', '.join(SHORT_NAMES)}, got {wanted!r}")
    problems = []
    for name in [SHORT_NAMES[wanted]] if wanted else _RUNTIMES:
        try:
            module = importlib.import_module(_RUNTIMES[name])
            return Runtime(name, module.Interpreter, module.load_delegate)
        except ImportError as error:
            problems.append(f"{name}: {error}")
    if wanted == "tflite-runtime":  # the extra installs LiteRT
        step = "it needs Python 3.11 or older and NumPy 1, so install it in an environment of its own"
    else:
        step = "install one with: pip install 'edgetl[device]'"
    raise RuntimeMissingError(f"no TFLite runtime can be imported ({'; '.join(problems)}); {step}")


def default_threads() -> int:
    """Return the default number of threads: every usable core, at most `MAX_THREADS`."""
    return max(1, min(MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1))


def open_interpreter(
    model: str | Path | bytes,
    *,
    threads: int | None = None,
    delegate: Any = None,
    runtime: Runtime | None = None,
    name: str = "the model",
) -> Any:
    """Open an interpreter.

    Args:
        model: A file's path, or the model's bytes; the interpreter runs those bytes without a copy.
        threads: CPU threads; by default `default_threads`.
        delegate: The delegate that `load_edgetpu` returned, or None.
        runtime: By default `load_runtime`.
        name: Name of a model passed as bytes, for errors.

    Raises:
        ModelFileError: The file is missing, or this runtime cannot run it.
        DelegateError: The model was compiled for the Edge TPU and no delegate is given.
    """
    runtime = runtime or load_runtime()
    source = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    delegates = [delegate] if delegate is not None else None
    try:
        with quiet_stderr():
            interpreter = runtime.interpreter_class(
                **source, num_threads=threads or default_threads(), experimental_delegates=delegates
            )
            interpreter.allocate_tensors()
            return interpreter
    except (ValueError, RuntimeError, OSError) as error:
        raise explain(error, name if isinstance(model, bytes) else str(model), runtime) from error


def load_edgetpu(runtime: Runtime | None = None) -> Any:
    """Load the Edge TPU's delegate.

    Raises:
        DelegateError: The library or the device is missing.
    """
    runtime = runtime or load_runtime()
    library = _EDGETPU_LIBRARY.get(sys.platform, "edgetpu.dll")
    with _no_delegate_noise():
        try:
            return runtime.load_delegate(library)
        except (OSError, ValueError, RuntimeError) as error:
            import traceback

            reason = str(error).strip() or "no device answered"
            # frees the half-made Delegate while the hook is quiet
            traceback.clear_frames(error.__traceback__)
    raise DelegateError(
        f"the Edge TPU cannot be used: {library} did not load ({reason}); "
        "plug the Coral in and install libedgetpu1-std, or continue on the CPU without it"
    )


def explain(error: Exception, name: str, runtime: Runtime) -> ModelFileError | DelegateError:
    """Return an error that names the next step, made from a runtime's own error."""
    text = str(error).strip()
    if "edgetpu-custom-op" in text:
        return DelegateError(
            f"{name} was compiled for the Edge TPU and cannot run on the CPU; "
            "use the file without _edgetpu, or plug the Coral in"
        )
    if "Flex" in text or "Select TensorFlow op" in text:
        return ModelFileError(
            f"{name} needs Select TensorFlow (Flex) ops, which {runtime} does not have; "
            "convert it with builtin ops only"
        )
    return ModelFileError(
        f"{runtime} cannot run {name}: {text}; it may be cut off or made for a newer runtime"
    )


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back the runtime's INFO lines, which its C++ side writes to the error stream past Python.

    Everything else that is written meanwhile is passed on afterwards.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no error stream at all, as in some services
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            kept = b"".join(line for line in held if not line.startswith((b"INFO:", b"I0000", b"W0000")))
            if kept:
                os.write(2, kept)


@contextlib.contextmanager
def _no_delegate_noise() -> Iterator[None]:
    # a Delegate whose library failed to load raises again in its __del__; that reaches the user as
    # "Exception ignored in ..." unless the hook is quiet meanwhile
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
