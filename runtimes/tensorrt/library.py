"""Loading TensorRT, what it logs, and how its objects end."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.host.advice import tensorrt_install
from sam_edge.host.machine import this_machine
from sam_edge.host.memory import asked_bytes
from sam_edge.runtimes.cuda.api import CudaApi
from sam_edge.runtimes.cuda.errors import out_of_memory

from .api import TensorRtModule

P = ParamSpec("P")
T = TypeVar("T")
FLOOR = (10, 3)
"""The oldest TensorRT, that of JetPack 6.1."""


def load_tensorrt() -> TensorRtModule:
    """The installed TensorRT. Only to be called once a CUDA device is known: without one it may crash.

    Raises:
        MissingExtraError: it is not installed.
        EngineError: it is older than 10.3, or damaged.
    """
    try:
        trt: TensorRtModule = import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorrt", "tensorrt", hint=tensorrt_install(this_machine())) from error
    except (ImportError, OSError) as error:
        line = " ".join(str(error).split())
        raise EngineError(
            f"tensorrt is installed but cannot be loaded ({line})", hint="install it again"
        ) from error
    found = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if found < FLOOR:
        raise EngineError(
            f"TensorRT {trt.__version__} is too old", hint="install 10.3 or newer (JetPack 6.1 or newer)"
        )
    return trt


class ErrorLog:
    """What TensorRT logged as errors. It returns nothing but None or False when a call fails."""

    def __init__(self, cuda: CudaApi) -> None:
        self._cuda = cuda
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep a line, and of many only the last."""
        self._lines = [*self._lines[-7:], line]

    def take(self) -> str:
        """What has come since the last call, as one line; if it is about memory, with what there is."""
        lines, self._lines = self._lines, []
        reason = "; ".join(lines) or "it does not say why"
        if not is_about_memory(reason):
            return reason
        return f"{reason}; {out_of_memory(asked_bytes(reason), self._cuda.memory(), self._cuda.device.name)}"


def is_about_memory(reason: str) -> bool:
    """Whether there was too little memory; an illegal access to it is another matter."""
    words = reason.lower()
    return "memory" in words and "illegal" not in words


def make_logger(trt: Any, **add: Callable[[str], None]) -> Any:
    """A logger for TensorRT, which gives each line to the function for its severity, such as ERROR, and drops
    lines of other severities."""
    named = {getattr(trt.ILogger, severity): function for severity, function in add.items()}

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base is a value, known only here
        def __init__(self) -> None:
            # TensorRT crashes if its own part was not made.
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in named:
                named[severity](" ".join(msg.split()))

    return Logger()


def clears_frames(function: Callable[P, T]) -> Callable[P, T]:
    """An error of the function keeps none of TensorRT's objects alive in the frames of its traceback.

    TensorRT calls the logger with a lock that its objects need to end: were they left to the garbage collector,
    it could run in a later call of the logger, and wait there for itself.
    """

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise

    return call
