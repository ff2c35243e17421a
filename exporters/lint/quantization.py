"""What TensorRT asks of quantized tensors: signed, symmetric, constant, one scale per activation.

Of these the builder itself lets pass: uint8 (it computes in int8 and clips half the range, with a warning that
nobody reads), and from 10.12 on scales per channel of an activation and scales that are computed. Sources:
TensorRT's "Working with Quantized Types", and the builder's own answers in tests/exporters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from .finding import Finding, error, warning
from .onnx_view import OnnxView, argument, attribute, type_name

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
WEIGHT_AXES = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}
SYMMETRIC = "quantize with signed symmetric int8 (zero point 0)"


def check_quantization(view: OnnxView) -> Iterator[Finding]:
    """Findings in every QuantizeLinear and DequantizeLinear."""
    for node in view.nodes:
        if node.op_type in QUANTIZERS:
            kind = _quantized_kind(view, node)
            if kind == TensorProto.INT8:
                yield from _zero_point(view, node)
                yield from _scale(view, node)
            else:
                yield _wrong_type(node, kind)


def _quantized_kind(view: OnnxView, node: onnx.NodeProto) -> int:
    """Type of the quantized side; ONNX's own default is uint8."""
    zero = argument(node, 2)
    if zero:
        return view.kind(zero)
    if node.op_type == "DequantizeLinear":
        return view.kind(node.input[0])
    return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8


def _wrong_type(node: onnx.NodeProto, kind: int) -> Finding:
    if kind == TensorProto.INT32:
        return error(node, "it dequantizes an int32 bias, which TensorRT refuses", "leave the bias in float")
    if kind == TensorProto.UINT8:
        what = (
            "its quantized type is uint8, which TensorRT computes as int8: half the range is clipped silently"
        )
        return error(node, what, SYMMETRIC)
    what = f"its quantized type is {type_name(kind)}, which Orin does not compute"
    return error(node, what, SYMMETRIC)


def _zero_point(view: OnnxView, node: onnx.NodeProto) -> Iterator[Finding]:
    name = argument(node, 2)
    if not name:
        return
    values = view.value(name)
    if values is None:
        yield error(node, f"its zero point {name} is not a constant", SYMMETRIC)
    elif values.any():
        yield error(node, f"its zero point {name} is {values.flat[np.flatnonzero(values)[0]]}", SYMMETRIC)


def _scale(view: OnnxView, node: onnx.NodeProto) -> Iterator[Finding]:
    name = argument(node, 1)
    values = view.value(name)
    if values is None:
        yield error(node, f"its scale {name} is not a constant", "calibrate, and store the scale in the graph")
        return
    if not (np.isfinite(values) & (values > 0)).all():
        yield error(node, f"its scale {name} has values that are not positive and finite", "calibrate again")
    if values.size == 1:
        return
    if not view.origins.get(node.input[0], frozenset()):
        yield from _weight_axis(view, node)
    else:
        what = f"it quantizes an activation with {values.size} scales"
        yield error(node, what, "quantize activations per tensor, only weights per channel")


def _weight_axis(view: OnnxView, node: onnx.NodeProto) -> Iterator[Finding]:
    """Scales of weights lie along the output channels of what multiplies with them, or it computes in float."""
    if node.op_type != "DequantizeLinear":
        return
    axis, rank = int(attribute(node, "axis", 1)), view.rank(node.input[0])
    for user in view.nodes:
        if rank is None or node.output[0] not in user.input[1:]:
            continue
        wanted = WEIGHT_AXES.get(user.op_type)
        if user.op_type == "Gemm":
            wanted = 0 if attribute(user, "transB", 0) else 1
        if wanted is not None and axis % rank != wanted % rank:
            what = f"its scales lie along axis {axis % rank} of the weights of {user.name or user.op_type}"
            yield warning(
                node, what, f"for INT8, quantize weights of {user.op_type} along axis {wanted % rank}"
            )
