"""Where an FP32 engine departs: the first node whose values another runtime computes differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from sam_edge.exporters.half.precision import Source, read_source, save
from sam_edge.sessions.session import SessionLoader
from sam_edge.tensors import Arrays

WATCHED = 8
"""Values that are compared in one run: more would keep the engine from fusing nodes, and fill the memory."""
DEPARTED = 1e-2
"""Relative RMS: far more than another order of summation makes."""


def first_departure(
    graph: Path, engine: SessionLoader, trusted: SessionLoader, feeds: Arrays, folder: Path
) -> str | None:
    """The first node, as "NODE (OPERATOR)", that gives other values in `engine` than in `trusted`.

    Found by bisection with several values a step: values spread over the graph become outputs of it, then
    values between the last that agrees and the first that does not.

    Args:
        graph: an FP32 graph.
        feeds: its inputs.
        folder: for graphs with more outputs.

    Returns:
        None if all agree: the cause is then outside the graph, or goes away when nodes are not fused.
    """
    source = read_source(graph)
    nodes = [node for node in source.computing() if node.output[0] in source.floats]
    agreeing, departed = -1, len(nodes)
    while departed - agreeing > 1:
        chosen = np.unique(np.linspace(agreeing, departed, WATCHED + 2)[1:-1].round().astype(int))
        chosen = chosen[(chosen > agreeing) & (chosen < departed)]
        watched = [nodes[index].output[0] for index in chosen]
        path = folder / f"watched.{graph.name}"
        save(_with_outputs(source, watched), path)
        ours, theirs = (_run(loader, path, feeds) for loader in (engine, trusted))
        wrong = [not _agree(np.asarray(ours[name]), np.asarray(theirs[name])) for name in watched]
        if any(wrong):
            departed = int(chosen[wrong.index(True)])
            before = wrong.index(True) - 1
            agreeing = int(chosen[before]) if before >= 0 else agreeing
        elif departed == len(nodes):
            agreeing = int(chosen[-1])
        else:
            # With more values shown, what was wrong is right: it hung on a fusion.
            break
    return None if departed == len(nodes) else f"{nodes[departed].name} ({nodes[departed].op_type})"


def _with_outputs(source: Source, names: list[str]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in source.weights.items()
    )
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known
    )
    return model


def _run(loader: SessionLoader, path: Path, feeds: Arrays) -> Arrays:
    engine = loader(path)
    try:
        return {name: np.asarray(value) for name, value in engine.run(feeds).items()}
    finally:
        engine.close()


def _agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    off = np.sqrt(np.mean(np.square((ours - theirs).astype(np.float64))))
    size = np.sqrt(np.mean(np.square(theirs.astype(np.float64))))
    # NaN does not agree.
    return bool(off <= DEPARTED * max(float(size), 1e-12))
