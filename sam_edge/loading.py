"""Opening a model on this machine: the folder, the runtime, the precision, and what has to be built first."""

from __future__ import annotations

import logging
from pathlib import Path

from sam_edge.bundle.folder import find_bundle
from sam_edge.bundle.manifest import Precision
from sam_edge.errors import InputError, PlanError
from sam_edge.progress import Progress
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.choice import find_runtime
from sam_edge.sessions.precision import choose_engine

MAX_THREADS = 1024
_log = logging.getLogger(__name__)


def load(
    model: str | Path = "nano",
    *,
    runtime: str | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    frame_wh: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Segmenter:
    """Open a shipped model by name, or an exported model folder.

    TensorRT plans that are missing, or no longer fit, are built first, which takes minutes: why, and every
    step, is logged as a warning. `sam-edge build` does it beforehand.

    Args:
        model: a name such as "nano", or the folder that `sam-edge export` wrote.
        runtime: such as "onnxruntime" or "openvino:GPU"; None takes the best one this machine has.
        precision: "fp32", or "fp16" if the folder was exported so for this runtime; None takes fp16 if
            there is such an engine and it is not known to fail here.
        threads: how many cores an engine may use; None leaves it to the runtime.
        frame_wh: width and height of the frames that will come: everything they need is compiled before `load`
            returns (`Segmenter.warm_up`). None: when the first frame comes.
        progress: shows what is being built; None: it is logged.

    Raises:
        BundleError: no such model, or it is damaged.
        InputError: no such runtime, or the folder has no engine of that precision for it.
        MissingExtraError: the runtime's library is not installed.
        FidelityError: this engine computes something else on this runtime: `sam-edge verify` found it, or
            the comparison with PyTorch's answers that follows a build.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads is {threads}", hint=f"give 1 to {MAX_THREADS}")
    bundle = find_bundle(model)
    found = find_runtime(runtime)
    engine = choose_engine(bundle, found.name, precision)
    plans = found.backend.plans
    try:
        if plans is not None:
            # Now, and not in the middle of a stream: building takes minutes.
            plans.check([bundle.graph(graph, engine) for graph in bundle.manifest.graphs], found.device)
        segmenter = Segmenter(bundle, found, threads=threads, engine=engine)
    except PlanError as error:
        if plans is None:
            raise
        _log.warning("%s", error.what)
        plans.prepare(bundle, engine, progress or _log_step)
        segmenter = Segmenter(bundle, found, threads=threads, engine=engine)
    if frame_wh is not None:
        try:
            segmenter.warm_up(frame_wh)
        except BaseException:
            segmenter.close()
            raise
    return segmenter


def _log_step(step: str, done: float | None = None) -> None:
    _log.warning("%s", step)
