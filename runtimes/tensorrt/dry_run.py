"""What `sam-edge build` would do, on any machine: graphs, shapes, settings, cache paths, and the lint."""

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
from sam_edge.storage.cache import BlobCache

from .cache import PlanCache
from .device import PlanDevice, plan_folder
from .plans import PlanRequest, find_device, timing_key


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
    device, why = _device(machine, device_name)
    folder = plan_folder()
    lints = [lint_request(request) for request in requests]
    graphs = [
        _graph(bundle, request, device, folder) | {"findings": [asdict(finding) for finding in findings or ()]}
        for request, findings in zip(requests, lints, strict=True)
    ]
    found = [finding for graph in graphs for finding in graph["findings"]]
    settings = {key: value for key, value in requests[0].settings.document().items() if key != "shapes"}
    return {
        "model": str(bundle.path),
        "name": bundle.manifest.name,
        "engine": str(engine),
        "device": None if device is None else asdict(device),
        "no_device": why,
        "settings": {"strongly_typed": True, "tf32": False} | settings,
        "cache": str(folder),
        "timing_cache": None if device is None else str(BlobCache(folder).path(timing_key(device))),
        "graphs": graphs,
        "linted": None not in lints,
        "errors": sum(finding["severity"] == "error" for finding in found),
        "warnings": sum(finding["severity"] == "warning" for finding in found),
    }


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


def _device(machine: Machine, name: str | None) -> tuple[PlanDevice | None, str | None]:
    try:
        return find_device(machine, name), None
    except (EngineError, MissingExtraError) as error:
        return None, str(error)


def _graph(bundle: Bundle, request: PlanRequest, device: PlanDevice | None, folder: Path) -> dict[str, Any]:
    if device is None:
        plan, state = None, "to be built on the device"
    else:
        cache = PlanCache(folder)
        entry = cache.entry(request.graph, device.facts(), request.settings.document())
        plan, state = str(entry), "ready" if cache.is_sound(entry) else "to be built"
    parts = [request.graph, *request.graph.parent.glob(f"{request.graph.name}.*")]
    return {
        "name": request.name,
        "file": request.graph.name,
        "size_bytes": sum(part.stat().st_size for part in parts),
        "inputs": {
            spec.name: _shape(request.settings.shapes.get(spec.name), spec.shape)
            for spec in bundle.manifest.graphs[request.name].inputs
        },
        "plan": plan,
        "state": state,
    }


def _shape(chosen: ShapeRange | None, shape: tuple[int | str, ...]) -> dict[str, Any]:
    """Least, best and most, which are one where the shape is fixed."""
    sides = chosen or ShapeRange(*(tuple(int(side) for side in shape),) * 3)
    return {"least": list(sides.least), "best": list(sides.best), "most": list(sides.most)}
