"""What a live stream did: counts that never grow, and the last durations of each kind."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from sam_edge.streaming.gaze.filters.chain import Filtered
from sam_edge.streaming.latency import Summary, summarize
from sam_edge.streaming.live.played import Played
from sam_edge.streaming.objects import Admitted
from sam_edge.streaming.result import Result

KEPT = 4096
"""Of each duration so many of the last ones are kept."""
KINDS = 64
"""So many reasons are told apart; more are counted as "other"."""


@dataclass(frozen=True)
class StreamReport:
    """A stream so far."""

    seconds: float
    """Since it began."""
    frames: int
    """Frames that came."""
    skipped_frames: int
    """Of those, how many were replaced by a newer one before they were looked at."""
    encoded_frames: int
    gaze_samples: int
    """Samples that came."""
    decodes: int
    """Gaze samples and boxes that were decoded."""
    results: Mapping[str, int]
    """Freshness or status -> number of results."""
    looks: Mapping[str, int]
    """Phase of the eye -> number of samples."""
    dropped: Mapping[str, int]
    """Why -> how many frames, samples or boxes were not used."""
    errors: Mapping[str, int]
    """Where and what -> how often something failed; the stream went on."""
    unread_results: int
    """Results that slow readers missed."""
    reconnects: int
    """How often a source was opened again."""
    last_failure: str | None
    """Why a source was lost, the last time."""
    latency_ms: Summary
    """Of the last while: `gaze_to_mask` (arrival of the sample to its result), `gaze_age`, `frame_age`,
    `embedding_age` (of each result that shows a mask), and of each stage: `motion`, `encode`, `wait`, `decode`,
    `choose`, `carry`, `publish`, `bookkeeping`."""

    @property
    def encodes_per_s(self) -> float:
        """Encoded frames per second."""
        return self.encoded_frames / self.seconds if self.seconds else 0.0

    @property
    def decodes_per_s(self) -> float:
        """Decodes per second."""
        return self.decodes / self.seconds if self.seconds else 0.0


class Counts:
    """Filled by a stream's threads. Reports may miss what happens while they are made."""

    def __init__(self) -> None:
        self.frames = self.seen = self.encoded = self.samples = self.decodes = 0
        self._results: Counter[str] = Counter()
        self._looks: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._took: dict[str, deque[float]] = {}

    def look(self, look: Filtered) -> None:
        """A gaze sample went through the filters."""
        self.samples += 1
        self._looks[look.phase] += 1

    def drop(self, reason: str) -> None:
        """Something was not used."""
        _count(self._dropped, reason)

    def boxes(self, admitted: Admitted) -> None:
        """A tracker's boxes were looked at."""
        for reason in ("outside", "invalid", "unsure", "surplus"):
            if count := getattr(admitted, reason):
                _count(self._dropped, f"boxes {reason}", count)

    def fail(self, where: str, error: Exception) -> None:
        """Something was raised."""
        _count(self._errors, f"{where}: {type(error).__name__}: {error}"[:200])

    def took(self, stage: str, duration_ms: float) -> None:
        """A stage took so long."""
        self._took.setdefault(stage, deque(maxlen=KEPT)).append(duration_ms)

    def result(self, result: Result) -> None:
        """There is a result."""
        self._results[result.freshness or result.status] += 1
        for stage, duration_ms in result.stages_ms.items():
            self.took("gaze_to_mask" if stage == "total" else stage, duration_ms)
        if result.masks is not None:
            for name in ("gaze_age", "frame_age", "embedding_age"):
                self.took(name, getattr(result, f"{name}_ms"))
            self.decodes += not result.reused

    def report(
        self,
        seconds: float,
        skipped_frames: int,
        unread: int,
        gaze_drops: Mapping[str, int],
        sources: Played,
    ) -> StreamReport:
        """Everything so far, and what only others know."""
        return StreamReport(
            seconds=seconds,
            frames=self.frames,
            skipped_frames=skipped_frames,
            encoded_frames=self.encoded,
            gaze_samples=self.samples,
            decodes=self.decodes,
            results=dict(self._results),
            looks=dict(self._looks),
            dropped={**self._dropped, **gaze_drops, **sources.dropped},
            errors=dict(self._errors),
            unread_results=unread,
            reconnects=sources.reconnects,
            last_failure=sources.last_failure,
            latency_ms=summarize({stage: list(values) for stage, values in list(self._took.items())}),
        )


def _count(counter: Counter[str], reason: str, count: int = 1) -> None:
    counter[reason if reason in counter or len(counter) < KINDS else "other"] += count
