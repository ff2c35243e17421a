"""Tracing a model takes seconds, and equal weights give equal graphs: tests of what comes after share them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from sam_edge.exporters.onnx_graph import write_graph
from sam_edge.modeling.exportable import GraphSource
from sam_edge.storage.files import locked


def kept_graph(source: GraphSource, folder: Path) -> Path:
    """`write_graph`, which traces what no test of this run has traced before."""
    digest = hashlib.sha256(repr((source.name, source.module, source.outputs, source.dynamic)).encode())
    for name, tensor in (*source.module.state_dict().items(), *source.inputs.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    kept = Path(os.environ["SAM_EDGE_TEST_GRAPHS"]) / f"{digest.hexdigest()}.onnx"
    # Who waits for another worker's trace has it sooner than by an own one.
    with locked(kept.with_suffix(".lock"), waiting=lambda: None):
        if not kept.exists():
            write_graph(source, folder).rename(kept)
    return Path(shutil.copy(kept, folder / f"{source.name}.onnx"))
