"""Everything that answers requests share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from time import monotonic, monotonic_ns
from typing import Any

from aiohttp import web

from sam_edge.errors import EngineError, SamEdgeError
from sam_edge.segmenter import Segmenter
from sam_edge.service.asking.engine import BusyError, Engine, Worker
from sam_edge.service.asking.store import Store
from sam_edge.service.auth import Gate
from sam_edge.service.config import ServiceConfig
from sam_edge.service.connections import Connections
from sam_edge.service.limits import Rates
from sam_edge.service.live.hub import Hub
from sam_edge.service.metrics import Metrics
from sam_edge.streaming.live.stream import Stream

HOLD_S = 2.0
"""The client that is the gaze stays it through so long a silence."""
log = logging.getLogger("sam_edge.service")


@dataclass(eq=False)
class Context:
    """Belongs to the event loop."""

    config: ServiceConfig
    stream: Stream
    hub: Hub
    metrics: Metrics
    gate: Gate
    engine: Engine
    worker: Worker
    connections: Connections
    rates: Rates
    takes_gaze: bool
    """Whether clients send the gaze; False: a tracker does."""
    decoder: bytes
    """The decoder's graph."""
    tracker_ns: Callable[[], int | None] | None = None
    """When a tracker's newest sample came; None without a tracker."""
    reconnects: Callable[[], int] = lambda: 0
    clients: int = 0
    previews: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """How requests and messages that compute ended."""
    pointer: object | None = None
    """The client that is the gaze."""
    pointer_s: float = 0.0

    @classmethod
    def of(
        cls,
        config: ServiceConfig,
        stream: Stream,
        segmenter: Segmenter,
        hub: Hub,
        metrics: Metrics,
        *,
        token: str | None = None,
        takes_gaze: bool = True,
        tracker_ns: Callable[[], int | None] | None = None,
        decoder: bytes = b"",
        reconnects: Callable[[], int] = lambda: 0,
    ) -> Context:
        """For a stream that runs."""
        store = Store(config.max_embeddings, config.embedding_expires_s)
        made = cls(
            config=config,
            stream=stream,
            hub=hub,
            metrics=metrics,
            gate=Gate(token, config.origins),
            engine=Engine(segmenter, store, config.max_image_pixels),
            worker=Worker(config.max_waiting),
            connections=Connections(config.max_connections, config.head_timeout_s, config.stall_timeout_s),
            rates=Rates(config.max_requests_per_s),
            takes_gaze=takes_gaze,
            decoder=decoder,
            tracker_ns=tracker_ns,
            reconnects=reconnects,
        )
        metrics.watch(made)
        hub.begin(lambda: stream.scene.embedding)
        return made

    def may_point(self, client: object) -> bool:
        """Whether a client is the gaze, or may become it now."""
        if not self.takes_gaze:
            return False
        now_s = monotonic()
        if self.pointer is not client and self.pointer is not None and now_s - self.pointer_s < HOLD_S:
            return False
        self.pointer, self.pointer_s = client, now_s
        return True

    def now_ns(self) -> int:
        """This machine's monotonic clock."""
        return monotonic_ns()

    def info(self) -> dict[str, Any]:
        """What `/v1/info` says."""
        segmenter, config = self.engine.segmenter, self.config
        manifest = segmenter.manifest
        decoder = next(iter(manifest.decoders.values()))
        wh = self.stream.scene.frame_wh
        return {
            "v": 1,
            "version": version("sam-edge"),
            "model": {
                "id": manifest.model_id,
                "name": manifest.name,
                "family": manifest.family,
                "licence": manifest.licence,
                "max_points": segmenter.max_points,
                "decoder": {
                    "inputs": {spec.name: list(spec.shape) for spec in decoder.inputs},
                    "outputs": {spec.name: list(spec.shape) for spec in decoder.outputs},
                },
            },
            "frame_wh": None if wh is None else list(wh),
            "gaze": "clients" if self.takes_gaze else "tracker",
            "limits": {
                name: value for name, value in vars(config).items() if name.startswith(("max_", "embedding_"))
            },
        }

    def health(self) -> dict[str, Any]:
        """What `/healthz` says."""
        config, scene, now_ns = self.config, self.stream.scene, monotonic_ns()
        frame, embedding = scene.frame, scene.embedding
        parts = {
            "frames": _age(now_ns, None if frame is None else frame.capture_ns, config.stale_frames_s),
            "embeddings": _age(
                now_ns, None if embedding is None else embedding.capture_ns, config.stale_embeddings_s
            ),
            "gaze": self.tracker_ns and _age(now_ns, self.tracker_ns(), config.stale_gaze_s),
        }
        is_well = all(part is None or part["ok"] for part in parts.values()) and not self.stream.is_closed
        return {"status": "ok" if is_well else "stale", **parts}

    def failure(self, error: Exception) -> tuple[int, dict[str, Any]]:
        """Status and words for what was raised; what nobody expected is logged and not told."""
        if isinstance(error, BusyError):
            return 503, said("busy", "too many requests wait for the engine", "ask again in a second")
        if isinstance(error, EngineError) or not isinstance(error, SamEdgeError):
            log.error("a request failed", exc_info=error)
            return 500, said("failed", "the service could not do this", "its log says why")
        return 422, said("invalid", error.what, error.hint)


CONTEXT = web.AppKey("context", Context)


def said(code: str, what: str, hint: str | None = None) -> dict[str, Any]:
    """An error as clients see it."""
    return {"code": code, "what": what, "hint": hint}


def _age(now_ns: int, at_ns: int | None, limit_s: float) -> dict[str, Any]:
    age_ms = None if at_ns is None else round((now_ns - at_ns) / 1e6, 1)
    return {"age_ms": age_ms, "limit_ms": 1e3 * limit_s, "ok": age_ms is not None and age_ms <= 1e3 * limit_s}
