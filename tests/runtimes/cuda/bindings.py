"""Both bindings over a driver library of our own, which keeps a list of what it was asked."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import cast

import pytest

from sam_edge.runtimes.cuda import api
from sam_edge.runtimes.cuda.api import OpenCuda
from tests.runtimes.cuda import fake_cuda_python, fake_pycuda

PRIMARY = "70000000c0"
"""The primary context as the driver writes it; it has more bits than an int."""
BINDINGS: dict[str, tuple[str, str, Callable[[], dict[str, ModuleType]]]] = {
    "pycuda": ("sam_edge.runtimes.cuda.pycuda", "PyCuda", fake_pycuda.modules),
    "cuda-python": ("sam_edge.runtimes.cuda.cuda_python", "CudaPython", fake_cuda_python.modules),
}


@contextmanager
def binding(name: str, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    """What opens a device through that binding, on the library."""
    module, function, make_modules = BINDINGS[name]
    for key, value in make_modules().items():
        monkeypatch.setitem(sys.modules, key, value)
    monkeypatch.setattr(api, "LIBRARY", library._name)
    monkeypatch.delitem(sys.modules, module, raising=False)
    loader = cast(OpenCuda, getattr(import_module(module), function))
    library.fake_clear()
    try:
        yield loader
    finally:
        # Others must not get the module that knows the stand-ins.
        sys.modules.pop(module, None)


def asked(library: ctypes.CDLL) -> list[str]:
    """What the library was asked since the last time."""
    lines = library.fake_told().decode().split(";")[:-1]
    library.fake_clear()
    return list(lines)
