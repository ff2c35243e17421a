"""The reference evaluator, where it differs from other runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from sam_edge.runtimes.reference.session import ReferenceSession


def test_a_saturated_sigmoid_is_no_warning(tmp_path: Path) -> None:
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "ab")
    body = helper.make_graph([helper.make_node("Sigmoid", ["a"], ["b"])], "gate", [a], [b])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "gate.onnx")
    # Warnings are errors here: with one there would be no answer.
    got = ReferenceSession(tmp_path / "gate.onnx").run({"a": np.array([-1000, 0, 2, 1000], np.float32)})["b"]
    np.testing.assert_allclose(got, [0, 0.5, 1 / (1 + np.exp(-2)), 1], rtol=1e-6)
