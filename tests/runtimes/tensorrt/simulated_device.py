"""A device whose TensorRT builds plans and runs them: a plan computes what its graph does, in real float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from sam_edge.runtimes.tensorrt import cli, prepare, session
from sam_edge.runtimes.tensorrt.api import TensorRtModule
from sam_edge.runtimes.tensorrt.cache import PlanCache
from sam_edge.runtimes.tensorrt.device import describe
from sam_edge.runtimes.tensorrt.plans import BuildEnvironment
from sam_edge.storage.cache import BlobCache
from tests.runtimes.tensorrt.fake_builder import FakeTrt
from tests.runtimes.tensorrt.simulated_tensorrt import MARK, Simulation


class Device:
    """A simulated GPU, the builder of its TensorRT, and the cache of plans."""

    def __init__(self, folder: Path) -> None:
        self.simulation = Simulation(folder)
        self.builder = FakeTrt(plan=self._plan)
        self.folder = folder
        self.built: list[str] = []
        """Name of each file that was built."""
        self.builds_at_most: int | None = None
        """Later ones fail."""
        self.spoil: Callable[[ModelProto], None] = lambda model: None
        """What goes wrong while a plan is built."""

    def environment(self, machine: object = None, name: str | None = None) -> BuildEnvironment:
        """Stands for `find_build_environment`."""
        device, folder = describe(self.simulation.gpu), self.folder
        return BuildEnvironment(
            cast(TensorRtModule, self.builder), device, lambda: 3000, PlanCache(folder), BlobCache(folder)
        )

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it this machine's GPU."""
        for module in (prepare, session):
            monkeypatch.setattr(module, "find_gpu", lambda device=None: self.simulation.gpu)
        for module in (prepare, cli):
            monkeypatch.setattr(module, "find_build_environment", self.environment)

    def names(self) -> list[str]:
        """Graphs that the cache has plans of, and what else lies in it."""
        return sorted(
            path.name.partition("-")[0] if path.suffix == ".plan" else path.suffix
            for path in self.folder.iterdir()
            if path.suffix != ".json" and path.name != "lock"
        )

    def plan(self, graph: str) -> Path:
        """The plan of a graph, such as "encoder"."""
        (plan,) = self.folder.glob(f"{graph}-*.plan")
        return plan

    def _plan(self, graph: Path) -> Any:
        self.built.append(graph.name)
        if self.builds_at_most is not None and len(self.built) > self.builds_at_most:
            return None
        model = rounding(onnx.load(graph))
        self.spoil(model)
        return MARK + model.SerializeToString()


def rounding(model: ModelProto) -> ModelProto:
    """A float32 graph that rounds wherever this one stores float16, for a processor that does not."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    halves = {
        value.name for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    nodes, weights = [], []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        wide = value.astype("float32") if tensor.data_type == TensorProto.FLOAT16 else value
        weights.append(numpy_helper.from_array(wide, tensor.name))
    for node in model.graph.node:
        nodes.append(node)
        rounded = [name for name in node.output if name in halves]
        if node.op_type == "Cast" and rounded:
            node.attribute[0].i = TensorProto.FLOAT
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = f"{name}.wide"
                nodes += [
                    helper.make_node("Cast", [f"{name}.wide"], [f"{name}.16"], to=TensorProto.FLOAT16),
                    helper.make_node("Cast", [f"{name}.16"], [name], to=TensorProto.FLOAT),
                ]
    made = ModelProto()
    made.CopyFrom(model)
    for field in ("node", "initializer", "value_info"):
        made.graph.ClearField(field)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(weights)
    return made
