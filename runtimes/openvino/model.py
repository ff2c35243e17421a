"""ONNX files as OpenVINO models, and OpenVINO models as engines of one device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_edge.errors import BundleError, EngineError
from sam_edge.host.cores import usable_cores
from sam_edge.host.memory import available_mb, shortage
from sam_edge.storage.cache import BlobCache

from .library import core, onnx_frontend, ov

DEVICES = ("CPU", "GPU", "NPU")
PREFERRED = ("GPU", "CPU")
"""Tried in this order where no device is named. An NPU computes in float16 whatever the graph says, so it has
to be asked for."""


_SOURCE_PLACES = re.compile(r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:")
_SHORTAGE = re.compile(
    r"out of memory|bad_alloc|Exceeded max size of memory|OUT_OF_\w*MEMORY|ALLOCATION_FAILURE", re.IGNORECASE
)


def find_device(name: str | None) -> str:
    """The device of that name (CPU, GPU, GPU.1, NPU, AUTO), or the best there is.

    Raises:
        EngineError: it is not here; the message names those that are.
    """
    here: list[str] = core().available_devices
    if name is None:
        return next((kind for kind in PREFERRED if _matches(kind, here)), "CPU")
    device = name.upper()
    if device == "AUTO" or _matches(device, here):
        return device
    choices = ", ".join(f"openvino:{item}" for item in here)
    hint = f"choose {choices}" if choices else "OpenVINO finds no device at all: install it again"
    raise EngineError(f"OpenVINO finds no {device} with a working driver on this machine: {hint}")


def device_problems() -> dict[str, str | None]:
    """Each device, with None where it can be had, and why not in one line where it cannot.

    Where there are several of a kind, its name alone is the first one: GPU, GPU.1, GPU.2.
    """
    answers: dict[str, str | None] = {}
    for kind in DEVICES:
        try:
            find_device(kind)
            answers[kind] = None
        except EngineError as error:
            answers[kind] = str(error)
        others = [name for name in core().available_devices if name.startswith(f"{kind}.")]
        answers |= {name: None for name in others if name != f"{kind}.0"}
    return answers


def read_model(graph: Path) -> ov.Model:
    """The graph in OpenVINO's operations.

    Raises:
        BundleError: no ONNX graph, a damaged one, or one with an operation that OpenVINO lacks.
    """
    # Asked directly: with a file that is not ONNX, Core.read_model would go on to all other formats, loudly.
    try:
        return onnx_frontend().convert(onnx_frontend().load(str(graph)))
    except Exception as error:  # OpenVINO's errors are RuntimeErrors of any kind
        unknown = _unknown_operations(graph)
        if unknown:
            raise BundleError(
                f"openvino cannot run {graph}: it has no operation {unknown}", hint="choose another --runtime"
            ) from error
        raise BundleError(f"openvino cannot load {graph}: {one_line(error)}") from error


def settings(model: ov.Model, device: str, threads: int | None) -> dict[str, Any]:
    """How the device shall compute: soon, with the model's own precision, on `threads` cores."""
    wanted: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "EXECUTION_MODE_HINT": "ACCURACY",
        # Left to itself it computes float32 graphs in bfloat16 or float16 wherever the processor can.
        # "dynamic" is its word for what each operation of the graph says.
        "INFERENCE_PRECISION_HINT": "dynamic" if computes_in_half(model) else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "INFERENCE_NUM_THREADS": threads or usable_cores(),
        # Two graphs share the cores: pinned, both would wait for the same one.
        "ENABLE_CPU_PINNING": False,
    }
    if device == "AUTO":
        return {"PERFORMANCE_HINT": "LATENCY", "EXECUTION_MODE_HINT": "ACCURACY"}
    known = core().get_property(device, "SUPPORTED_PROPERTIES")
    return {name: value for name, value in wanted.items() if known.get(name) == "RW"}


class Compiler:
    """Makes models into code of one device, from the cache if it was done before.

    Args:
        device: as `find_device` names it.
        config: see `settings`.
        cache: None compiles every time.
        graph_key: what sets the graph's file apart from all others.
    """

    def __init__(self, device: str, config: Mapping[str, Any], cache: BlobCache | None, graph_key: str) -> None:
        self._device = device
        self._config = dict(config)
        self._cache = cache if cache and "EXPORT_IMPORT" in _ask(device, "OPTIMIZATION_CAPABILITIES") else None
        self._key = "\n".join(
            [ov.__version__, device, _identity(device), str(sorted(config.items())), graph_key]
        )

    def compile(self, model: ov.Model, variant: str = "") -> ov.CompiledModel:
        """The model as code; `variant` tells apart what is made of the same file.

        Raises:
            EngineError: the device cannot run it.
        """
        if self._cache is None:
            return self._compile(model)
        key = f"{self._key}\n{variant}"
        blob = self._cache.read(key)
        if blob is not None:
            try:
                return core().import_model(blob, self._device, self._config)
            except RuntimeError:  # code that the driver, which may have changed, takes no more
                self._cache.discard(key)
        compiled = self._compile(model)
        self._cache.write(key, compiled.export_model().getvalue())
        return compiled

    def _compile(self, model: ov.Model) -> ov.CompiledModel:
        try:
            return core().compile_model(model, self._device, self._config)
        except (RuntimeError, MemoryError) as error:
            if is_shortage(error):
                raise out_of_memory(error, self._device, "to compile the graph") from error
            raise EngineError(
                f"OpenVINO cannot compile the graph for {self._device}: {one_line(error)}",
                hint="choose another device or --runtime",
            ) from error


def computes_in_half(model: ov.Model) -> bool:
    """Whether an operation gives float16; weights that are only kept so do not count."""
    return any(
        output.get_element_type() == ov.Type.f16
        for node in model.get_ops()
        if node.get_type_name() != "Constant"
        for output in node.outputs()
    )


def one_line(error: Exception) -> str:
    """What an error of OpenVINO says, without the places in its source."""
    text = _SOURCE_PLACES.sub(" ", str(error))
    return " ".join(text.split()) or " ".join(str(error).split())


def is_shortage(error: Exception) -> bool:
    """Whether the device's or the host's memory was too small."""
    return isinstance(error, MemoryError) or bool(_SHORTAGE.search(str(error)))


def out_of_memory(error: Exception, device: str, purpose: str) -> EngineError:
    """What to raise where memory was too small for `purpose`, such as "to run the graph"."""
    on_gpu = device.partition(".")[0] == "GPU"
    free_mb = _gpu_free_mb(device) if on_gpu else available_mb()
    text = one_line(error)
    said = f" ({text})" if text else ""
    return shortage(f"OpenVINO: out of memory {purpose} on {device}{said}", text, free_mb, at_most=on_gpu)


def _gpu_free_mb(device: str) -> int | None:
    """What this process has left of a GPU's memory: OpenVINO does not see what other programs take."""
    try:
        total, used = (_ask(device, name) for name in ("GPU_DEVICE_TOTAL_MEM_SIZE", "GPU_MEMORY_STATISTICS"))
        return max(int(total) - sum(used.values() if used else ()), 0) >> 20
    except (RuntimeError, ValueError):  # a device in trouble may answer nothing
        return None


def _matches(device: str, here: list[str]) -> bool:
    return any(device in (name, name.partition(".")[0]) for name in here)


def _identity(device: str) -> str:
    """What code for the device depends on beside OpenVINO itself."""
    asked = ("FULL_DEVICE_NAME", "DEVICE_ARCHITECTURE", "NPU_DRIVER_VERSION", "GPU_DEVICE_ID")
    return " ".join(str(_ask(device, name)) for name in asked)


def _ask(device: str, name: str) -> Any:
    """A property of a device, or nothing where it has none of that name."""
    if device == "AUTO" or name not in core().get_property(device, "SUPPORTED_PROPERTIES"):
        return ""
    return core().get_property(device, name)


def _unknown_operations(graph: Path) -> str:
    """Operation and node of what OpenVINO cannot convert, or "" if that is not what is wrong."""
    try:
        # Both are held while the nodes are looked at, whose attributes point into the source.
        source = onnx_frontend().load(str(graph))
        model = onnx_frontend().convert_partially(source)
    except Exception:  # damaged in another way
        return ""
    found = []
    for node in model.get_ops():
        if node.get_type_name() == "ONNXFrameworkNode":
            named = node.get_attributes()
            operation = ".".join(part for part in (named["ONNX_META_domain"], named["ONNX_META_type"]) if part)
            found.append(f"{operation} (node {node.get_friendly_name()})")
    return ", ".join(found)
