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
PLAIN: dict[int, type[np.floating[Any]]] = {FLOAT: np.float32, HALF: np.float16}


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


def one(operator: str, opset: int = 20, **attributes: Any) -> onnx.ModelProto:
    """x (1, 4, 8, 8) through one operator that takes nothing else."""
    return graph(
        [node(operator, "x", "y", **attributes)],
        {"x": (FLOAT, (1, 4, 8, 8))},
        {"y": (FLOAT, None)},
        opset=opset,
    )


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


def attention(kind: int) -> onnx.ModelProto:
    """The operator of opset 23, with elements of that type."""
    shape = (1, 4, 32, 16)
    return graph(
        [node("Attention", "q k v", "y")],
        dict.fromkeys("qkv", (kind, shape)),
        {"y": (kind, shape)},
        opset=23,
    )


def resize(**attributes: Any) -> onnx.ModelProto:
    """x (1, 4, 8, 8) at twice the size."""
    return graph(
        [node("Resize", "x - scales", "y", **attributes)],
        {"x": (FLOAT, (1, 4, 8, 8))},
        {"y": (FLOAT, None)},
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    )


def top_k(size: int, k: int, **attributes: Any) -> onnx.ModelProto:
    """The k largest of `size` numbers."""
    return graph(
        [node("TopK", "x k", "y where", **attributes)],
        {"x": (FLOAT, (1, size))},
        {"y": (FLOAT, (1, k)), "where": (INT64, (1, k))},
        {"k": np.array([k], np.int64)},
    )


def size_from_input(kind: int) -> onnx.ModelProto:
    """An answer as large as an input says, as the official decoder's orig_im_size does."""
    nodes = [
        node("Cast", "orig_im_size", "size", to=INT64),
        node("Concat", "ones size", "sizes", axis=0),
        node("Resize", "x - - sizes", "y", mode="linear"),
    ]
    return graph(
        nodes,
        {"x": (FLOAT, (1, 4, 8, 8)), "orig_im_size": (kind, (2,))},
        {"y": (FLOAT, (1, 4, "h", "w"))},
        {"ones": np.array([1, 4], np.int64)},
    )


def reshape_by_values() -> onnx.ModelProto:
    """A reshape whose target follows from what the numbers are."""
    nodes = [
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Cast", "largest", "count", to=INT64),
        node("Unsqueeze", "count zero", "row"),
        node("Concat", "row minus", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]
    return graph(
        nodes,
        {"x": (FLOAT, (4, 8))},
        {"y": (FLOAT, ("a", "b"))},
        {"zero": np.array([0], np.int64), "minus": np.array([-1], np.int64)},
    )


def layer_norm(kind: int, island: bool = False, outputs: str = "y") -> onnx.ModelProto:
    """LayerNormalization over 64 channels of that type, between casts to float32 if `island`."""
    inner: type[np.floating[Any]] = np.float32 if island else PLAIN[kind]
    constants: dict[str, NDArray[Any]] = {"gain": np.ones(64, inner), "shift": np.zeros(64, inner)}
    if island:
        nodes = [
            helper.make_node("Cast", ["x"], ["wide"], "widen", to=FLOAT),
            node("LayerNormalization", "wide gain shift", "normal"),
            helper.make_node("Cast", ["normal"], ["y"], "narrow", to=kind),
        ]
    else:
        nodes = [node("LayerNormalization", "x gain shift", outputs)]
    return graph(nodes, {"x": (kind, (1, 16, 64))}, {"y": (kind, (1, 16, 64))}, constants)


def squares_mean(kind: int) -> onnx.ModelProto:
    """The variance of a normalisation that was taken apart."""
    nodes = [node("Pow", "x two", "squares"), node("ReduceMean", "squares axes", "y")]
    return graph(
        nodes,
        {"x": (kind, (1, 16, 64))},
        {"y": (kind, (1, 16, 1))},
        {"two": np.array(2, PLAIN[kind]), "axes": np.array([-1], np.int64)},
    )


def computed_scale() -> onnx.ModelProto:
    """As `quantized_linear`, with the activation's scale given at run time."""
    model = quantized_linear(np.array(0, np.int8))
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
    model.graph.initializer.remove(scale)
    model.graph.input.append(helper.make_tensor_value_info("scale", FLOAT, ()))
    return model


def foreign() -> onnx.ModelProto:
    """An operator of onnxruntime's own domain."""
    nodes = [helper.make_node("FastGelu", ["x"], ["y"], "the FastGelu", domain="com.microsoft")]
    model = graph(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def free(name: str = "n") -> onnx.ModelProto:
    """x (1, n) whose length a call may choose."""
    return graph([node("Relu", "x", "y")], {"x": (FLOAT, (1, name))}, {"y": (FLOAT, (1, name))})


def looked_up(kind: int) -> onnx.ModelProto:
    """A look into a table of that type."""
    table = np.arange(9, dtype=helper.tensor_dtype_to_np_dtype(kind))
    return graph([node("Gather", "w i", "y")], {"i": (INT64, (2,))}, {"y": (kind, (2,))}, {"w": table})


def product(kind: int) -> onnx.ModelProto:
    """x times a matrix, both of that type."""
    weights = np.ones((4, 4), helper.tensor_dtype_to_np_dtype(kind))
    ends = {"x": (kind, (4, 4))}, {"y": (kind, (4, 4))}
    return graph([node("MatMul", "x w", "y")], *ends, {"w": weights})


def pooled() -> onnx.ModelProto:
    """The largest of each window, and where it is."""
    nodes = [node("MaxPool", "x", "y where", kernel_shape=[2, 2])]
    shape = (1, 1, 3, 3)
    return graph(nodes, {"x": (FLOAT, (1, 1, 4, 4))}, {"y": (FLOAT, shape), "where": (INT64, shape)})


def added_up() -> onnx.ModelProto:
    """Numbers added up at places."""
    nodes = [node("ScatterND", "x i u", "y", reduction="add")]
    inputs = {"x": (FLOAT, (4,)), "i": (INT64, (1, 1)), "u": (FLOAT, (1,))}
    return graph(nodes, inputs, {"y": (FLOAT, (4,))})


def integer_power() -> onnx.ModelProto:
    """x squared by an integer."""
    ends = {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))}
    return graph([node("Pow", "x e", "y")], *ends, {"e": np.array(2)})


def alone(operator: str, shape: Shape = (2, 4, 4), kind: int = FLOAT) -> onnx.ModelProto:
    """x through one operator that takes nothing else."""
    return graph([node(operator, "x", "y")], {"x": (FLOAT, shape)}, {"y": (kind, None)})
