"""Small graphs that TensorRT takes or refuses for one reason each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
Shape = Sequence[int | str]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node called "the <operator>"; names of tensors are separated by spaces, "-" leaves one out."""
    names = [name.replace("-", "") if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), f"the {operator}", **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape | None]],
    constants: Mapping[str, NDArray[Any]] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """A model of those nodes; inputs and outputs are name -> (element type, shape)."""
    given, made = (
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    )
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    body = helper.make_graph(list(nodes), "small", given, made, weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def text(signature: str, body: str, weights: str = "", opset: int = 20) -> onnx.ModelProto:
    """A model in ONNX's own syntax (https://onnx.ai/onnx/repo-docs/Syntax.html)."""
    domains = f'"" : {opset}, "com.microsoft" : 1' if "com.microsoft" in body else f'"" : {opset}'
    model = onnx.parser.parse_model(
        f"<ir_version: 9, opset_import: [{domains}]> small {signature} <{weights}> {{ {body} }}"
    )
    for made in model.graph.node:
        made.name = f"the {made.op_type}"
    return model


def one(operator: str, opset: int = 20) -> onnx.ModelProto:
    """x (1, 4, 8, 8) through one operator that takes nothing else."""
    return text("(float[1,4,8,8] x) => (float[] y)", f"y = {operator}(x)", opset=opset)


def random(*shape: int, dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    """Normal numbers, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def quantized_linear(
    zero: NDArray[Any] | None = None,
    scale: NDArray[Any] | None = None,
    bias: bool = False,
    axis: int | None = None,
    weight_axis: int = 1,
) -> onnx.ModelProto:
    """x (4, 16) quantized and dequantized, times INT8 weights (16, 8), plus an INT32 bias if asked for.

    `zero` None leaves the zero point of the activation out; `scale` None is one number.
    """
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(0.05, np.float32) if scale is None else scale,
        "weight": np.clip(random(16, 8) * 40, -127, 127).astype(np.int8),
        "weight_scale": np.full((16, 8)[weight_axis], 0.01, np.float32),
        "weight_zero": np.zeros((16, 8)[weight_axis], np.int8),
    }
    names = "scale"
    if zero is not None:
        constants["zero"] = zero
        names = "scale zero"
    where = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", f"x {names}", "x_q", **where),
        node("DequantizeLinear", f"x_q {names}", "x_dq", **where),
        helper.make_node(
            "DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], "weights", axis=weight_axis
        ),
        node("MatMul", "x_dq w", "product" if bias else "y"),
    ]
    if bias:
        constants |= {
            "bias": np.arange(8, dtype=np.int32),
            "bias_scale": np.full(8, 0.0005, np.float32),
            "bias_zero": np.zeros(8, np.int32),
        }
        nodes += [
            helper.make_node(
                "DequantizeLinear", ["bias", "bias_scale", "bias_zero"], ["b"], "the bias", axis=0
            ),
            node("Add", "product b", "y"),
        ]
    return graph(nodes, {"x": (FLOAT, (4, 16))}, {"y": (FLOAT, (4, 8))}, constants)


def attention(kind: str) -> onnx.ModelProto:
    """The operator of opset 23, with elements of that type."""
    shape = f"{kind}[1,4,32,16]"
    return text(f"({shape} q, {shape} k, {shape} v) => ({shape} y)", "y = Attention(q, k, v)", opset=23)


def resize(attributes: str) -> onnx.ModelProto:
    """x (1, 4, 8, 8) at twice the size."""
    signature = "(float[1,4,8,8] x) => (float[] y)"
    return text(signature, f"y = Resize<{attributes}>(x, , scales)", "float[4] scales = {1, 1, 2, 2}")


def top_k(k: int, is_sorted: int = 1) -> onnx.ModelProto:
    """The k largest of 5000 numbers."""
    signature = f"(float[1,5000] x) => (float[1,{k}] y, int64[1,{k}] where)"
    return text(signature, f"y, where = TopK<sorted={is_sorted}>(x, k)", f"int64[1] k = {{{k}}}")


def size_from_input(kind: str) -> onnx.ModelProto:
    """An answer as large as an input says, as the official decoder's orig_im_size does."""
    return text(
        f"(float[1,4,8,8] x, {kind}[2] orig_im_size) => (float[1,4,h,w] y)",
        """size = Cast<to=7>(orig_im_size)
        sizes = Concat<axis=0>(ones, size)
        y = Resize<mode="linear">(x, , , sizes)""",
        "int64[2] ones = {1, 4}",
    )


def reshape_by_values() -> onnx.ModelProto:
    """A reshape whose target follows from what the numbers are."""
    return text(
        "(float[4,8] x) => (float[a,b] y)",
        """largest = ReduceMax<keepdims=0>(x)
        count = Cast<to=7>(largest)
        row = Unsqueeze(count, zero)
        target = Concat<axis=0>(row, minus)
        y = Reshape(x, target)""",
        "int64[1] zero = {0}, int64[1] minus = {-1}",
    )


def layer_norm(kind: str, island: bool = False, outputs: str = "y") -> onnx.ModelProto:
    """LayerNormalization over 4 channels of that type, between casts to float32 if `island`."""
    inner, body = kind, f"{outputs} = LayerNormalization(x, gain, shift)"
    if island:
        inner = "float"
        body = f"""wide = Cast<to={FLOAT}>(x)
        normal = LayerNormalization(wide, gain, shift)
        y = Cast<to={HALF}>(normal)"""
    weights = f"{inner}[4] gain = {{1, 1, 1, 1}}, {inner}[4] shift = {{0, 0, 0, 0}}"
    return text(f"({kind}[1,16,4] x) => ({kind}[1,16,4] y)", body, weights)


def squares_mean(kind: str) -> onnx.ModelProto:
    """The variance of a normalisation that was taken apart."""
    return text(
        f"({kind}[1,16,64] x) => ({kind}[1,16,1] y)",
        "squares = Pow(x, two) y = ReduceMean(squares, axes)",
        # The text holds a float16's bits.
        f"{kind} two = {{{2 if kind == 'float' else 0x4000}}}, int64[1] axes = {{-1}}",
    )


def computed_scale() -> onnx.ModelProto:
    """As `quantized_linear`, with the activation's scale given at run time."""
    model = quantized_linear(np.array(0, np.int8))
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
    model.graph.initializer.remove(scale)
    model.graph.input.append(helper.make_tensor_value_info("scale", FLOAT, ()))
    return model


def looked_up(kind: str) -> onnx.ModelProto:
    """A look into a table of that type."""
    return text(f"(int64[2] i) => ({kind}[2] y)", "y = Gather(w, i)", f"{kind}[3] w = {{0, 1, 2}}")


def product(kind: str) -> onnx.ModelProto:
    """x times a matrix, both of that type."""
    return text(f"({kind}[2,2] x) => ({kind}[2,2] y)", "y = MatMul(x, w)", f"{kind}[2,2] w = {{1, 1, 1, 1}}")


FOREIGN = text("(float[4] x) => (float[4] y)", "y = com.microsoft.FastGelu(x)")
FREE = text("(float[1,n] x) => (float[1,n] y)", "y = Relu(x)")
POOLED = text(
    "(float[1,1,4,4] x) => (float[1,1,3,3] y, int64[1,1,3,3] where)",
    "y, where = MaxPool<kernel_shape=[2, 2]>(x)",
)
ADDED_UP = text(
    "(float[4] x, int64[1,1] i, float[1] u) => (float[4] y)", 'y = ScatterND<reduction="add">(x, i, u)'
)
INTEGER_POWER = text("(float[2] x) => (float[2] y)", "y = Pow(x, e)", "int64 e = {2}")
NON_ZERO = text("(float[2,4,4] x) => (int64[] y)", "y = NonZero(x)")
