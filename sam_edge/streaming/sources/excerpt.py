"""A part of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import Frame, FrameSource


class Excerpt:
    """The frames of a source from one time to another. Frames before it are read and left out."""

    def __init__(self, source: FrameSource, start_s: float | None = None, seconds: float | None = None) -> None:
        """Choose frames.

        Args:
            source: closed with this one.
            start_s: seconds on the clock of the source, before which frames are left out; None: from the first.
            seconds: how much to take from there; None: all.

        Raises:
            InputError: the source is known to end before `start_s`.
        """
        info = source.info
        self._source = source
        self._start_ns = info.start_ns if start_s is None else max(info.start_ns, round(start_s * 1e9))
        self._end_ns = None if seconds is None else self._start_ns + round(seconds * 1e9)
        self._lost_before = 0
        if info.end_ns is not None and self._start_ns >= info.end_ns:
            raise self._beyond()
        ends = [end_ns for end_ns in (info.end_ns, self._end_ns) if end_ns is not None]
        length = max(1, round((min(ends) - self._start_ns) / 1e9 * info.fps)) if ends else None
        self.info = replace(info, start_ns=self._start_ns, length=length)

    @property
    def lost_frames(self) -> int:
        """How many frames of this part could not be read so far."""
        return self._source.lost_frames - self._lost_before

    def __iter__(self) -> Iterator[Frame]:
        any_frame = False
        for frame in self._source:
            if self._end_ns is not None and frame.capture_ns >= self._end_ns:
                break
            if frame.capture_ns >= self._start_ns:
                if not any_frame:
                    self._lost_before = self._source.lost_frames
                any_frame = True
                yield frame
        if not any_frame:
            raise self._beyond()

    def close(self) -> None:
        self._source.close()

    def _beyond(self) -> InputError:
        end = "on" if self._end_ns is None else f"to {self._end_ns / 1e9:.3f} s"
        return InputError(
            f"the video has no frame from {self._start_ns / 1e9:.3f} s {end}",
            hint="give another --start or --seconds",
        )
