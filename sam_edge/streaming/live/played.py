"""What the sources of a stream say of themselves: what was lost before it reached the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sam_edge.streaming.gaze.source import LiveGaze
from sam_edge.streaming.sources.source import FrameSource


@dataclass(frozen=True)
class Played:
    """Of all sources together."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Why -> how many frames or messages never came to the stream."""
    reconnects: int = 0
    """How often a source was opened again."""
    last_failure: str | None = None
    """Why a source was lost, the last time."""


def played(sources: Sequence[FrameSource | LiveGaze]) -> Played:
    """What sources say of themselves so far. What a source does not tell is not counted."""
    dropped: Counter[str] = Counter()
    reconnects, last_failure = 0, None
    for source in sources:
        dropped.update(
            {f"messages {reason}": count for reason, count in getattr(source, "dropped", {}).items()}
        )
        for name, words in (
            ("skipped_frames", "frames that came too late or too fast"),
            ("lost_frames", "frames that could not be read"),
        ):
            if count := getattr(source, name, 0):
                dropped[words] += count
        reconnects += getattr(source, "reconnects", 0)
        failures = getattr(source, "failures", ())
        last_failure = failures[-1].why if failures else last_failure
    return Played(dict(dropped), reconnects, last_failure)
