"""Which of onnxruntime's execution providers a device means, and why one cannot be had.

onnxruntime goes on with the CPU when a provider fails to load, and only its log says so. Here it is asked
afterwards what it really loaded, and anything less than what was wanted is an error with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime as ort

from sam_edge.errors import EngineError
from sam_edge.host import nvidia_driver as driver
from sam_edge.host.machine import Machine, this_machine

from .tensorrt_plans import TF32_OVERRIDE, ProviderPlans, tf32_is_off

PROVIDER_OF = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
LIBRARY_OF = {"cuda": "libonnxruntime_providers_cuda.so", "tensorrt": "libonnxruntime_providers_tensorrt.so"}
HINTS = {
    "libcu": "pip install 'onnxruntime-gpu[cuda,cudnn]', or put the folder that has it on LD_LIBRARY_PATH",
    "libnv": "install that version of TensorRT and put its folder on LD_LIBRARY_PATH",
}
"""Start of a library's name -> how to get it."""
FIRST_WITH_TF32 = 8
"""Major compute capability: Ampere."""
SMALLEST_GRAPH = (
    b'\x08\x08\x12\x00:2\n\x0b\n\x01a\x12\x01b"\x03Neg\x12\x01gZ\x0f\n\x01a\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01b\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""b = -a, in ONNX: enough to see whether a device starts."""


def default_device(machine: Machine) -> str:
    """CUDA where a device and a build that can use it are here, otherwise the CPU."""
    return "cuda" if machine.has_cuda and PROVIDER_OF["cuda"] in ort.get_available_providers() else "cpu"


def providers(device: str, plans: Path | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Providers and options, the wanted one first; `plans` is where TensorRT keeps plans, None nowhere."""
    cpu: tuple[str, dict[str, Any]] = (PROVIDER_OF["cpu"], {})
    if device == "cpu":
        return [cpu]
    # TensorFloat-32 keeps 10 bits of a float32 graph's factors; who wants that speed takes a float16 graph.
    cuda = {"device_id": 0, "use_tf32": 0}
    if device == "cuda":
        return [(PROVIDER_OF["cuda"], cuda), cpu]
    tensorrt: dict[str, Any] = {"device_id": 0}
    if plans is not None:
        for kind in ("engine", "timing"):
            tensorrt |= {f"trt_{kind}_cache_enable": 1, f"trt_{kind}_cache_path": str(plans)}
    return [(PROVIDER_OF["tensorrt"], tensorrt), (PROVIDER_OF["cuda"], cuda), cpu]


def check_device(device: str) -> None:
    """Find out before a session is made whether the device can be had.

    Raises:
        EngineError: the build lacks the provider; no device; the driver is missing, broken or too old;
            TensorRT would compute float32 graphs in TensorFloat-32.
    """
    if device == "cpu":
        return
    found = driver.probe()
    machine = this_machine()
    if PROVIDER_OF[device] not in ort.get_available_providers():
        hint = _gpu_build(machine)
        raise EngineError(f"the installed onnxruntime {ort.__version__} is built without {device}: {hint}")
    # A Jetson's driver comes with its JetPack, and the builds of the package index are for other machines.
    fix = _gpu_build(machine) if machine.is_jetson else None
    driver.check_cuda_version(found, _built_for_cuda(), f"onnxruntime {ort.__version__}", fix)
    if device == "tensorrt":
        _check_tf32(found)


def device_problems() -> dict[str, str | None]:
    """Each device, with None where it can be had, and why not in one line where it cannot."""
    answers: dict[str, str | None] = {}
    for device in PROVIDER_OF:
        try:
            check_device(device)
            start(SMALLEST_GRAPH, ort.SessionOptions(), device)
            answers[device] = None
        except Exception as error:  # onnxruntime's own errors share no base class
            answers[device] = " ".join(str(error).split())
    return answers


def start(
    model: Path | bytes, options: ort.SessionOptions, device: str, kept: ProviderPlans | None = None
) -> ort.InferenceSession:
    """A session that really runs on the device; `kept` is where TensorRT's plans of the graph are.

    Raises:
        EngineError: the provider did not start; onnxruntime's own errors, if it is the graph.
    """

    def make(plans: Path | None) -> ort.InferenceSession:
        with _quietly(options, device):
            return _start(model, options, device, providers(device, plans))

    return kept.open(make) if kept else make(None)


def _start(
    model: Path | bytes,
    options: ort.SessionOptions,
    device: str,
    wanted: list[tuple[str, dict[str, Any]]],
) -> ort.InferenceSession:
    try:
        session = ort.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=wanted, enable_fallback=0
        )
    except Exception as error:  # onnxruntime's own errors share no base class
        reason = _missing_library(device)
        if reason is None:
            raise
        raise EngineError(f"onnxruntime cannot start {device}: {reason}") from error
    if PROVIDER_OF[device] not in session.get_providers():
        reason = _missing_library(device) or "it does not say why; install onnxruntime-gpu again"
        raise EngineError(f"onnxruntime cannot start {device}: {reason}")
    return session


def _check_tf32(found: driver.Driver) -> None:
    """Refuse TensorRT where it would round the factors of float32 products to 10 bits.

    Its builder does so by default, and onnxruntime has no option against it. The environment has,
    but that is the whole process's, read once by all of NVIDIA's libraries: who starts the program decides.
    """
    has_tf32 = any(
        int(device.compute_capability.partition(".")[0]) >= FIRST_WITH_TF32 for device in found.devices[:1]
    )
    if has_tf32 and not tf32_is_off():
        raise EngineError(
            "onnxruntime lets TensorRT compute float32 in TensorFloat-32, with 10 bits instead of 23",
            hint=f"start the program with {TF32_OVERRIDE}=0 in the environment, or use --runtime tensorrt",
        )


@contextlib.contextmanager
def _quietly(options: ort.SessionOptions, device: str) -> Iterator[None]:
    """Load the CUDA libraries that pip installed; what fails is said in one line, and not by onnxruntime."""
    options.log_severity_level = 4
    if device == "cpu":
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)


def _missing_library(device: str) -> str | None:
    """Why the provider's library does not load, by the loader's own words; None if it does.

    Only after onnxruntime tried: its own library has to be loaded before, or this one calls into nothing.
    """
    if device == "cpu":
        return None
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / LIBRARY_OF[device]))
    except OSError as error:
        missing = str(error).partition(":")[0]
        for beginning, hint in HINTS.items():
            if missing.startswith(beginning):
                return f"{missing} is not found; {hint}"
        return " ".join(str(error).split())
    return None


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
