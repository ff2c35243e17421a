"""Where gaze comes in: onto this machine's clock, and through the filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sam_edge.streaming.clocks import DelayOffset
from sam_edge.streaming.gaze.filters.chain import Filtered, GazeState, step
from sam_edge.streaming.gaze.filters.config import GazeFilterConfig
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.live.report import Counts


class GazeEntry:
    """The filters and the offset of one gaze source. One thread at a time.

    Args:
        config: of the filters.
        counts: where samples are counted.
    """

    def __init__(self, config: GazeFilterConfig, counts: Counts) -> None:
        self._config, self._counts = config, counts
        self._state = GazeState()
        self._offset = DelayOffset()

    @property
    def drops(self) -> Mapping[str, int]:
        """Why -> how many samples were not used."""
        return {f"gaze {reason}": count for reason, count in self._state.drops.items() if count}

    def take(
        self, sample: GazeSample, now_ns: int, frame_wh: tuple[int, int], flow_px_s: tuple[float, float]
    ) -> Filtered | None:
        """What a sample means; None if it says nothing new (it came late, or again).

        Args:
            sample: in the order of arrival.
            now_ns: when it arrived, unless it says so itself.
            frame_wh: width and height of the newest frame in pixels.
            flow_px_s: how fast the background moves over the frame, in pixels a second.
        """
        before = self._state.drops
        self._state, look = step(
            self._state, self._on_our_clock(sample, now_ns), frame_wh, self._config, flow_px_s=flow_px_s
        )
        self._counts.look(look)
        after = self._state.drops
        says_nothing = after["late"] > before["late"] or after["repeated"] > before["repeated"]
        return None if says_nothing else look

    def _on_our_clock(self, sample: GazeSample, now_ns: int) -> GazeSample:
        receive_ns = sample.receive_ns or now_ns
        if sample.clock != "source":
            return replace(sample, receive_ns=receive_ns)
        self._offset = self._offset.after(sample.t_ns, receive_ns)
        offset_ns = self._offset.offset_ns or 0
        t_ns = sample.t_ns + offset_ns
        return replace(sample, t_ns=t_ns, clock="host", offset_ns=offset_ns, receive_ns=receive_ns)


def is_looking(look: Filtered) -> bool:
    """Whether an eye looks into the frame, or did a blink ago."""
    return look.phase not in ("outside", "no_gaze")
