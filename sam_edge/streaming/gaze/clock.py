"""From the times of a gaze recording to the times of the frames.

    time on the frames' clock = time in the file * unit + offset

The frames' clock is that of the video file: its zero is the file's, so the first frame may stand later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.sample import GazeClock, GazeSample
from sam_edge.streaming.sources.source import SourceInfo

TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS: Mapping[TimeUnit, tuple[str, int]] = {
    "s": ("seconds", 1),
    "ms": ("milliseconds", 1_000),
    "us": ("microseconds", 1_000_000),
    "ns": ("nanoseconds", 1_000_000_000),
}
"""Unit -> its name, and how many make a second."""
MAX_RATE_HZ = 5_000.0
"""The fastest eye trackers give 2,000 samples a second."""


@dataclass(frozen=True)
class ClockMapping:
    """How times of a recording become times on the frames' clock."""

    clock: GazeClock
    offset_ns: int
    """Added to a time of the recording, the user's own offset included."""
    unit: TimeUnit
    """Unit of `t_s` in the file; anything but "s" was asked for."""
    reason: str
    """Why this clock, as a clause."""

    def __str__(self) -> str:
        """Such as "gaze clock: video, as the first gaze time is negative (-1.500 s); offset +0.000 s"."""
        return f"gaze clock: {self.clock}, {self.reason}; offset {self.offset_ns / 1e9:+.3f} s"


def choose_clock(
    samples: Sequence[GazeSample],
    info: SourceInfo,
    *,
    clock: GazeClock | None = None,
    offset_s: float = 0.0,
    unit: TimeUnit | None = None,
) -> ClockMapping:
    """Decide how the times of `samples`, as `open_gaze` reads them, become times of the frames.

    Args:
        samples: at least one, in the order of time.
        info: the video.
        clock: what the times of the file count from; None: `first-frame` where the recording knows when that
            frame was taken; `video` where the first time is negative or before the video's end; else
            `first-sample`.
        offset_s: seconds to add besides; positive where the gaze was stamped too early.
        unit: what `t_s` counts; None: seconds, if that fits the video's length best.

    Raises:
        InputError: the offset is not finite, the times are not in seconds, the clock cannot be told, or the
            video does not say when it was taken.
    """
    if not math.isfinite(offset_s):
        raise InputError(f"the gaze offset is {offset_s}", hint="give a finite number of seconds")
    first = samples[0]
    unit = unit or ("s" if first.clock == "first-frame" else _seconds(samples, info))
    first_ns = _scaled(first.t_ns - first.offset_ns, unit)
    if clock is not None:
        reason = "as asked"
    elif first.clock == "first-frame":
        clock, reason = "first-frame", "as the recording says when the video's first frame was taken"
    else:
        clock, reason = _guess(first_ns, info)
    offset_ns = round(offset_s * 1e9)
    if clock == "first-sample":
        offset_ns += info.start_ns - first_ns
    elif clock == "first-frame":
        offset_ns += info.start_ns + first.offset_ns
    elif clock == "unix":
        if info.unix_ns is None:
            raise InputError(
                "the video does not say when it was taken",
                hint="give --gaze-clock video and as --gaze-offset minus the Unix time of its first frame",
            )
        offset_ns -= info.unix_ns
    return ClockMapping(clock, offset_ns, unit, reason)


def to_frame_clock(samples: Sequence[GazeSample], mapping: ClockMapping) -> list[GazeSample]:
    """The samples, as `open_gaze` reads them, with times on the frames' clock."""
    return [
        replace(
            sample,
            t_ns=_scaled(sample.t_ns - sample.offset_ns, mapping.unit) + mapping.offset_ns,
            clock=mapping.clock,
            offset_ns=mapping.offset_ns,
        )
        for sample in samples
    ]


def check_overlap(samples: Sequence[GazeSample], info: SourceInfo) -> None:
    """Raise InputError if no sample (on the frames' clock) can meet a frame."""
    start_ns = info.start_ns
    end_ns = math.inf if info.end_ns is None else info.end_ns
    if any(start_ns <= sample.t_ns < end_ns for sample in samples):
        return
    gaze = f"{samples[0].t_ns / 1e9:.3f} to {samples[-1].t_ns / 1e9:.3f} s"
    video = f"{start_ns / 1e9:.3f} to {end_ns / 1e9:.3f} s"
    raise InputError(
        f"no gaze sample falls into the video: on its clock the gaze is from {gaze}, the video from {video}",
        hint="give --gaze-clock or --gaze-offset",
    )


def _guess(first_ns: int, info: SourceInfo) -> tuple[GazeClock, str]:
    first = f"{first_ns / 1e9:.3f} s"
    if first_ns < 0:
        return "video", f"as the first gaze time is negative ({first})"
    if info.end_ns is None:
        if first_ns == 0:
            return "video", "as the first gaze time is 0"
        raise InputError(
            f"the first gaze time is {first} and the length of the video is not known",
            hint="give --gaze-clock video if that is a time of the video, else first-sample",
        )
    end = f"{info.end_ns / 1e9:.3f} s"
    if first_ns < info.end_ns:
        return "video", f"as the first gaze time ({first}) is before the video's end ({end})"
    return "first-sample", f"as the first gaze time ({first}) is after the video's end ({end})"


def _seconds(samples: Sequence[GazeSample], info: SourceInfo) -> TimeUnit:
    """Seconds, or InputError if another unit brings the recording's length nearer to the video's.

    The step between samples alone says nothing: 1,000 Hz in whole milliseconds and 1 Hz in seconds look alike.
    Nor does the length alone, as a recording may be much longer than the video; but no tracker is faster than
    MAX_RATE_HZ.
    """
    span_s = (samples[-1].t_ns - samples[0].t_ns) / 1e9
    if info.end_ns is None or not span_s > 0:
        return "s"
    video_s = max((info.end_ns - info.start_ns) / 1e9, 1e-3)
    rate_hz = (len(samples) - 1) / span_s
    possible = [unit for unit, (_, per_s) in UNITS.items() if unit == "s" or rate_hz * per_s <= MAX_RATE_HZ]
    best = min(possible, key=lambda unit: abs(math.log(span_s / UNITS[unit][1] / video_s)))
    if best != "s":
        name, per_s = UNITS[best]
        raise InputError(
            f"the gaze times look like {name}: as seconds they last {span_s:.6g} s, the video {video_s:.6g} s",
            hint=f"divide t_s by {per_s:,}, or give --gaze-unit {best} (or s, if they are seconds)",
        )
    return "s"


def _scaled(t_ns: int, unit: TimeUnit) -> int:
    # Whole numbers: Unix times in nanoseconds are beyond the precision of a float.
    per_s = UNITS[unit][1]
    return (t_ns + per_s // 2) // per_s
