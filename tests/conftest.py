"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Small models gain nothing from threads, and lose much when other work holds the cores. PyTorch reads this
# when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ("tests.fixtures.commands", "tests.fixtures.models", "tests.fixtures.labelled")

# A slow machine is not a failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines keep what they compile; tests leave nothing behind and find nothing of before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _graphs_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """tests/kept_graphs.py keeps graphs in one folder for all workers of pytest-xdist, beside their own."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM_EDGE_TEST_GRAPHS", str(run / "graphs"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs, videos, gaze and reference outputs beside the checkout."""
    if not (SHARED / "fixtures").is_dir():
        pytest.skip("../shared (real data and reference outputs) is not beside this checkout")
    return SHARED
