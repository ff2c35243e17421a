"""What the tests of several runtimes share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., Any]:
    """Makes a simulated GPU with TensorRT on it, whose plans are kept while the test runs."""
    # It computes with onnxruntime, which other runtimes' tests do without.
    from tests.runtimes.simulated_tensorrt import Simulation

    return partial(Simulation, tmp_path / "cache")
