"""Reading `manifest.json`: every entry has a type and a range, and what programs rely on is checked here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from sam_edge.bundle.manifest import FORMAT, LABELS, ROLES, Graph, Interface, Manifest, seal_of
from sam_edge.bundle.rules import (
    RuleError,
    boolean,
    choice,
    either,
    integer,
    mapping,
    nothing,
    number,
    record,
    sequence,
    text,
)
from sam_edge.errors import BundleError, InputError
from sam_edge.geometry import Fit, InputSize
from sam_edge.imaging.preprocess import Preprocess, Resize
from sam_edge.tensors import TensorSpec

MAX_SIDE_PX = 4096
"""No encoder takes more: a larger side in a manifest would only ask for memory."""

_TEXT = text(most=200, what="1 to 200 printable characters")
_FILE = text(r"(?!\.{1,2}$)[^/\\:]+", most=200, what="the name of a file without a folder")
_SHA256 = text("[0-9a-f]{64}", what="64 hexadecimal digits")
_SIDE = integer(1, MAX_SIDE_PX)
_FREE = text(r"([1-9][0-9]{0,4}\*)?[A-Za-z_][A-Za-z0-9_]*", most=100, what="a size, or a name such as 8*rows")
_TENSOR = record(
    {
        "name": _TEXT,
        "shape": sequence(either(integer(1, 1 << 24), _FREE), 1, 8),
        "dtype": choice(("float32", "float16", "int64", "int32", "uint8", "bool")),
    }
)
_GRAPH = record(
    {
        "role": choice(ROLES),
        "file": _FILE,
        "inputs": sequence(_TENSOR, 1, 100),
        "outputs": sequence(_TENSOR, 1, 100),
    }
)
_NUMBERS = mapping(_TEXT, number(-1e30, 1e30))
_DOCUMENT = record(
    {
        "name": _TEXT,
        "family": _TEXT,
        "checkpoint_sha256": _SHA256,
        "licence": _TEXT,
        "input_size": record(
            {"long_side": _SIDE, "multiple": _SIDE, "square": boolean},
            {
                "fit": choice(get_args(Fit)),
                "encoder_stride": integer(1, 64),
                "fixed_wh": either(nothing, sequence(_SIDE, 2, 2)),
            },
        ),
        "preprocess": record(
            {
                "mean": sequence(number(-1e4, 1e4), 3, 3),
                "std": sequence(number(1e-3, 1e4), 3, 3),
                "resize": choice(get_args(Resize)),
            }
        ),
        "graphs": mapping(_TEXT, _GRAPH, 2, 100),
        "files": mapping(_FILE, _SHA256),
        "tools": mapping(_TEXT, _TEXT),
        "fidelity": mapping(_TEXT, _NUMBERS),
    },
    {
        "engines": mapping(_TEXT, mapping(_TEXT, _FILE)),
        "raised": mapping(_TEXT, sequence(_TEXT, 0, 100_000)),
        "interfaces": mapping(_TEXT, record({"files": mapping(_TEXT, _FILE), "fidelity": _NUMBERS})),
        "input_cost": _NUMBERS,
    },
)
"""Every entry of `manifest.json` but its format and its seal."""


def parse(data: bytes, where: str) -> Manifest:
    """Read what `manifest.dump` wrote; `where` names the file in messages.

    Raises:
        BundleError: not JSON, another format, an edited manifest, or an entry that is missing, of another type,
            out of range or in conflict with another one.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{where} is damaged: not JSON ({error})", where) from error
    if not isinstance(document, dict) or "format" not in document:
        raise _refused(f"{where} is not a model manifest", where)
    if document["format"] != FORMAT:
        shown = ascii(document["format"])[:20]
        raise _refused(f"{where} has format {shown}, this version reads {FORMAT}", where)
    seal = document.pop("manifest_sha256", None)
    try:
        intact = seal == seal_of(document)
    except (ValueError, RecursionError):  # what a JSON reader takes and a JSON writer does not
        intact = False
    if not intact:
        raise _refused(f"{where} was edited or damaged after export", where)
    try:
        return _manifest(_DOCUMENT(document, ""))
    except (RuleError, InputError) as error:
        raise _refused(f"{where} cannot be used: {error}", where) from error


def check_name(name: str) -> None:
    """Raise InputError if a model cannot be called that."""
    try:
        _TEXT(name, "the model's name")
    except RuleError as error:
        raise InputError(str(error), hint="choose another --name") from error


def _refused(what: str, where: str) -> BundleError:
    return BundleError(what, path=where, hint="export the model again")


def _manifest(document: dict[str, Any]) -> Manifest:
    """The manifest of a document whose entries are right one by one.

    Raises:
        RuleError, InputError: two entries do not fit each other.
    """
    graphs = {
        name: Graph(graph["file"], _specs(graph["inputs"]), _specs(graph["outputs"]), graph["role"])
        for name, graph in document["graphs"].items()
    }
    size = InputSize(**document["input_size"])
    _check_input_size(size)
    _check_graphs(graphs)
    for key, made in document.get("engines", {}).items():
        if unknown := made.keys() - graphs.keys():
            raise RuleError(f"engines.{key} has {', '.join(sorted(unknown))}, which is not in graphs")
    parts: dict[str, Any] = {
        "input_size": size,
        "preprocess": Preprocess(**document["preprocess"]),
        "graphs": graphs,
        "raised": {key: list(nodes) for key, nodes in document.get("raised", {}).items()},
        "interfaces": {name: Interface(**item) for name, item in document.get("interfaces", {}).items()},
    }
    return Manifest(**(document | parts))


def _check_input_size(size: InputSize) -> None:
    sides = (size.long_side, *(size.fixed_wh or ()))
    if any(side % size.multiple for side in sides):
        raise RuleError(f"input_size: not all of {', '.join(map(str, sides))} are multiples of {size.multiple}")
    if size.multiple % size.encoder_stride:
        raise RuleError(f"input_size.encoder_stride {size.encoder_stride} does not divide {size.multiple}")


def _check_graphs(graphs: Mapping[str, Graph]) -> None:
    """What every `Segmenter` relies on."""
    roles = [graph.role for graph in graphs.values()]
    if roles.count("encoder") != 1 or roles.count("refine") > 1 or "decoder" not in roles:
        raise RuleError(f"graphs are {', '.join(roles)}, not one encoder, decoders, and at most one refine")
    for name, graph in graphs.items():
        inputs = {spec.name: spec.shape for spec in graph.inputs}
        outputs = {spec.name for spec in graph.outputs}
        if graph.role == "encoder" and not (len(inputs.get("image", ())) == 4 and "embedding" in outputs):
            raise RuleError(f"graphs.{name} does not make an embedding of an image of four dimensions")
        if graph.role == "decoder":
            *_, last = inputs.get(LABELS, ("none",))
            if not (isinstance(last, int) and 2 <= last <= 10_000 and {"logits", "iou"} <= outputs):
                raise RuleError(f"graphs.{name} does not make logits and iou of 2 to 10000 {LABELS}")


def _specs(items: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**item) for item in items)
