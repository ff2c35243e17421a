"""A simulated GPU, and graphs for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.tensorrt.graphs import write_decoder, write_encoder
from tests.runtimes.tensorrt.simulated_tensorrt import Simulation


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    """Its plans are kept while the test runs."""
    return Simulation(tmp_path / "cache")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return write_decoder(tmp_path)
