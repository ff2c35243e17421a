"""Each rule of the lint on a graph that breaks it, and NVIDIA's own builder on the same graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.errors import BundleError, SamEdgeError
from sam_edge.exporters.lint.operators import ADDED_LATER, OPERATORS
from sam_edge.exporters.lint.tensorrt import Finding, check_engine, lint, lint_model
from tests.exporters.lint import graphs
from tests.exporters.lint.graphs import FLOAT, INT64, graph, node
from tests.exporters.lint.rtx import build

HERE = Path()


class Case(NamedTuple):
    """A graph, what the lint says, and what TensorRT for RTX (newer than 10.3) does with it."""

    model: onnx.ModelProto
    severity: str = ""
    """Of a finding. "": there is none."""
    operator: str = ""
    """Of the node that it is about."""
    what: str = ""
    """A part of it."""
    nvidia: str = ""
    """A part of the builder's refusal. "": it builds."""


def quantized(zero: float | None = 0, kind: type[np.generic] = np.int8, **options: Any) -> onnx.ModelProto:
    return graphs.quantized_linear(None if zero is None else np.array(zero, kind), **options)


SCALES = np.full(16, 0.05, np.float32)
PER_CHANNEL = graphs.quantized_linear(np.zeros(16, np.int8), SCALES, axis=1)
NEGATIVE, INFINITE = (quantized(scale=np.array(scale, np.float32)) for scale in (-0.1, np.inf))
SYMMETRIC_LINEAR = 'mode="linear", coordinate_transformation_mode="half_pixel_symmetric"'
CASES = {
    "plain": Case(graphs.one("Relu")),
    "old opset": Case(graphs.one("Relu", 17), "error", "graph", "its opset is 17"),
    "new opset": Case(graphs.one("Relu", 21), "error", "graph", "its opset is 21"),
    "signed": Case(quantized()),
    "asymmetric": Case(quantized(3), "error", "QuantizeLinear", "zero is 3", "Non-zero zero point"),
    "unsigned": Case(quantized(0, np.uint8), "error", "QuantizeLinear", "uint8", "clips half the range"),
    "uint8": Case(quantized(128, np.uint8), "error", "QuantizeLinear", "uint8", "Non-zero zero point"),
    "unsigned unsaid": Case(quantized(None), "error", "QuantizeLinear", "uint8"),
    "int32 bias": Case(quantized(bias=True), "error", "DequantizeLinear", "int32 bias", "the bias"),
    "activation per channel": Case(PER_CHANNEL, "error", "QuantizeLinear", "activation with 16 scales"),
    "computed scale": Case(graphs.computed_scale(), "error", "QuantizeLinear", "scale scale is not a constant"),
    "negative scale": Case(NEGATIVE, "error", "QuantizeLinear", "not positive", "must all be positive"),
    "infinite scale": Case(INFINITE, "error", "QuantizeLinear", "not positive and finite"),
    "weights along the wrong axis": Case(
        quantized(weight_axis=0), "warning", "DequantizeLinear", "along axis 0"
    ),
    "attention": Case(graphs.attention("float"), "error", "Attention", "10.14", "Attention operation"),
    "half attention": Case(graphs.attention("float16"), "error", "Attention", "10.14"),
    "antialias": Case(
        graphs.resize('mode="linear", antialias=1'), "error", "Resize", "antialias", "the Resize"
    ),
    "cubic": Case(graphs.resize('mode="cubic"'), "warning", "Resize", "cubic"),
    "coordinates": Case(graphs.resize(SYMMETRIC_LINEAR), "error", "Resize", "coordinates", "the Resize"),
    "linear": Case(graphs.resize('mode="linear"')),
    "many largest": Case(graphs.top_k(4000), "error", "TopK", "limit is 3839", "maximum value"),
    "as many largest as go": Case(graphs.top_k(3839)),
    "unsorted": Case(graphs.top_k(10, is_sorted=0), "error", "TopK", "sorted is 0"),
    "size by floats": Case(graphs.size_from_input("float"), "error", "Resize", "orig_im_size", "the Resize"),
    "size by integers": Case(graphs.size_from_input("int64"), "error", "Resize", "orig_im_size", "no optimiz"),
    "size from values": Case(graphs.reshape_by_values(), "error", "Reshape", "values of x", "the Reshape"),
    "half layer norm": Case(graphs.layer_norm("float16"), "warning", "LayerNormalization", "float16"),
    "layer norm in an island": Case(graphs.layer_norm("float16", island=True)),
    "layer norm": Case(graphs.layer_norm("float")),
    "layer norm's mean": Case(
        graphs.layer_norm("float", outputs="y, mean"),
        "error",
        "LayerNormalization",
        "not mean",
        "the LayerNorm",
    ),
    "half variance": Case(graphs.squares_mean("float16"), "warning", "ReduceMean", "squares in float16"),
    "variance": Case(graphs.squares_mean("float")),
    "non-zero": Case(graphs.NON_ZERO, "error", "NonZero", "as large as", "NonZero"),
    "unknown operator": Case(graphs.one("Det"), "error", "Det", "does not know", "the Det (Det)"),
    "foreign operator": Case(graphs.FOREIGN, "error", "FastGelu", "com.m", "Plugin not found"),
    "double": Case(graphs.product("double"), "warning", "graph", "float64"),
    "product of integers": Case(graphs.product("int64"), "error", "MatMul", "int64", "INT64"),
    "bytes": Case(graphs.looked_up("uint8"), "error", "Gather", "uint8", "type"),
    "short integers": Case(graphs.looked_up("int16"), "error", "Gather", "int16", "initializer: w"),
    "largest, and where": Case(graphs.POOLED, "error", "MaxPool", "not where", "the MaxPool"),
    "added up": Case(graphs.ADDED_UP, "error", "ScatterND", "reduction is add", "the ScatterND"),
    "integer exponent": Case(graphs.INTEGER_POWER, "error", "Pow", "exponent e is an integer"),
    "free dimension": Case(graphs.FREE, "error", "graph", "dimensions (n)", "no optimization profile"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_lint_names_node_and_fix(name: str) -> None:
    case, found = CASES[name], lint_model(CASES[name].model, HERE)
    if not case.severity:
        assert found == []
        return
    said = [
        finding for finding in found if (finding.severity, finding.operator) == (case.severity, case.operator)
    ]
    assert any(case.what in finding.what and finding.hint for finding in said), found
    assert found == sorted(found, key=lambda finding: finding.severity)


@pytest.mark.parametrize("name", CASES)
def test_nvidias_builder_agrees(name: str, rtx: Any, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    onnx.save(CASES[name].model, path)
    if CASES[name].nvidia:
        with pytest.raises(SamEdgeError) as refusal:
            build(rtx, path)
        assert CASES[name].nvidia in str(refusal.value)
        assert "\n" not in str(refusal.value)
        # Whatever NVIDIA's builder refuses, the lint must have called an error.
        assert CASES[name].severity == "error"
    else:
        assert len(build(rtx, path).plan) > 1000


def test_the_table_holds_nothing_the_parser_has_forgotten(rtx: Any) -> None:
    log = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(log).create_network(0)
    parser = rtx.OnnxParser(network, log)
    assert {name for name in OPERATORS if not parser.supports_operator(name)} == {"DeformConv"}
    assert all(parser.supports_operator(name) for name in ADDED_LATER)
    assert not set(ADDED_LATER) & set(OPERATORS)


def test_every_operator_of_the_table_is_onnxs_own() -> None:
    assert {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain} >= set(OPERATORS)


def test_a_profile_makes_free_dimensions_good() -> None:
    assert lint_model(graphs.FREE, HERE, profiled=["x"]) == []


def test_the_sizes_that_a_model_leaves_free_are_no_finding() -> None:
    assert check_engine(find_bundle("nano"), EngineSpec("tensorrt")) == []


def test_what_is_computed_from_shapes_is_no_finding() -> None:
    model = graphs.text(
        "(float[4,2,8] x) => (float[] y)",
        """shape = Shape(x)
        rows = Gather<axis=0>(shape, zero)
        target = Concat<axis=0>(rows, minus)
        y = Reshape(x, target)""",
        "int64[1] zero = {0}, int64[1] minus = {-1}",
    )
    assert lint_model(model, HERE) == []


def test_branches_are_looked_into() -> None:
    inner = helper.make_graph(
        [node("Det", "x", "d")], "inner", [], [helper.make_tensor_value_info("d", FLOAT, ())]
    )
    nodes = [node("If", "choice", "y", then_branch=inner, else_branch=inner)]
    inputs = {"x": (FLOAT, (4, 4)), "choice": (TensorProto.BOOL, ())}
    found = lint_model(graph(nodes, inputs, {"y": (FLOAT, ())}), HERE)
    assert {finding.operator for finding in found} == {"Det"}


def test_a_node_without_a_name_is_named_by_what_it_makes() -> None:
    model = graphs.one("Relu")
    model.graph.node[0].op_type = "Det"
    model.graph.node[0].name = ""
    assert "node that makes y (Det)" in str(lint_model(model, HERE)[0])


def _external(folder: Path) -> Path:
    model = graphs.quantized_linear(np.array(3, np.int8))
    path = folder / "big.onnx"
    onnx.save(model, path, save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    return path


def test_external_weights(tmp_path: Path) -> None:
    path = _external(tmp_path)
    data = tmp_path / "big.onnx.data"
    # The zero point is read although it lies beside the graph.
    assert "its zero point zero is 3" in str(lint(path)[0])
    data.write_bytes(data.read_bytes()[:-1])
    assert any("end after" in str(finding) for finding in lint(path))
    data.unlink()
    found = [str(finding) for finding in lint(path)]
    assert any("its weights in big.onnx.data are missing" in text for text in found)


def test_weights_outside_the_folder_are_not_looked_for(tmp_path: Path) -> None:
    path = _external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../big.onnx.data"
    assert any("outside the model folder" in str(finding) for finding in lint_model(model, tmp_path))


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    with pytest.raises(BundleError, match="cannot read"):
        lint(path)
    path.write_bytes(b"no graph at all" * 9)
    with pytest.raises(BundleError, match="not an ONNX graph"):
        lint(path)


def test_types_that_contradict_each_other() -> None:
    model = graphs.one("Relu")
    model.graph.output[0].type.tensor_type.elem_type = INT64
    (finding,) = lint_model(model, HERE)
    assert isinstance(finding, Finding)
    assert "not valid ONNX" in finding.what


@given(zero=st.integers(-128, 127))
def test_only_zero_is_symmetric(zero: int) -> None:
    found = lint_model(graphs.quantized_linear(np.array(zero, np.int8)), HERE)
    assert bool(found) == (zero != 0)
