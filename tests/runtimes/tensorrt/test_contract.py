"""The contract of every runtime, kept by ours for TensorRT on a simulated GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sam_edge.sessions.session import SessionLoader, SessionOptions
from tests.runtimes import test_contract as contract
from tests.runtimes.tensorrt.simulated_tensorrt import Simulation

# Finding unknown operations is the builder's work, finding runtimes that of their table.
NOT_OURS = {
    "test_unknown_operation_is_named",
    "test_unknown_runtime_lists_the_known",
    "test_missing_library_names_the_extra",
}
globals().update(
    {name: value for name, value in vars(contract).items() if name.startswith("test_") and name not in NOT_OURS}
)
graph = contract.graph
free_graph = contract.free_graph


@pytest.fixture(params=["graphs", "no graphs", "outputs stay"])
def loader(request: pytest.FixtureRequest, tmp_path: Path) -> SessionLoader:
    simulation = Simulation(tmp_path / "cache", capturable=request.param != "no graphs")
    if request.param != "outputs stay":
        return simulation.open
    return lambda graph, options=SessionOptions(): simulation.open(
        graph, replace(options, host_outputs=frozenset())
    )
