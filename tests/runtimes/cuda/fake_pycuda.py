"""pycuda's modules over our driver library: what `PyCuda` asks of them."""

from __future__ import annotations

import ctypes
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

from sam_edge.runtimes.cuda import api


class Contexts(threading.local):
    """pycuda's stack of contexts, one a thread."""

    def __init__(self) -> None:
        self.stack: list[object] = []


contexts = Contexts()


class Driver(ModuleType):
    """Stands for pycuda.driver."""

    class Error(Exception):
        pass

    class CompileError(Error):
        pass

    class Context:
        def push(self) -> None:
            contexts.stack.append(self)
            ctypes.CDLL(api.LIBRARY).fake_primary()

        @staticmethod
        def pop() -> None:
            contexts.stack.pop()
            ctypes.CDLL(api.LIBRARY).cuCtxSetCurrent(None)

    class Device:
        number = 1

        def __init__(self, index: int) -> None:
            self.index = index

        def retain_primary_context(self) -> Driver.Context:
            if self.index:
                raise Driver.Error("cuDevicePrimaryCtxRetain failed: out of memory")
            return Driver.Context()

        @classmethod
        def count(cls) -> int:
            return cls.number

        def name(self) -> str:
            return "Orin"

        def compute_capability(self) -> tuple[int, int]:
            return (8, 7)

        def get_attribute(self, key: str) -> int:
            return {"sm": 16}[key]

    device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT="sm")

    @staticmethod
    def init() -> None:
        pass

    @staticmethod
    def get_driver_version() -> int:
        return 12060


compilers: list[str] = []
"""Called so far."""


def compile_cubin(source: str, **options: Any) -> bytes:
    """Stands for pycuda.compiler.compile."""
    assert options["arch"] == "sm_87"
    # A fused product and sum is rounded once, and the image differs from the processor's.
    assert options["options"] == ["-fmad=false"]
    compilers.append(options["nvcc"])
    if source == "wrong":
        raise Driver.CompileError("nvcc: error")
    return b"cubin\0more"


def modules() -> dict[str, ModuleType]:
    """Name -> module, for sys.modules."""
    package, driver, compiler = ModuleType("pycuda"), Driver("pycuda.driver"), ModuleType("pycuda.compiler")
    vars(compiler)["compile"] = compile_cubin
    vars(package).update(driver=driver, compiler=compiler)
    return {module.__name__: module for module in (package, driver, compiler)}
