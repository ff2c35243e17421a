"""Ranges of large models are found in the memory of small machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEGABYTES = 16.8
"""Of one of the tensors."""
MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np, onnx
from onnx import TensorProto, helper
from sam_edge.exporters.half.precision import read_source
from sam_edge.exporters.half.ranges import measure_ranges
values = ["x", *(f"v{index}" for index in range(29)), "y"]
nodes = [helper.make_node("Sin", [a], [b], b) for a, b in zip(values, values[1:])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1024, 4096)) for name in "xy"]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.save(model, sys.argv[1])
source, feed = read_source(Path(sys.argv[1])), {"x": np.zeros((1024, 4096), np.float32)}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(measure_ranges(source, [feed, feed])) == 30
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_graph_takes_the_memory_of_a_few_tensors(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "g.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Four are needed; all thirty and their shadows would be 70, and what one image leaves to the next 4 more.
    assert int(done.stdout) / 1e3 < 6 * MEGABYTES
