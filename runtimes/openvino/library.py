"""OpenVINO's library, imported without its reports to its maker, and what of it a process needs once."""

from __future__ import annotations

import sys
from functools import lru_cache

# On import OpenVINO sends an event to a web analytics service and keeps a thread for it, unless that package
# is missing. A camera that somebody wears does not call home.
_REPORTS = "openvino_telemetry"
_absent = _REPORTS not in sys.modules
if _absent:
    sys.modules[_REPORTS] = None  # type: ignore[assignment]  # None is how Python is told a module is missing
try:
    import openvino as ov
    from openvino.frontend import FrontEnd, FrontEndManager
finally:
    if _absent:
        del sys.modules[_REPORTS]

__all__ = ["core", "onnx_frontend", "ov"]


@lru_cache(maxsize=1)
def core() -> ov.Core:
    """The plugins of all devices, found once a process."""
    return ov.Core()


@lru_cache(maxsize=1)
def onnx_frontend() -> FrontEnd:
    """The reader of ONNX files. Kept for good: its library would go with it, and with that its errors."""
    return FrontEndManager().load_by_framework("onnx")
