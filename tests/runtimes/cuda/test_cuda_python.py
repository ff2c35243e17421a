"""What only cuda-python's binding does, over stand-ins for its modules."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import OpenCuda
from sam_edge.runtimes.cuda.errors import CompilerError
from tests.runtimes.cuda.bindings import binding


@pytest.fixture
def loader(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    with binding("cuda-python", library, monkeypatch) as found:
        yield found


@pytest.fixture
def driver(loader: OpenCuda) -> Any:
    return sys.modules["cuda.bindings.driver"]


def test_a_missing_driver_is_one_line(loader: OpenCuda, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(flags: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so")

    monkeypatch.setattr(driver, "cuInit", no_library)
    with pytest.raises(EngineError, match=r"Failed to dlopen libcuda\.so"):
        loader()


def test_a_missing_compiler_says_what_brings_it(loader: OpenCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cuda.bindings.nvrtc"], "is_installed", False)
    with pytest.raises(CompilerError, match="pip install nvidia-cuda-nvrtc"):
        loader().compile("source", "letterbox")


def test_without_a_gpu_is_one_line() -> None:
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-python is not installed")
    from sam_edge.runtimes.cuda.cuda_python import CudaPython

    try:
        if int(real.cuInit(0)[0]) == 0:
            pytest.skip("a GPU is here")
    except RuntimeError:
        pass  # it finds no libcuda
    with pytest.raises(EngineError):
        CudaPython()
