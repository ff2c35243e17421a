"""Finding CUDA, and what its errors become. No GPU is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sam_edge.errors import EngineError, MissingExtraError
from sam_edge.runtimes.cuda import api as cuda
from sam_edge.runtimes.cuda.api import (
    BINDINGS,
    CompilerError,
    check_index,
    fail,
    fail_memory,
    find_cuda,
    version_text,
)
from tests.runtimes.cuda.simulated_cuda import SimulatedCuda


@pytest.fixture(autouse=True)
def _nothing_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_opened", {})
    monkeypatch.setattr(cuda, "probe", lambda: None)


@pytest.mark.parametrize(("number", "text"), [(12060, "12.6"), (13000, "13.0"), (11040, "11.4")])
def test_versions_read_as_people_write_them(number: int, text: str) -> None:
    assert version_text(number) == text


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
    with pytest.raises(EngineError, match="no NVIDIA GPU here, or no driver for it"):
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
    with pytest.raises(EngineError, match=r"^pycuda is installed but cannot be loaded \(.*driver there\?$"):
        find_cuda()


def test_packages_that_lack_the_part_we_need_are_not_taken() -> None:
    assert cuda._is_installed("json")
    assert not cuda._is_installed("json.no_such_part")
    assert not cuda._is_installed("no_such_package.part")
    assert set(BINDINGS.values()) == {
        "sam_edge.runtimes.cuda.cuda_python:CudaPython",
        "sam_edge.runtimes.cuda.pycuda:PyCuda",
    }


@pytest.mark.parametrize(
    ("code", "hint"),
    [(35, "update the driver"), (100, "nvidia-smi"), (803, "restart after"), (12345, "list of errors")],
)
def test_an_error_says_what_was_done_and_what_helps(code: int, hint: str) -> None:
    with pytest.raises(EngineError, match=rf"CUDA failed while dancing \(cudaErrorX, {code}\): .*{hint}"):
        fail(code, "cudaErrorX", "dancing")


def test_no_device_and_a_device_too_many() -> None:
    with pytest.raises(EngineError, match="sees no CUDA device"):
        check_index(0, 0)
    with pytest.raises(EngineError, match="no CUDA device 2: choose one of 0 to 1"):
        check_index(2, 2)
    check_index(1, 2)


def test_memory_that_is_out_is_counted() -> None:
    device = SimulatedCuda(total=64 << 20)
    device.malloc(16 << 20)
    with pytest.raises(EngineError, match=r"100\.0 MiB were asked, 48 of 64 MiB are free on Simulated"):
        fail_memory(100 << 20, device)
