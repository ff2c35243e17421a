"""ONNX's own reference evaluator: plain numpy, slow and right, for tests and for settling arguments."""

from __future__ import annotations

from pathlib import Path

from sam_edge.sessions.backend import Backend
from sam_edge.sessions.session import Session, SessionOptions


def _open(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
    from .session import ReferenceSession

    return ReferenceSession(graph, options)


# Right, but so slow that nobody should get it without asking.
BACKEND = Backend(
    name="reference", library="onnx", extra="export", open=_open, score=lambda machine: 1, on_request=True
)
