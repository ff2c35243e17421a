"""Which engine of a model folder runs: its precision on a runtime."""

from __future__ import annotations

from collections.abc import Mapping

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Precision
from sam_edge.errors import FidelityError, InputError


def choose_engine(bundle: Bundle, runtime: str, precision: Precision | None) -> EngineSpec:
    """The engine of a model for a runtime NAME:DEVICE.

    Args:
        bundle: the model.
        runtime: NAME:DEVICE, or NAME where there is no device to choose.
        precision: None takes fp16 if the folder has it for this runtime and it is not known to fail there.

    Raises:
        InputError: the folder has none of that precision for it.
        FidelityError: it is known to fail the gate on that runtime.
    """
    manifest = bundle.manifest
    half = EngineSpec(runtime, "fp16")
    has_half = half.graphs_key in manifest.engines
    if precision == "fp16" and not has_half:
        name = runtime.partition(":")[0]
        raise InputError(
            f"{bundle.path} has no fp16 engine for {name}",
            path=bundle.path,
            hint=f"leave precision out, or export the weights with --target {name} --precision fp16",
        )
    engine = half if has_half and precision != "fp32" else EngineSpec(runtime)
    if precision is None and engine is half and not not_known_to_fail(manifest.measured(half)):
        engine = EngineSpec(runtime)
    if not not_known_to_fail(manifest.measured(engine)):
        raise FidelityError(
            f"{bundle.path} on {engine} failed sam-edge verify",
            path=bundle.path,
            hint="choose another --runtime or --precision, or export the model again",
        )
    return engine


def not_known_to_fail(found: Mapping[str, float] | None) -> bool:
    """Whether an engine was not measured, or was and passed."""
    return found is None or found.get("passed", 1.0) == 1.0
