"""What would keep TensorRT from building a graph, or make it compute something else, found without TensorRT.

The rules are those of TensorRT 10.3, the floor. tests/exporters builds the same bad graphs with NVIDIA's
builder and notes where that one is more lenient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.bundle.shapes import graph_shapes
from sam_edge.errors import BundleError, FidelityError

from .finding import Finding, error, warning
from .onnx_view import OnnxView, argument, attribute, type_name
from .operators import (
    ADDED_LATER,
    ANYTHING,
    CONSTANT_ARGUMENTS,
    FLOATS,
    NUMBERS,
    ONE_OUTPUT,
    OPERATORS,
    OPSETS,
    RESIZE_COORDINATES,
    RESIZE_MODES,
    SHAPE_ARGUMENTS,
    TOP_K_LIMIT,
    TRUTHS,
    UNKNOWN_SIZE,
)
from .quantization import QUANTIZERS, check_quantization

Rule = Callable[[OnnxView], Iterator[Finding]]

_FLOAT_KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_INTEGER_KINDS = (TensorProto.INT32, TensorProto.INT64)
_KINDS = {
    FLOATS: _FLOAT_KINDS,
    NUMBERS: (*_FLOAT_KINDS, *_INTEGER_KINDS),
    ANYTHING: (*_FLOAT_KINDS, *_INTEGER_KINDS, TensorProto.BOOL),
    TRUTHS: (TensorProto.BOOL,),
}
_EXPORT = "export the model again with sam-edge export"


def lint(path: Path, profiled: Collection[str] = ()) -> list[Finding]:
    """Findings in an ONNX file, errors first, in the order of its nodes.

    Args:
        path: the graph; weights beside it are looked up, not loaded whole.
        profiled: inputs whose free dimensions the build fixes or gives a range.

    Raises:
        BundleError: it cannot be read, or is not ONNX.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as problem:
        raise BundleError(f"cannot read {path}: {problem.strerror}; {_EXPORT}", path=path) from problem
    # protobuf's own DecodeError has moved between its versions.
    except Exception as problem:
        raise BundleError(f"{path} is not an ONNX graph, or is damaged; {_EXPORT}", path=path) from problem
    return lint_model(model, path.parent, profiled)


def lint_model(model: onnx.ModelProto, folder: Path, profiled: Collection[str] = ()) -> list[Finding]:
    """As `lint`, for a graph in memory whose external weights lie in `folder`."""
    view = OnnxView(model, folder)
    try:
        # Types and shapes that contradict each other are found here.
        view.values  # noqa: B018  # reading it computes it
    except (onnx.shape_inference.InferenceError, ValueError, TypeError) as problem:
        return [error(None, f"it is not valid ONNX ({' '.join(str(problem).split())})", _EXPORT)]
    found = [*check_free_inputs(view, profiled)]
    for rule in RULES:
        found += rule(view)
    return sorted(found, key=lambda finding: finding.severity)


def check_engine(bundle: Bundle, engine: EngineSpec) -> list[str]:
    """The warnings about an engine's graphs, one line for all nodes of a graph that are warned of alike.

    Raises:
        FidelityError: an error was found: TensorRT would not build a graph, or something else of it.
    """
    warnings = []
    for name in bundle.manifest.graphs:
        path = bundle.graph(name, engine)
        found = lint(path, graph_shapes(bundle.manifest, name, None))
        errors = [finding for finding in found if finding.severity == "error"]
        if errors:
            first, *others = _brief(errors)
            what = first.removeprefix("error: ") + (f"; {len(others)} more errors" if others else "")
            raise FidelityError(
                f"TensorRT cannot take {path.name}: {what}; nothing was written",
                hint="leave tensorrt out of --target for the other runtimes",
            )
        warnings += [f"{path.name}: {text}" for text in _brief(found)]
    return warnings


def check_free_inputs(view: OnnxView, profiled: Collection[str]) -> Iterator[Finding]:
    """Inputs that keep free dimensions and get no optimization profile."""
    for name, value in view.inputs.items():
        free = [axis.dim_param or "?" for axis in value.type.tensor_type.shape.dim if not axis.dim_value]
        if free and name not in profiled:
            what = f"input {name} has free dimensions ({', '.join(free)}) and no optimization profile"
            yield error(None, what, "fix them with --input WxH, or give a range")


def check_opset(view: OnnxView) -> Iterator[Finding]:
    """The opset, and operators of other domains."""
    if view.opset not in OPSETS:
        what = f"its opset is {view.opset}, and {OPSETS[0]} to {OPSETS[-1]} serve every TensorRT from 10.3 on"
        yield error(None, what, _EXPORT)


def check_operators(view: OnnxView) -> Iterator[Finding]:
    """Operators that the parser does not know, knows since later, or that answer with an unknown size."""
    for node in view.nodes:
        name = node.op_type
        if node.domain not in {"", "ai.onnx"}:
            what = f"operator of the domain {node.domain}, which needs a plug-in"
            yield error(node, what, "write it with ONNX's own operators")
        elif name in UNKNOWN_SIZE:
            what = "its output is as large as the data has it: no CUDA graph, and no buffers of known size"
            yield error(node, what, "keep a fixed number and mask what is not meant")
        elif name == "Attention":
            what = f"read from TensorRT {ADDED_LATER[name]} on, and built in float16 only"
            yield error(node, what, f"decompose it into MatMul, Softmax, MatMul (opset {OPSETS[-1]} does)")
        elif name in ADDED_LATER:
            what = f"read from TensorRT {ADDED_LATER[name]} on"
            yield error(node, what, "write it with older operators")
        elif name not in OPERATORS:
            yield error(node, "TensorRT's parser does not know it", "write it with other operators")


def check_types(view: OnnxView) -> Iterator[Finding]:
    """Elements that an operator does not take, and float64, which is narrowed."""
    for name, tensor in view.constants.items():
        if tensor.data_type == TensorProto.DOUBLE:
            what = f"the weights {name} are float64 and will be narrowed to float32"
            yield warning(view.producers.get(name), what, "store them as float32")
    for node in view.nodes:
        if node.op_type not in OPERATORS or node.op_type in QUANTIZERS:
            continue
        name = argument(node, 1 if node.op_type == "Where" else 0)
        kind = view.kind(name) if name else TensorProto.UNDEFINED
        # Images may come in as uint8, and become numbers by a Cast.
        allowed = (*_KINDS[OPERATORS[node.op_type]], TensorProto.UNDEFINED)
        if kind not in allowed and not (node.op_type == "Cast" and kind == TensorProto.UINT8):
            what = f"its input {name} is {type_name(kind)}: TensorRT's takes {OPERATORS[node.op_type]}"
            yield error(node, what, "cast it before")


def check_sizes(view: OnnxView) -> Iterator[Finding]:
    """Outputs whose size follows from what is in an input, not from how large one is."""
    for node in view.nodes:
        for index in SHAPE_ARGUMENTS.get(node.op_type, ()):
            name = argument(node, index)
            sources = sorted(view.origins.get(name, ()))
            if sources:
                what = f"the size of its output is computed from the values of {', '.join(sources)}"
                yield error(node, what, "compute it from shapes, or make it a constant")
                break


def check_arguments(view: OnnxView) -> Iterator[Finding]:
    """Inputs that must be constants, and outputs that must not be asked for."""
    for node in view.nodes:
        if node.op_type in CONSTANT_ARGUMENTS:
            index, since = CONSTANT_ARGUMENTS[node.op_type]
            name = argument(node, index)
            if name and name not in view.fixed:
                until = "" if since == "never" else f" before TensorRT {since}"
                yield error(node, f"its argument {name} must be a constant{until}", "store it in the graph")
        extra = [name for name in node.output[1:] if name]
        if node.op_type in ONE_OUTPUT and extra:
            yield error(node, f"only its first output is read, not {', '.join(extra)}", "compute it apart")
        exponent = argument(node, 1)
        if node.op_type == "Pow" and view.kind(exponent) in _INTEGER_KINDS:
            what = f"its exponent {exponent} is an integer, read from TensorRT 10.8 on"
            yield error(node, what, "make it a float")


def check_attributes(view: OnnxView) -> Iterator[Finding]:
    """Attributes with values that the parser refuses."""
    for node in view.nodes:
        if node.op_type == "Resize":
            yield from _resize(node)
        elif node.op_type == "TopK":
            k = view.value(argument(node, 1))
            if k is not None and int(k.item()) >= TOP_K_LIMIT:
                yield error(node, f"its k is {k.item()}, and the limit is {TOP_K_LIMIT - 1}", "ask for fewer")
            if not attribute(node, "sorted", 1):
                yield error(node, "sorted is 0", "ask for sorted values")
        elif node.op_type == "ScatterND" and attribute(node, "reduction", "none") != "none":
            yield error(node, f"its reduction is {attribute(node, 'reduction')}", "scatter, then reduce")
        elif node.op_type == "GridSample" and view.rank(argument(node, 0)) not in {4, None}:
            yield error(node, "its input has not 4 axes", "sample planes")
        elif node.op_type == "Einsum" and "..." in attribute(node, "equation", ""):
            yield error(node, "an ellipsis is read from TensorRT 10.12 on", "name every axis")
        elif node.op_type.endswith("Pool") and set(attribute(node, "dilations", ())) - {1}:
            yield error(node, "its dilations are not all 1", "pool without dilation")


def check_half_normalisation(view: OnnxView) -> Iterator[Finding]:
    """Normalisations whose squares are summed in float16, where 256 squared is already infinite."""
    for node in view.nodes:
        if not node.input or view.kind(node.input[0]) != TensorProto.FLOAT16:
            continue
        maker = view.producers.get(node.input[0])
        summed = node.op_type == "ReduceMean" and maker is not None and _squares(view, maker)
        if node.op_type in {"LayerNormalization", "GroupNormalization", "InstanceNormalization"} or summed:
            what = "it sums squares in float16, which overflow above 65504"
            yield warning(node, what, "compute it in float32 between two casts")


def check_external_weights(view: OnnxView) -> Iterator[Finding]:
    """Weights beside the graph that are missing, cut short, or outside the model folder."""
    needed: dict[str, int] = {}
    for tensor in view.weights.values():
        if external_data_helper.uses_external_data(tensor):
            info = external_data_helper.ExternalDataInfo(tensor)
            end = (info.offset or 0) + (info.length or 0)
            needed[info.location] = max(needed.get(info.location, 0), end)
    for location, size in needed.items():
        file = view.folder / location
        if Path(location).name != location:
            yield error(None, f"its weights lie outside the model folder, in {location}", _EXPORT)
        elif not file.is_file():
            yield error(None, f"its weights in {location} are missing", "copy the file beside the graph")
        elif file.stat().st_size < size:
            what = f"its weights in {location} end after {file.stat().st_size} of {size} bytes"
            yield error(None, what, "copy the file again")


RULES: tuple[Rule, ...] = (
    check_opset,
    check_external_weights,
    check_operators,
    check_types,
    check_quantization,
    check_sizes,
    check_arguments,
    check_attributes,
    check_half_normalisation,
)


def _brief(found: Sequence[Finding]) -> list[str]:
    """One line for all findings that say the same of nodes of one operator."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        alike.setdefault((finding.operator, finding.what), []).append(finding)
    return [f"{same[0]}{f' ({len(same)} nodes)' if len(same) > 1 else ''}" for same in alike.values()]


def _resize(node: onnx.NodeProto) -> Iterator[Finding]:
    chosen = {
        "mode": (attribute(node, "mode", "nearest"), RESIZE_MODES),
        "coordinates": (attribute(node, "coordinate_transformation_mode", "half_pixel"), RESIZE_COORDINATES),
        "aspect ratio policy": (attribute(node, "keep_aspect_ratio_policy", "stretch"), ("stretch",)),
    }
    for name, (value, known) in chosen.items():
        if value not in known:
            yield error(node, f"its {name} is {value}", f"choose one of {', '.join(known)}")
    if attribute(node, "mode", "nearest") == "cubic":
        what = "it is cubic, which onnx-tensorrt does not document, though its builders take it"
        yield warning(node, what, "compare the plan with the model: sam-edge verify --runtime tensorrt")
    if attribute(node, "antialias", 0):
        yield error(node, "it antialiases", "resize without, or blur before")


def _squares(view: OnnxView, node: onnx.NodeProto) -> bool:
    if node.op_type == "Mul":
        return bool(node.input[0] == node.input[1])
    exponent = view.value(argument(node, 1)) if node.op_type == "Pow" else None
    return exponent is not None and bool((exponent == 2).all())
