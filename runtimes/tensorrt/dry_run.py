"""What `sam-edge build` would do, on any machine: graphs, shapes, cache paths, and the lint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec
from sam_edge.bundle.shapes import ShapeRange
from sam_edge.errors import BundleError, EngineError, MissingExtraError
from sam_edge.host.machine import Machine
from sam_edge.lazy import import_object
from sam_edge.tensors import TensorSpec

from .cache import PlanCache
from .device import PlanDevice, plan_folder
from .plans import PlanRequest, find_device


def describe(
    bundle: Bundle,
    engine: EngineSpec,
    requests: Sequence[PlanRequest],
    machine: Machine,
    device_name: str | None = None,
) -> dict[str, Any]:
    """The whole dry run as JSON values, for `cuda` or `cuda.N`.

    `device` is null with `no_device` saying why, where plans cannot be built; `linted` is false and there are
    no `findings` where onnx, which the lint needs, is not installed.
    """
    device, why = None, None
    try:
        device = find_device(machine, device_name)
    except (EngineError, MissingExtraError) as error:
        why = str(error)
    lints = [lint_request(request) for request in requests]
    found = [finding for findings in lints for finding in findings or ()]
    return {
        "model": str(bundle.path),
        "engine": str(engine),
        "device": None if device is None else asdict(device),
        "no_device": why,
        "workspace_mb": requests[0].settings.workspace_mb,
        "cache": str(plan_folder()),
        "graphs": [
            _graph(bundle, request, device) | {"findings": [asdict(finding) for finding in findings or ()]}
            for request, findings in zip(requests, lints, strict=True)
        ],
        "linted": None not in lints,
        "errors": sum(finding.severity == "error" for finding in found),
        "warnings": sum(finding.severity == "warning" for finding in found),
    }


def text(document: dict[str, Any]) -> str:
    """What `describe` gives, as lines for people."""
    device, workspace = document["device"], document["workspace_mb"]
    lines = [
        f"{document['model']}: {document['engine']}",
        f"device: none ({document['no_device']})"
        if device is None
        else "device: {device_name}, compute capability {compute_capability}, TensorRT {tensorrt}, "
        "driver {driver}".format(**device),
        f"workspace: {f'{workspace} MB' if workspace else 'a quarter of the free memory'}",
        f"cache: {document['cache']}",
    ]
    for graph in document["graphs"]:
        lines.append(f"{graph['name']}: {graph['file']}, {graph['state']}")
        if graph["plan"]:
            lines.append(f"  plan {Path(graph['plan']).name}")
        lines += [f"  {name} {ShapeRange(**sides)}" for name, sides in graph["inputs"].items()]
        for finding in graph["findings"]:
            where = "node {node} ({operator})" if finding["node"] else "{operator}"
            lines.append(f"  {{severity}}: {where}: {{what}}; {{hint}}".format(**finding))
    if document["linted"]:
        lines.append(f"lint: {document['errors']} errors, {document['warnings']} warnings")
    else:
        lines.append("lint: left out, onnx is not installed: pip install 'sam-edge[export]'")
    return "\n".join(lines)


def check_requests(requests: Sequence[PlanRequest]) -> list[str]:
    """The lint's warnings about the requests' graphs, none where onnx is not installed.

    Raises:
        BundleError: the lint found an error, which TensorRT may not see.
    """
    warnings = []
    for request in requests:
        for finding in lint_request(request) or ():
            if finding.severity == "error":
                raise BundleError(
                    f"{request.graph}: {finding}",
                    path=request.graph,
                    hint="sam-edge build --dry-run lists all of them",
                )
            warnings.append(f"{request.graph}: {finding}")
    return warnings


def lint_request(request: PlanRequest) -> list[Any] | None:
    """The lint's findings about a request's graph; None where onnx is not installed, as on most devices."""
    try:
        lint = import_object("sam_edge.exporters.lint.tensorrt:lint")
    except MissingExtraError:
        return None
    found: list[Any] = lint(request.graph, request.settings.shapes)
    return found


def _graph(bundle: Bundle, request: PlanRequest, device: PlanDevice | None) -> dict[str, Any]:
    plan, state = None, "to be built on the device"
    if device is not None:
        cache = PlanCache(plan_folder())
        entry = cache.entry(request.graph, device.facts(), request.settings.document())
        plan, state = str(entry), "ready" if cache.is_sound(entry) else "to be built"
    return {
        "name": request.name,
        "file": request.graph.name,
        "inputs": {
            spec.name: asdict(request.settings.shapes.get(spec.name) or _fixed(spec))
            for spec in bundle.manifest.graphs[request.name].inputs
        },
        "plan": plan,
        "state": state,
    }


def _fixed(spec: TensorSpec) -> ShapeRange:
    shape = tuple(int(side) for side in spec.shape)
    return ShapeRange(shape, shape, shape)
