"""What this machine's system lacks for its devices, and the command that brings it."""

from __future__ import annotations

from sam_edge.host.machine import Machine

TENSORRT_FLOOR_L4T = (36, 4)
"""JetPack 6.1, the first with TensorRT 10."""
CUDA_BINDINGS = ("cuda.bindings", "pycuda")
"""Modules through which Python speaks to CUDA; one of them is enough."""
JETSON_TENSORRT = (
    "sudo apt install python3-libnvinfer (JetPack's own), and make the environment with "
    "python3 -m venv --system-site-packages"
)
JETPACK_6 = 36
"""The L4T of JetPack 6, whose driver speaks CUDA 12.6 at most."""
JETPACK_6_CUDA = "pip install 'cuda-python==12.6.*'"
TENSORRT_EXTRA = "pip install 'sam-edge[tensorrt]'"


def cuda_install(machine: Machine) -> str:
    """The command that installs a Python binding of CUDA."""
    return JETPACK_6_CUDA if _is_jetpack_6(machine) else TENSORRT_EXTRA


def tensorrt_install(machine: Machine) -> str:
    """The command that installs TensorRT's Python package and a binding of CUDA."""
    if not machine.is_jetson:
        return TENSORRT_EXTRA
    return f"{JETSON_TENSORRT}; in it {JETPACK_6_CUDA}" if _is_jetpack_6(machine) else JETSON_TENSORRT


def tensorrt_unavailable(machine: Machine) -> str | None:
    """Why TensorRT, though it may be installed, has nothing to compute on; None if it has."""
    if machine.l4t is not None and machine.l4t < TENSORRT_FLOOR_L4T:
        return "TensorRT 10.3 comes with JetPack 6.1: flash that or a newer one"
    if not machine.cuda_nodes:
        return "no NVIDIA GPU here"
    return None if machine.libcuda else "the NVIDIA GPU has no driver library: " + _driver(machine)


def system_advice(machine: Machine) -> list[str]:
    """What a package of the system would add to this machine: its drivers, one line each."""
    advice = []
    vendors = {gpu.vendor for gpu in machine.gpus}
    if machine.cuda_nodes and machine.libcuda is None:
        advice.append(f"NVIDIA GPU without driver library (libcuda.so.1): {_driver(machine)}")
    elif not machine.cuda_nodes and vendors & {"nvidia", "nouveau"}:
        advice.append(f"NVIDIA GPU without NVIDIA's driver: {_driver(machine)}")
    if machine.l4t is not None and machine.l4t < TENSORRT_FLOOR_L4T:
        advice.append("this JetPack's TensorRT is older than 10.3: flash JetPack 6.1 or newer")
    if vendors & {"intel", "i915", "xe"}:
        advice.append("Intel GPU: openvino:GPU needs sudo apt install intel-opencl-icd")
    if any(npu.vendor == "intel" for npu in machine.npus):
        advice.append(
            "Intel NPU: openvino:NPU needs the packages intel-driver-compiler-npu and intel-level-zero-npu "
            "of Intel's linux-npu-driver"
        )
    locked = [node.name for node in (*machine.gpus, *machine.npus) if not node.may_open]
    if locked:
        advice.append(f"{', '.join(locked)} may not be opened: sudo usermod -aG render $USER, and log in again")
    return advice


def _is_jetpack_6(machine: Machine) -> bool:
    return machine.l4t is not None and machine.l4t[0] == JETPACK_6


def _driver(machine: Machine) -> str:
    if machine.is_jetson:
        return "in a container start it with --runtime nvidia; otherwise sudo apt install nvidia-jetpack"
    return (
        "in a container start it with --gpus all; otherwise sudo ubuntu-drivers install, or NVIDIA's installer"
    )
