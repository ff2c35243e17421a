"""Finding CUDA, and what its errors become. No GPU is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.runtimes.cuda import api as cuda
from sam_edge.runtimes.cuda.api import find_cuda
from sam_edge.runtimes.cuda.errors import CompilerError, check_index, fail
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda


@pytest.fixture(autouse=True)
def _nothing_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_opened", {})
    monkeypatch.setattr(cuda, "probe", lambda: None)


@pytest.mark.parametrize(
    ("installed", "library"),
    [
        ({"cuda.bindings", "pycuda"}, "cuda.cuda_python:CudaPython"),
        ({"cuda.cudart", "pycuda"}, "cuda.cuda_python:CudaPython"),
        ({"pycuda"}, "cuda.pycuda:PyCuda"),
    ],
)
def test_the_better_binding_is_taken(
    installed: set[str], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(where: str) -> Callable[[int], SimulatedCuda]:
        asked.append(where)
        return lambda index: SimulatedCuda()

    monkeypatch.setattr(cuda, "_is_installed", lambda name: name in installed)
    monkeypatch.setattr(cuda, "import_object", load)
    first = find_cuda()
    assert asked == [f"sam_edge.runtimes.{library}"]
    # One device is one object, whoever asks.
    assert find_cuda() is first
    assert len(asked) == 1


def test_no_binding_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_is_installed", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'sam-edge\[tensorrt\]'"):
        find_cuda()


def test_a_missing_driver_is_said_before_a_binding_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise EngineError("no NVIDIA GPU here, or no driver for it")

    monkeypatch.setattr(cuda, "probe", no_driver)
    monkeypatch.setattr(cuda, "_is_installed", lambda name: True)
    monkeypatch.setattr(cuda, "import_object", lambda where: pytest.fail("the binding was asked"))
    with pytest.raises(EngineError, match="no NVIDIA GPU here"):
        find_cuda()


@pytest.mark.parametrize("code", [200, 209, 218, 222])
def test_a_kernel_that_does_not_fit_is_the_compilers_fault(code: int) -> None:
    with pytest.raises(CompilerError):
        fail(code, "cudaErrorX", "loading a kernel")


@pytest.mark.parametrize("error", [ImportError("libcuda.so.1: cannot open\nshared object"), OSError("bad ELF")])
def test_a_binding_that_cannot_be_loaded_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(where: str) -> None:
        raise error

    monkeypatch.setattr(cuda, "_is_installed", lambda name: name == "pycuda")
    monkeypatch.setattr(cuda, "import_object", load)
    with pytest.raises(EngineError, match=r"pycuda .*(shared object|bad ELF)"):
        find_cuda()


@pytest.mark.parametrize(
    ("code", "hint"),
    [(35, "update the driver"), (100, "nvidia-smi"), (803, "restart after"), (12345, "list of errors")],
)
def test_an_error_says_what_was_done_and_what_helps(code: int, hint: str) -> None:
    with pytest.raises(EngineError, match=rf"cudaErrorX, {code}\): .*{hint}"):
        fail(code, "cudaErrorX", "dancing")


def test_no_device_and_a_device_too_many() -> None:
    with pytest.raises(EngineError, match="sees no CUDA device"):
        check_index(0, 0)
    with pytest.raises(EngineError, match="CUDA device 2"):
        check_index(2, 2)
    check_index(1, 2)
