"""An engine around an engine: what watches, times or spoils another one says only what it does differently."""

from __future__ import annotations

from sam_edge.sessions.backends import Session
from sam_edge.tensors import Arrays


class Wrapped:
    """Passes everything on to another engine, which is closed with it."""

    def __init__(self, engine: Session) -> None:
        self._engine = engine
        self.inputs = engine.inputs
        self.outputs = engine.outputs

    def run(self, feeds: Arrays) -> Arrays:
        return self._engine.run(feeds)

    def close(self) -> None:
        self._engine.close()


_: type[Session] = Wrapped
