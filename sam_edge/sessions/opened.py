"""The sessions of one model: each is opened when it is first needed, all are closed together."""

from __future__ import annotations

from threading import Lock

from sam_edge.bundle.folder import Bundle
from sam_edge.bundle.manifest import EngineSpec, Role
from sam_edge.errors import InputError
from sam_edge.host.cores import usable_cores
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions

DECODER_CORES = 4
"""A decoder's products are too thin to share among more, and the encoder wants the rest."""
HOST_OUTPUTS = frozenset({"logits", "iou"})
"""Outputs that are numpy arrays on every device; all others only feed other graphs and may stay on it."""


class OpenedSessions:
    """Any number of threads may ask for sessions.

    Args:
        bundle: the model.
        loader: opens its graphs.
        threads: processor cores each session may use; None: all for the encoder, at most 4 for the others.
        engine: whose graphs are opened; None: the FP32 sources.
    """

    def __init__(
        self, bundle: Bundle, loader: SessionLoader, threads: int | None, engine: EngineSpec | None
    ) -> None:
        self._bundle = bundle
        self._load = loader
        self._threads = threads
        self._engine = engine
        self._sessions: dict[str, Session] = {}
        self._opening = Lock()
        self.is_closed = False

    def session(self, graph: str) -> Session:
        """The session of the graph of that name, opened if it is not open yet.

        Raises:
            InputError: closed.
            EngineError: it cannot be opened.
        """
        session = self._sessions.get(graph)
        if session is None:
            with self._opening:
                if self.is_closed:
                    raise InputError("the segmenter is closed", hint="load the model again")
                session = self._sessions.get(graph)
                if session is None:
                    path = self._bundle.graph(graph, self._engine)
                    session = self._load(path, self._options(self._bundle.manifest.graphs[graph].role))
                    self._sessions[graph] = session
        return session

    def close(self) -> None:
        """Give the sessions' memory back. None can be opened afterwards."""
        with self._opening:
            self.is_closed = True
            while self._sessions:
                self._sessions.popitem()[1].close()

    def _options(self, role: Role) -> SessionOptions:
        """What the session of a graph is told."""
        if role == "encoder":
            return SessionOptions(self._threads, host_outputs=HOST_OUTPUTS)
        # Whatever a prompt waits for overtakes the encoder.
        threads = self._threads or min(usable_cores(), DECODER_CORES)
        return SessionOptions(threads, host_outputs=HOST_OUTPUTS, priority="urgent")
