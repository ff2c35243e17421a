"""The GPU that plans are built for and run on, with its TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sam_edge.errors import SamEdgeError
from sam_edge.host.machine import this_machine
from sam_edge.runtimes.cuda.api import CudaApi, find_cuda
from sam_edge.runtimes.cuda.errors import CompilerError
from sam_edge.runtimes.cuda.letterbox_kernel import FUNCTION, KERNEL
from sam_edge.storage.cache import cache_folder

from .api import TensorRtModule
from .library import load_tensorrt


@dataclass(frozen=True)
class Gpu:
    """A device and the TensorRT that works on it."""

    cuda: CudaApi
    trt: TensorRtModule


@dataclass(frozen=True)
class PlanDevice:
    """What a plan can run on: one version of TensorRT on one kind of device."""

    tensorrt: str
    """`tensorrt.__version__`."""
    driver: str
    """Version of the kernel's NVIDIA driver."""
    cuda: str
    """Newest CUDA version that the driver speaks, such as 12.6."""
    device_name: str
    """Such as NVIDIA RTX A4000, or Orin."""
    compute_capability: str
    """Such as 8.7."""
    sm_count: int
    """Streaming multiprocessors: modules of one name are sold with different numbers of them."""
    l4t: str
    """Release of Jetson's Linux, such as 36.4.3; "" elsewhere."""

    def facts(self) -> Mapping[str, Any]:
        """What a plan depends on beside its graph and settings, as JSON values."""
        # Another sam-edge may build other plans.
        return {**asdict(self), "sam_edge": version("sam-edge")}


def plan_folder() -> Path:
    """Where plans of this machine are kept."""
    return cache_folder("tensorrt")


def find_gpu(device: str | None = None) -> Gpu:
    """This machine's `cuda` or `cuda.N`; None is the first. Looks for a device before it touches TensorRT.

    Raises:
        EngineError: no CUDA device, or a driver or TensorRT that is too old.
        MissingExtraError: TensorRT or a CUDA binding is not installed.
    """
    number = (device or "").partition(".")[2]
    cuda = find_cuda(int(number or 0))
    return Gpu(cuda, load_tensorrt())


def describe(gpu: Gpu) -> PlanDevice:
    """The device and TensorRT as plans depend on them."""
    device, machine = gpu.cuda.device, this_machine()
    return PlanDevice(
        tensorrt=gpu.trt.__version__,
        driver=machine.cuda_driver or "",
        cuda=gpu.cuda.cuda_version,
        device_name=device.name,
        compute_capability="{}.{}".format(*device.compute_capability),
        sm_count=device.sm_count,
        l4t=".".join(str(part) for part in machine.l4t or ()),
    )


def device_problems() -> dict[str, str | None]:
    """The first GPU, with None where TensorRT can use it, and why not in one line where it cannot.

    Where the kernel that prepares frames cannot be compiled, that is said as `letterbox`.
    """
    try:
        gpu = find_gpu()
    except SamEdgeError as error:
        return {"cuda": str(error)}
    try:
        gpu.cuda.enter()
        gpu.cuda.compile(KERNEL, FUNCTION)
    except CompilerError as error:
        return {"cuda": None, "letterbox": f"frames are prepared on the processor: {error}"}
    return {"cuda": None}
