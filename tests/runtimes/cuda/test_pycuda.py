"""What only pycuda's binding does, over stand-ins for its modules."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sam_edge.errors import EngineError
from sam_edge.runtimes.cuda.api import OpenCuda
from tests.runtimes.cuda.bindings import binding
from tests.runtimes.cuda.fake_pycuda import Driver, compilers, contexts


@pytest.fixture
def loader(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenCuda]:
    with binding("pycuda", library, monkeypatch) as found:
        yield found


def test_a_thread_that_opens_it_ends_with_an_empty_stack(loader: OpenCuda) -> None:
    def work() -> int:
        loader()
        return len(contexts.stack)

    with ThreadPoolExecutor(1) as pool:
        # pycuda aborts the process when a thread ends with a context on its stack.
        assert pool.submit(work).result() == 0


def test_a_context_that_is_not_to_be_had_is_one_line(loader: OpenCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver.Device, "number", 2)
    with pytest.raises(EngineError, match="cuDevicePrimaryCtxRetain failed"):
        loader(1)


def test_the_compiler_is_found_where_jetpack_puts_it(
    loader: OpenCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.touch(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sam_edge.runtimes.cuda.pycuda._CUDA", tmp_path / "cuda")
    loader().compile("one", "kernel")
    nvcc.parent.rename(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    loader().compile("another", "kernel")
    monkeypatch.setenv("PATH", "")
    loader().compile("a third", "kernel")
    assert compilers[-3:] == [str(nvcc), str(tmp_path / "bin" / "nvcc"), "nvcc"]
