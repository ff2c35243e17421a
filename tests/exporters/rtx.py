"""NVIDIA's builder that needs no GPU, where it is installed."""

from __future__ import annotations

from typing import Any

import pytest


def find_rtx() -> Any:
    """The module, or a skipped test."""
    return pytest.importorskip(
        "tensorrt_rtx_bindings", reason="NVIDIA's builder is not installed: pip install --group rtx"
    )
