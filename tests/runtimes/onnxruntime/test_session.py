"""What onnxruntime does beyond the contract: float16, threads, and silence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'sam-edge[cpu]'")

from sam_edge.errors import BundleError
from sam_edge.runtimes.onnxruntime import session as module
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.sessions.session import SessionOptions
from tests.runtimes.onnxruntime.graphs import image, save, tensor, write_encoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


@pytest.mark.parametrize("resident", [False, True])
def test_float16_graphs_take_and_give_float16(tmp_path: Path, resident: bool) -> None:
    half = TensorProto.FLOAT16
    node = helper.make_node("Add", ["a", "a"], ["logits"])
    path = save(tmp_path, "half", [node], [tensor("a", 2, kind=half)], [tensor("logits", 2, kind=half)])
    session = OnnxRuntimeSession(path, SessionOptions(device="cpu"), resident=resident)
    answer = session.run({"a": np.array([1, 2], np.float16)})["logits"]
    assert answer.dtype == np.float16
    np.testing.assert_array_equal(answer, [2, 4])


@pytest.mark.parametrize(("cores", "threads", "expected"), [(6, None, 6), (2, None, 2), (6, 5, 5)])
def test_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    threads: int | None,
    expected: int,
) -> None:
    path = save(tmp_path, "graph", [helper.make_node("Neg", ["a"], ["b"])], [tensor("a", 1)], [tensor("b", 1)])
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    engine = OnnxRuntimeSession(path, SessionOptions(threads=threads, device="cpu"))
    assert engine._session is not None
    options = engine._session.get_session_options()
    assert options.intra_op_num_threads == expected
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_onnxruntime_does_not_print(encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    OnnxRuntimeSession(encoder, SessionOptions(device="cpu")).run(image(1))
    with pytest.raises(BundleError):
        OnnxRuntimeSession(Path(sys.executable), SessionOptions(device="cpu"))
    assert capfd.readouterr() == ("", "")
