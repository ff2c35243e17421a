"""Float16 graphs: what stays in float32 is found by running, and the twin rounds as float16 does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sam_edge.errors import InputError
from sam_edge.exporters.half.precision import Source, halve, read_source, save
from sam_edge.exporters.half.ranges import find_islands, measure_ranges
from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.exportable import GraphSource
from sam_edge.modeling.layers import LayerNorm2d


def graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    *,
    keeps_shape: bool = True,
    **weights: np.ndarray,
) -> Source:
    """`x` of that shape to `y`, of the same or (1, 1)."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape if keeps_shape else (1, 1))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return read_source(path)


def run(model: onnx.ModelProto, path: Path, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    save(model, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    y: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return y


def squares(path: Path) -> Source:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], "square"),
        helper.make_node("Mul", ["square", "tiny"], ["small"], "small"),
        helper.make_node("Add", ["small", "one"], ["y"], "add"),
    ]
    return graph(path, nodes, (4,), tiny=np.array(1e-3, np.float32), one=np.array(1, np.float32))


def test_what_overflows_stays_in_float32(tmp_path: Path) -> None:
    source = squares(tmp_path / "g.onnx")
    assert find_islands(source, [{"x": np.full(4, 3, np.float32)}]) == frozenset()
    large = np.full(4, 300, np.float32)
    islands = find_islands(source, [{"x": np.full(4, 3, np.float32)}, {"x": large}])
    assert islands >= {"square"}
    assert "add" not in islands
    spoilt = run(halve(source, (), emulate=True), tmp_path / "spoilt.onnx", large)
    assert np.isinf(spoilt).all()
    kept = run(halve(source, islands, emulate=True), tmp_path / "kept.onnx", large)
    assert np.abs(kept - 91).max() < 0.1
    assert np.abs(run(halve(source, islands), tmp_path / "half.onnx", large) - 91).max() < 0.1


@pytest.mark.parametrize(("value", "safe"), [(180, True), (182, False)])
def test_half_of_the_largest_is_left_to_other_images(tmp_path: Path, value: int, safe: bool) -> None:
    islands = find_islands(squares(tmp_path / "g.onnx"), [{"x": np.full(4, value, np.float32)}])
    assert ("square" not in islands) == safe


@pytest.mark.parametrize(("scale", "safe"), [(1e-5, True), (4e-6, False)])
def test_a_few_roundings_are_no_loss(tmp_path: Path, scale: float, safe: bool) -> None:
    """Steps of 6e-8 between such small values lose about 2e-3 of the first and 4e-3 of the second."""
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"], "small")]
    source = graph(tmp_path / "g.onnx", nodes, (64,), scale=np.array(scale, np.float32))
    x = np.random.default_rng(0).random(64, np.float32) + 0.5
    assert find_islands(source, [{"x": x}]) == (frozenset() if safe else {"small"})


def test_what_goes_denormal_stays_in_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "tiny"], ["faint"], "faint"),
        helper.make_node("Div", ["faint", "fainter"], ["y"], "ratio"),
    ]
    tiny = np.array(1e-7, np.float32)
    source = graph(tmp_path / "g.onnx", nodes, (64,), tiny=tiny, fainter=np.array(3e-7, np.float32))
    x = np.random.default_rng(0).random(64, np.float32) + 0.5
    assert find_islands(source, [{"x": x}]) == {"faint", "ratio"}


def test_angles_of_large_coordinates_stay_in_float32(tmp_path: Path) -> None:
    """A pixel coordinate of 1000 is a whole number in float16: the point would move."""
    nodes = [helper.make_node("Sin", ["x"], ["y"], "angle")]
    source = graph(tmp_path / "g.onnx", nodes, (64,))
    x = np.float32(1000) * np.random.default_rng(0).random(64, np.float32)
    assert find_islands(source, [{"x": x}]) == {"angle"}
    assert find_islands(source, [{"x": x / np.float32(1000)}]) == frozenset()


def test_what_a_mean_sums_up_counts(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], "mean", keepdims=1)]
    source = graph(tmp_path / "g.onnx", nodes, (100, 100), keeps_shape=False)
    ranges = measure_ranges(source, [{"x": np.full((100, 100), 20, np.float32)}])
    assert ranges["mean"].peak == pytest.approx(200_000)
    assert find_islands(source, [{"x": np.full((100, 100), 20, np.float32)}]) == {"mean"}
    assert find_islands(source, [{"x": np.full((100, 100), 2, np.float32)}]) == frozenset()


def test_nan_is_not_safe(tmp_path: Path) -> None:
    nodes = [helper.make_node("Log", ["x"], ["y"], "log")]
    source = graph(tmp_path / "g.onnx", nodes, (4,))
    assert find_islands(source, [{"x": np.array([1, 2, -1, 3], np.float32)}]) == {"log"}


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.norm = nn.Conv2d(3, 8, 1), LayerNorm2d(8)
        self.after = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.after(self.norm(self.before(x)))
        return y


def test_layer_norm_is_one_node_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Normalised().requires_grad_(False)
    # 300 squared overflows float16 inside the norm, which no output shows.
    x = torch.randn(1, 3, 8, 8) * 300
    path = write_graph(GraphSource("encoder", module, {"x": x}, ("y",)), tmp_path)
    source = read_source(path)
    (norm,) = (node for node in source.computing() if node.op_type == "LayerNormalization")
    assert not {node.op_type for node in source.computing()} & {"ReduceMean", "Pow", "Sqrt", "Div"}
    islands = find_islands(source, [{"x": x.numpy()}])
    assert norm.name in islands
    half = halve(source, islands)
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    (norm,) = (node for node in half.graph.node if node.op_type == "LayerNormalization")
    assert {types[name] for name in norm.input[1:]} == {TensorProto.FLOAT}
    for conv in (node for node in half.graph.node if node.op_type == "Conv"):
        assert {types[name] for name in conv.input[1:]} == {TensorProto.FLOAT16}
    assert {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)} == {
        TensorProto.FLOAT
    }
    expected = module(x).numpy()
    for emulate in (False, True):
        y = run(halve(source, islands, emulate=emulate), tmp_path / f"{emulate}.onnx", x.numpy())
        assert np.abs(y - expected).max() < 1e-2 * np.abs(expected).max()


@settings(max_examples=25)
@given(st.sets(st.sampled_from(["first", "second", "third", "shape", "give"])), st.booleans())
def test_any_islands_make_a_sound_graph(
    tmp_path_factory: pytest.TempPathFactory, islands: set[str], emulate: bool
) -> None:
    folder = tmp_path_factory.mktemp("islands")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "second"),
        helper.make_node("Shape", ["b"], ["s"], "sizes"),
        helper.make_node("Cast", ["s"], ["n"], "shape", to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["n"], ["total"], "give", keepdims=1),
        helper.make_node("Div", ["b", "total"], ["y"], "third"),
    ]
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    source = graph(folder / "g.onnx", nodes, (2, 4), w=weights)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    expected = np.maximum(x @ weights, 0) / 6
    y = run(halve(source, islands, emulate=emulate), folder / "half.onnx", x)
    assert np.abs(y - expected).max() < 2e-3
    if len(islands) == 5:
        assert np.array_equal(y, run(halve(source, islands), folder / "whole.onnx", x))


def test_weights_are_halved_outside_islands_only(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    source = graph(tmp_path / "g.onnx", nodes, (1, 64), w=weights)
    save(halve(source, ()), tmp_path / "half.onnx")
    save(halve(source, {"product"}), tmp_path / "whole.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 64 * 64 * 2 + 1000
    (whole,) = onnx.load(tmp_path / "whole.onnx").graph.initializer
    assert np.array_equal(numpy_helper.to_array(whole), weights)


def test_graphs_inside_graphs_are_named(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"])],
        "inner",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, (4,))],
    )
    nodes = [helper.make_node("If", ["on"], ["y"], "choice", then_branch=inner, else_branch=inner)]
    with pytest.raises(InputError, match=r"choice \(If\)"):
        graph(tmp_path / "g.onnx", nodes, (4,), on=np.array(True))
