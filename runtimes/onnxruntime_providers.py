"""Which of onnxruntime's execution providers a device means, and why one cannot be had.

onnxruntime goes on with the CPU when a provider fails to load, and only its log says so. Here it is asked
afterwards what it really loaded, and anything less than what was wanted is an error with the reason.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import onnxruntime as ort

from sam_edge import driver
from sam_edge.cache import cache_folder
from sam_edge.errors import EngineError
from sam_edge.machine import Machine, this_machine

PROVIDER_OF = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
LIBRARY_OF = {"cuda": "libonnxruntime_providers_cuda.so", "tensorrt": "libonnxruntime_providers_tensorrt.so"}
BRINGS = {"libcudnn": "cuDNN", "libcu": "the CUDA toolkit's libraries", "libnv": "TensorRT"}
"""Start of a library's name -> what has to be installed for it."""


def default_device(machine: Machine) -> str:
    """CUDA where a device and a build that can use it are here, otherwise the CPU."""
    return "cuda" if machine.has_cuda and PROVIDER_OF["cuda"] in ort.get_available_providers() else "cpu"


def providers(device: str, *, replay: bool) -> list[tuple[str, dict[str, Any]]]:
    """Providers and options, the wanted one first; `replay` records the kernels as a CUDA graph."""
    cpu: tuple[str, dict[str, Any]] = (PROVIDER_OF["cpu"], {})
    if device == "cpu":
        return [cpu]
    # SAM's convolutions have few shapes: searching for the best algorithm pays within the first second.
    cuda = {"device_id": 0, "cudnn_conv_algo_search": "EXHAUSTIVE", "do_copy_in_default_stream": True}
    if device == "cuda":
        return [(PROVIDER_OF["cuda"], cuda | {"enable_cuda_graph": replay}), cpu]
    folder = cache_folder("onnxruntime")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tensorrt = {
        "device_id": 0,
        "trt_cuda_graph_enable": replay,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
    }
    return [(PROVIDER_OF["tensorrt"], tensorrt), (PROVIDER_OF["cuda"], cuda), cpu]


def check_device(device: str) -> None:
    """Find out before a session is made whether the device can be had.

    Raises:
        EngineError: the build lacks the provider; no device; the driver is missing, broken or too old.
    """
    if device == "cpu":
        return
    found = driver.probe()
    if PROVIDER_OF[device] not in ort.get_available_providers():
        cure = _gpu_build(this_machine())
        raise EngineError(f"the installed onnxruntime {ort.__version__} is built without {device}: {cure}")
    driver.check_cuda_version(found, _built_for_cuda(), f"onnxruntime {ort.__version__}")


def usable_devices() -> dict[str, str | None]:
    """Each device, with None where it can be had, and why not in one line where it cannot."""
    answers: dict[str, str | None] = {}
    for device in PROVIDER_OF:
        try:
            check_device(device)
            answers[device] = None
        except EngineError as error:
            answers[device] = str(error)
    return answers


def check_loaded(session: ort.InferenceSession, device: str) -> None:
    """Raise EngineError unless the session really has the wanted provider; the reason is looked for."""
    if PROVIDER_OF[device] not in session.get_providers():
        raise EngineError(f"onnxruntime cannot start {device}: {_why_not(device)}")


def _why_not(device: str) -> str:
    """The loader's own words on the provider's library. Only after onnxruntime tried: it has to be first."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / LIBRARY_OF[device]))
    except OSError as error:
        missing = str(error).partition(":")[0]
        for start, bringer in BRINGS.items():
            if missing.startswith(start):
                cuda = f" for CUDA {_built_for_cuda()}" if _built_for_cuda() else ""
                return f"{missing} is not found; install {bringer}{cuda}, or put its folder on LD_LIBRARY_PATH"
        return " ".join(str(error).split())
    return "it does not say why; install onnxruntime-gpu anew, or choose onnxruntime:cpu"


def _built_for_cuda() -> str | None:
    """The CUDA version that the installed build was made for; None for a build without CUDA."""
    try:
        from onnxruntime.capi import build_and_package_info
    except ImportError:
        return None
    return getattr(build_and_package_info, "cuda_version", None) or None


def _gpu_build(machine: Machine) -> str:
    if machine.is_jetson:
        return "install the onnxruntime-gpu wheel that NVIDIA makes for this JetPack, or use --runtime tensorrt"
    # Both packages fill the same folder, and the one that is removed takes the other's files with it.
    return "pip uninstall onnxruntime, then pip install 'sam-edge[gpu]'"
