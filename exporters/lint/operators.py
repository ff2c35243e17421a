"""Which ONNX operators TensorRT 10.3 reads, with which element types, and what it asks of them.

Sources: onnx-tensorrt `docs/operators.md` of 10.15 without what `docs/Changelog.md` says was added between
10.3 and 10.15 (`ADDED_LATER`). 10.3 is the floor: JetPack 6.1 to 6.2 has it. What a later parser also takes
is refused all the same, so that one model folder serves every device.
"""

from __future__ import annotations

from collections.abc import Mapping

OPSETS = range(18, 21)
"""onnx-tensorrt 10.1 to 10.5 read up to opset 20; below 18 an operator's axes are still attributes."""

_FLOATS = """
Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh
CumSum DeformConv Dropout Einsum Elu Erf Exp Floor GRU GlobalAveragePool GlobalLpPool GlobalMaxPool
GridSample GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization IsInf LRN LSTM
LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul Gemm MaxPool
MeanVarianceNormalization Mish NonMaxSuppression NonZero PRelu QuantizeLinear RNN Reciprocal RoiAlign Round
Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Resize
"""
_NUMBERS = """
Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min
Mod Mul Neg Pad Pow RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scan
ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
"""
_ANYTHING = """
Cast CastLike Concat Constant ConstantOfShape DequantizeLinear Expand EyeLike Flatten Gather GatherElements
GatherND Identity If Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu
Unsqueeze Where
"""
_TRUTHS = "And Not Or Xor"

FLOATS, NUMBERS, ANYTHING, TRUTHS = "floats", "numbers", "numbers and bool", "bool"
OPERATORS: Mapping[str, str] = {
    name: kind
    for kind, names in ((FLOATS, _FLOATS), (NUMBERS, _NUMBERS), (ANYTHING, _ANYTHING), (TRUTHS, _TRUTHS))
    for name in names.split()
}
"""Operator -> the elements that its data may have."""

ADDED_LATER: Mapping[str, str] = {
    "BlackmanWindow": "10.4",
    "HammingWindow": "10.4",
    "HannWindow": "10.4",
    "STFT": "10.5",
    "Attention": "10.14",
    "RMSNormalization": "10.15",
    "RotaryEmbedding": "10.15",
    "TensorScatter": "10.15",
}
"""Operator -> the TensorRT that first read it."""

SHAPE_ARGUMENTS: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
}
"""Operator -> the inputs that say how large its output is."""

CONSTANT_ARGUMENTS: Mapping[str, tuple[int, str]] = {
    "CumSum": (1, "10.8"),
    "Pad": (3, "10.4"),
    "Squeeze": (1, "10.7"),
    "Unsqueeze": (1, "10.7"),
    "OneHot": (1, "never"),
    **dict.fromkeys((name for name in OPERATORS if name.startswith("Reduce")), (1, "never")),
}
"""Operator -> the input that must be a constant, and the TensorRT that no longer asks for it."""

ONE_OUTPUT = ("LayerNormalization", "MaxPool")
"""Operators of which only the first output is read."""

UNKNOWN_SIZE = ("NonZero", "NonMaxSuppression")
"""Operators whose output is as large as the data has it."""

TOP_K_LIMIT = 3840
RESIZE_MODES = ("nearest", "linear", "cubic")
"""Cubic is not documented; the authors of EfficientViT-SAM, whose neck is cubic, publish it for TensorRT."""
RESIZE_COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
