"""onnxruntime's many-worded errors as one line that names the thing and the cure."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime as ort

from sam_edge.driver import free_memory_mb
from sam_edge.errors import BundleError, EngineError, InputError, SamEdgeError

ASKED = re.compile(r"Failed to allocate memory for requested buffer of size (\d+)")
OUT_OF_MEMORY = re.compile(r"out of memory|bad_alloc|bad allocation|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
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
    shortage = _shortage(text, memory, f"to load {graph}")
    if shortage:
        return shortage
    lacking = UNKNOWN_OPERATOR.search(text) or NO_KERNEL.search(text)
    if lacking:
        return BundleError(
            f"onnxruntime {ort.__version__} has no {lacking['op']} for node {lacking['node']!r} of {graph}: "
            "install a newer onnxruntime, or export the model again"
        )
    newer = NO_OPSET.search(text)
    if newer:
        return BundleError(
            f"{graph} has opset {newer['got']}, onnxruntime {ort.__version__} knows {newer['most']} at most: "
            "install a newer onnxruntime, or export the model again"
        )
    failure = CUDA_FAILURE.search(text)
    if failure:
        return EngineError(f"CUDA fails to load {graph}: {failure['reason'].strip()}; see sam-edge doctor")
    return BundleError(f"onnxruntime cannot load {graph}: {one_line(text)}")


def run_error(error: Exception, memory: str) -> SamEdgeError:
    """What to raise for an error while a graph ran."""
    text = str(error)
    failure = CUDA_FAILURE.search(text)
    shortage = _shortage(text, memory, "to run the graph")
    if shortage:
        return shortage
    if failure:
        return EngineError(f"CUDA fails while the graph runs: {failure['reason'].strip()}; see sam-edge doctor")
    return InputError(f"onnxruntime refuses the input: {one_line(text)}")


def is_shortage(text: str) -> bool:
    """Whether an error's text says that memory was too small."""
    return bool(ASKED.search(text) or OUT_OF_MEMORY.search(text))


def _shortage(text: str, memory: str, purpose: str) -> EngineError | None:
    """How much memory was asked for and how much there is, if that is what went wrong."""
    if not is_shortage(text):
        return None
    asked = ASKED.search(text)
    where, free_mb = ("device memory", free_memory_mb()) if memory == "cuda" else ("memory", _available_mb())
    wanted = f"{_mb(int(asked[1]) >> 20)} were asked for" if asked else "more was asked for than there is"
    had = f", {_mb(free_mb)} are free" if free_mb is not None else ""
    return EngineError(
        f"out of {where} {purpose}: {wanted}{had}; close other programs, or take a smaller model or input"
    )


def _mb(megabytes: int) -> str:
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes} MB"


def _available_mb() -> int | None:
    """Host memory that can be had without swapping."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) // 1024 if found else None


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
