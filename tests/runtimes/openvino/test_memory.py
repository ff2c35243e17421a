"""Where OpenVINO finds too little memory: how much it wanted, and how much there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("openvino", reason="openvino is not installed: pip install 'sam-edge[openvino]'")

from sam_edge.errors import EngineError, InputError
from sam_edge.runtimes.openvino import model as module
from sam_edge.runtimes.openvino.model import Compiler, out_of_memory
from sam_edge.runtimes.openvino.session import OpenVinoSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import save, tensor

ON_GPU = (
    "Exception from src/plugins/intel_gpu/src/runtime/engine.cpp:88:\n[GPU] Exceeded max size of memory object "
    "allocation: requested 9172942848 bytes, but max alloc size supported by device is 4294959104 bytes."
)


class Request:
    """Fails as a request does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def set_input_tensor(self, *_: Any) -> None: ...

    def set_output_tensor(self, *_: Any) -> None: ...

    def infer(self) -> None:
        raise self._error


class Gpu:
    """OpenVINO's answers about a GPU of 4 GB, half of which this process uses."""

    properties: ClassVar[dict[str, Any]] = {
        "GPU_DEVICE_TOTAL_MEM_SIZE": 4 << 30,
        "GPU_MEMORY_STATISTICS": {"usm_device": 1 << 30, "usm_host": 1 << 30},
    }

    def get_property(self, device: str, name: str) -> Any:
        return dict.fromkeys(self.properties, "RO") if name == "SUPPORTED_PROPERTIES" else self.properties[name]

    def compile_model(self, *_: Any) -> None:
        raise RuntimeError(ON_GPU)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save(tmp_path, "neg", [helper.make_node("Neg", ["a"], ["b"])], [tensor("a", 2)], [tensor("b", 2)])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n"),
        RuntimeError("clEnqueue failed: CL_MEM_OBJECT_ALLOCATION_FAILURE"),
        RuntimeError("ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"),
    ],
)
def test_a_run_without_memory_says_what_is_free(
    graph: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(module, "available_mb", lambda: 300)
    failures = [error, RuntimeError("tensor of another shape")]
    real = Compiler.compile

    class Failing:
        """Compiled code whose first requests fail."""

        def __init__(self, compiled: Any) -> None:
            self.outputs, self._compiled = compiled.outputs, compiled

        def create_infer_request(self) -> Any:
            return Request(failures.pop(0)) if failures else self._compiled.create_infer_request()

    monkeypatch.setattr(Compiler, "compile", lambda *arguments: Failing(real(*arguments)))
    engine = OpenVinoSession(graph, SessionOptions(device="CPU"), cached=False)
    feeds = {"a": np.ones(2, np.float32)}
    with pytest.raises(
        EngineError, match=r"^OpenVINO: out of memory to run .*not told, 300 MB are free"
    ) as caught:
        engine.run(feeds)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="refuses the input: tensor of another shape"):
        engine.run(feeds)
    # A request that failed is not used again.
    np.testing.assert_array_equal(engine.run(feeds)["b"], [-1, -1])


def test_compiling_without_memory_says_what_the_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "core", Gpu)
    compiler = Compiler("GPU.1", {}, None, "")
    with pytest.raises(EngineError, match=r"out of memory to compile the graph on GPU\.1") as caught:
        compiler.compile(None)
    assert "8.5 GB were asked for, at most 2.0 GB are free: close" in str(caught.value)
    # What one tensor may take at most is in OpenVINO's own words.
    assert "device is 4294959104 bytes" in str(caught.value)


def test_a_gpu_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(gpu: Gpu, device: str, name: str) -> Any:
        raise RuntimeError("CL_OUT_OF_RESOURCES")

    monkeypatch.setattr(module, "core", Gpu)
    monkeypatch.setattr(Gpu, "get_property", lost)
    assert "8.5 GB were asked for: close" in str(out_of_memory(RuntimeError(ON_GPU), "GPU", "to run"))
    monkeypatch.undo()
    monkeypatch.setattr(module, "core", Gpu)
    monkeypatch.setattr(Gpu, "properties", {})
    assert "8.5 GB were asked for: close" in str(out_of_memory(RuntimeError(ON_GPU), "GPU", "to run"))
