"""What every runtime keeps, on graphs small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sam_edge.errors import BundleError, InputError, MissingExtraError
from sam_edge.runtime import RUNTIMES, OpenRuntime, find_runtime
from sam_edge.tensors import TensorSpec


@pytest.fixture(params=RUNTIMES)
def opener(request: pytest.FixtureRequest) -> OpenRuntime:
    try:
        return find_runtime(request.param)[1]
    except MissingExtraError as error:
        # Every runtime keeps the contract where its library can be had; the message names the extra.
        pytest.skip(str(error))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """total = a + b, doubled = 2 a, for a of any width."""
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Mul", ["a", "two"], ["doubled"]),
    ]
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, "width"])
        for name in ("a", "b", "total", "doubled")
    }
    body = helper.make_graph(
        nodes, "sums", [tensors["a"], tensors["b"]], [tensors["total"], tensors["doubled"]], [two]
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "sums.onnx")
    return tmp_path / "sums.onnx"


def feeds(width: int) -> dict[str, np.ndarray]:
    a = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    return {"a": a, "b": a + 1}


def test_names_shapes_and_types_are_the_graphs(opener: OpenRuntime, graph: Path) -> None:
    engine = opener(graph)
    assert engine.inputs == (TensorSpec("a", (2, "width")), TensorSpec("b", (2, "width")))
    assert [spec.name for spec in engine.outputs] == ["total", "doubled"]


def test_computes_every_output(opener: OpenRuntime, graph: Path) -> None:
    given = feeds(5)
    got = opener(graph, threads=1).run(given)
    np.testing.assert_allclose(got["total"], given["a"] + given["b"])
    np.testing.assert_allclose(got["doubled"], 2 * given["a"])
    assert got["total"].dtype == np.float32


def test_results_outlive_the_next_run_and_the_engine(opener: OpenRuntime, graph: Path) -> None:
    engine = opener(graph)
    first = engine.run(feeds(3))["total"]
    kept = first.copy()
    engine.run({name: value * 7 for name, value in feeds(3).items()})
    engine.close()
    np.testing.assert_array_equal(first, kept)


def test_the_free_dimension_may_change_between_runs(opener: OpenRuntime, graph: Path) -> None:
    engine = opener(graph)
    assert engine.run(feeds(2))["total"].shape == (2, 2)
    assert engine.run(feeds(9))["total"].shape == (2, 9)


def test_wrong_shape_names_the_input(opener: OpenRuntime, graph: Path) -> None:
    with pytest.raises(InputError, match="a"):
        opener(graph).run({"a": np.zeros((3, 4), np.float32), "b": np.zeros((3, 4), np.float32)})


def test_missing_input_is_named(opener: OpenRuntime, graph: Path) -> None:
    with pytest.raises(InputError, match="b"):
        opener(graph).run({"a": np.zeros((2, 4), np.float32)})


def test_no_graph_is_a_bundle_error_naming_the_file(opener: OpenRuntime, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"this is no graph")
    with pytest.raises(BundleError, match=r"bad\.onnx"):
        opener(tmp_path / "bad.onnx")


def test_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(InputError, match="onnxruntime"):
        find_runtime("tpu")


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_edge.runtime.find_spec", lambda library: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sam-edge\[cpu\]'"):
        find_runtime()


def test_the_callers_arithmetic_stays_as_it_was(opener: OpenRuntime, graph: Path) -> None:
    tiny = np.float32(1e-40)
    opener(graph, threads=1).run(feeds(2))
    # An engine that flushes denormals to zero would do so in the calling thread too.
    assert tiny * np.float32(0.5) > 0
