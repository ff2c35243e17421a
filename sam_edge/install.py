"""What to install for a library that is missing, where the cure is not an extra of this package alone."""

from __future__ import annotations

from sam_edge.lazy import EXTRA_OF
from sam_edge.machine import Machine

JETSON_TENSORRT = (
    "sudo apt install python3-libnvinfer (JetPack's own), and make the environment with "
    "python3 -m venv --system-site-packages"
)


def cure(library: str, machine: Machine) -> str:
    """The command that brings `library`, an engine's Python package, to this machine."""
    if library == "tensorrt" and machine.is_jetson:
        return JETSON_TENSORRT
    return f"pip install 'sam-edge[{EXTRA_OF[library]}]'"
