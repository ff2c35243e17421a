"""A session that computes nothing: zeros of the right shapes, for testing programs without an engine.

`sam_edge.load("nano", runtime="null")` opens a model that answers at once with empty masks.
"""

from __future__ import annotations

from pathlib import Path

from sam_edge.sessions.backend import Backend
from sam_edge.sessions.session import Session, SessionOptions


def _open(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
    from .session import NullSession

    return NullSession(graph, options)


BACKEND = Backend(name="null", library="numpy", open=_open, score=lambda machine: 1, on_request=True)
