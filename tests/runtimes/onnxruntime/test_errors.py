"""What onnxruntime refuses is named: node, operator, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.errors import BundleError, EngineError, InputError
from sam_edge.runtimes.onnxruntime import errors
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import save, tensor


@pytest.mark.parametrize(("node", "op"), [("odd one", "Frobnicate"), ("", "Frobnicate")])
def test_an_operator_that_is_lacking_is_named_with_its_node(tmp_path: Path, node: str, op: str) -> None:
    path = save(
        tmp_path, "odd", [helper.make_node(op, ["a"], ["b"], name=node)], [tensor("a", 1)], [tensor("b", 1)]
    )
    with pytest.raises(BundleError, match=rf"has no {op} for node '{node}' of .*odd\.onnx") as caught:
        OnnxRuntimeSession(path, SessionOptions(device="cpu"))
    assert "\n" not in str(caught.value)


def test_a_type_without_a_kernel_is_named_with_its_node(tmp_path: Path) -> None:
    kinds = {"kind": TensorProto.INT8}
    node = helper.make_node("GridSample", ["a", "grid"], ["b"], name="sampling")
    inputs = [tensor("a", 1, 1, 2, 2, **kinds), tensor("grid", 1, 2, 2, 2)]
    path = save(tmp_path, "typed", [node], inputs, [tensor("b", 1, 1, 2, 2, **kinds)])
    with pytest.raises(BundleError, match="has no GridSample for node 'sampling'"):
        OnnxRuntimeSession(path, SessionOptions(device="cpu"))


def test_an_opset_of_the_future(tmp_path: Path) -> None:
    node = helper.make_node("Neg", ["a"], ["b"])
    path = save(tmp_path, "future", [node], [tensor("a", 1)], [tensor("b", 1)], opset=99)
    with pytest.raises(BundleError, match=r"has opset 99, onnxruntime .* knows \d+ at most"):
        OnnxRuntimeSession(path, SessionOptions(device="cpu"))


@pytest.mark.parametrize("resident", [False, True])
def test_too_little_memory_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], resident: bool
) -> None:
    node = helper.make_node("Expand", ["a", "shape"], ["b"], name="huge")
    inputs = [tensor("a", 1), tensor("shape", 2, kind=TensorProto.INT64)]
    path = save(tmp_path, "huge", [node], inputs, [tensor("b", "x", "y")])
    feeds: Any = {"a": np.zeros(1, np.float32), "shape": np.array([1 << 20, 1 << 24])}
    with pytest.raises(EngineError, match=r"out of memory to run the graph: .* not told, .* GB are free"):
        OnnxRuntimeSession(path, SessionOptions(device="cpu"), resident=resident).run(feeds)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("Available memory of 19968 is smaller than requested bytes of 1572864", "1 MB were asked for"),
        ("Failed to allocate memory for requested buffer of size 300", "0.3 kB were asked for"),
        ("TensorRT: OutOfMemory (Requested size was 5368709120 bytes.)", "5.0 GB were asked for"),
        ("Requested amount of GPU memory (2097152 bytes): out of memory", "2 MB were asked for"),
        ("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)", "is not told"),
        ("std::bad_alloc", "is not told"),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", "is not told"),
    ],
)
def test_what_was_asked_for_is_said_where_onnxruntime_says_it(
    monkeypatch: pytest.MonkeyPatch, said: str, wanted: str
) -> None:
    monkeypatch.setattr(errors, "free_memory_mb", lambda: 300)
    monkeypatch.setattr(errors, "available_mb", lambda: 5 << 10)
    for memory, where, free in (("cuda", "out of device memory", "300 MB"), ("cpu", "out of memory", "5.0 GB")):
        for found in (
            errors.run_error(Exception(said), memory),
            errors.load_error(Exception(said), Path("e.onnx"), memory),
        ):
            assert isinstance(found, EngineError)
            assert str(found).startswith(f"{where} to ")
            assert f"{wanted}, {free} are free: close other programs" in str(found)
    # Nobody can say what is free.
    monkeypatch.setattr(errors, "free_memory_mb", lambda: None)
    assert f"{wanted}: close other programs" in str(errors.run_error(Exception(said), "cuda"))


def test_errors_of_cuda_are_engine_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "free_memory_mb", lambda: 300)
    asked = Exception(
        "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 4294967296"
    )
    found = errors.run_error(asked, "cuda")
    assert isinstance(found, EngineError)
    assert "out of device memory to run the graph: 4.0 GB were asked for, 300 MB are free" in str(found)
    full = errors.load_error(
        Exception("CUDA failure 2: out of memory ; GPU=0 ; hostname=x"), Path("e.onnx"), "cuda"
    )
    assert isinstance(full, EngineError)
    assert "out of device memory to load e.onnx: how much was asked for is not told" in str(full)
    text = "CUDNN failure\nCUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=x ; file=y"
    failed = errors.run_error(Exception(text), "cuda")
    assert str(failed) == "CUDA fails while the graph runs: unspecified launch failure: see sam-edge doctor"
    assert isinstance(errors.run_error(Exception("Got invalid dimensions"), "cuda"), InputError)
