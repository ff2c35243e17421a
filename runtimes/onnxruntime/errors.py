"""onnxruntime's many-worded errors as one line that names the thing and the fix."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime as ort

from sam_edge.errors import BundleError, EngineError, InputError, SamEdgeError
from sam_edge.host.memory import available_mb, shortage
from sam_edge.host.nvidia_driver import free_memory_mb

OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|bad_alloc|bad allocation|Failed to allocate memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|smaller than requested bytes",
    re.IGNORECASE,
)
UNKNOWN_OPERATOR = re.compile(
    r'In Node, \("(?P<node>[^"]*)", (?P<op>\w+),.*?Error (?:No Op registered|No opset import)', re.DOTALL
)
NO_KERNEL = re.compile(
    r"Could not find an implementation for (?P<op>\w+)\(\d+\) node with name '(?P<node>[^']*)'"
)
NO_OPSET = re.compile(r"Opset (?P<got>\d+) is under development.*till opset (?P<most>\d+)", re.DOTALL)
CUDA_FAILURE = re.compile(r"CUDA failure \d+: (?P<reason>[^;]+)")


def load_error(error: Exception, graph: Path, memory: str) -> SamEdgeError:
    """What to raise for an error while `graph` was loaded for tensors in `memory` (cpu or cuda)."""
    text = str(error)
    lacks = _shortage(text, memory, f"to load {graph}")
    if lacks:
        return lacks
    lacking = UNKNOWN_OPERATOR.search(text) or NO_KERNEL.search(text)
    if lacking:
        return BundleError(
            f"onnxruntime {ort.__version__} has no {lacking['op']} for node {lacking['node']!r} of {graph}",
            hint="install a newer onnxruntime, or export the model again",
        )
    newer = NO_OPSET.search(text)
    if newer:
        return BundleError(
            f"{graph} has opset {newer['got']}, onnxruntime {ort.__version__} knows {newer['most']} at most",
            hint="install a newer onnxruntime, or export the model again",
        )
    failure = CUDA_FAILURE.search(text)
    if failure:
        return EngineError(
            f"CUDA fails to load {graph}: {failure['reason'].strip()}", hint="see sam-edge doctor"
        )
    return BundleError(f"onnxruntime cannot load {graph}: {one_line(text)}")


def run_error(error: Exception, memory: str) -> SamEdgeError:
    """What to raise for an error while a graph ran."""
    text = str(error)
    failure = CUDA_FAILURE.search(text)
    lacks = _shortage(text, memory, "to run the graph")
    if lacks:
        return lacks
    if failure:
        return EngineError(
            f"CUDA fails while the graph runs: {failure['reason'].strip()}", hint="see sam-edge doctor"
        )
    return InputError(f"onnxruntime refuses the input: {one_line(text)}")


def is_shortage(text: str) -> bool:
    """Whether an error's text says that memory was too small."""
    return bool(OUT_OF_MEMORY.search(text))


def _shortage(text: str, memory: str, purpose: str) -> EngineError | None:
    """How much memory was asked for and how much there is, if that is what went wrong."""
    if not is_shortage(text):
        return None
    if memory == "cuda":
        return shortage(f"out of device memory {purpose}", text, free_memory_mb())
    return shortage(f"out of memory {purpose}", text, available_mb())


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
