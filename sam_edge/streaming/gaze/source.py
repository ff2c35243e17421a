"""Where gaze comes from: recordings, found by their header line, and trackers that run now, found by scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.openers import find_opener


class OpenGaze(Protocol):
    """Reads a recording."""

    def __call__(self, name: str, *, repair: bool = False) -> Sequence[GazeSample]:
        """All samples, at least one, in the order of time, with the times of the recording.

        Args:
            name: what the user gave.
            repair: take what can be understood instead of refusing a recording with faults.

        Raises:
            InputError: it cannot be read.
        """
        ...


class LiveGaze(Protocol):
    """An eye tracker that runs now. One thread iterates; any other thread may close it."""

    @property
    def name(self) -> str:
        """What errors and counters call it."""
        ...

    @property
    def dropped(self) -> Mapping[str, int]:
        """Why -> how many messages were thrown away so far, such as {"malformed": 2}."""
        ...

    def __iter__(self) -> Iterator[GazeSample]:
        """Samples as they arrive, `receive_ns` set, until `close`.

        Waits for the next one, connects again with growing pauses when the tracker is gone, and raises nothing
        for what comes over the network: what cannot be understood is counted in `dropped`.
        """
        ...

    def close(self) -> None:
        """End the iteration, also while it waits, and give sockets back; closing again does nothing."""
        ...


class OpenLiveGaze(Protocol):
    """Opens an eye tracker."""

    def __call__(self, name: str) -> LiveGaze:
        """Open what the user named.

        Raises:
            InputError: the address is wrong.
            MissingExtraError: a library is needed that is not installed.
        """
        ...


# See `find_opener` for the keys. A new source is a new file and a line here.
GAZE_SOURCES: Mapping[str, str] = {
    ".mcap": "sam_edge.streaming.gaze.recordings.mcap:read_mcap_gaze",
    "": "sam_edge.streaming.gaze.recordings.formats:open_recording",
}
LIVE_GAZE_SOURCES: Mapping[str, str] = {
    "udp:": "sam_edge.streaming.gaze.live.udp:open_udp",
    "lsl:": "sam_edge.streaming.gaze.live.lsl:open_lsl",
    "neon:": "sam_edge.streaming.gaze.live.neon:open_neon",
    "core:": "sam_edge.streaming.gaze.live.core:open_core",
    "zenoh:": "sam_edge.streaming.gaze.live.zenoh:open_zenoh_gaze",
    "mouse": "sam_edge.streaming.gaze.live.mouse:open_mouse",
    "mouse:": "sam_edge.streaming.gaze.live.mouse:open_mouse",
}


def open_gaze(name: str, *, repair: bool = False) -> Sequence[GazeSample]:
    """Read a gaze recording by its name; see `OpenGaze`.

    Raises:
        InputError: no source opens such a name, or the recording cannot be read.
    """
    opener: OpenGaze | None = find_opener(name, GAZE_SOURCES)
    if opener is None:
        raise InputError(f"cannot tell how to read gaze from {name}", hint="give a CSV file")
    return opener(name, repair=repair)


def open_live_gaze(name: str) -> LiveGaze | None:
    """Open an eye tracker by its address; None where the name is not such an address.

    Raises:
        InputError: the address is wrong; it says which there are.
        MissingExtraError: a library is needed that is not installed.
    """
    opener: OpenLiveGaze | None = find_opener(name, LIVE_GAZE_SOURCES)
    if opener is not None:
        return opener(name)
    scheme, colon, _ = name.partition("://")
    if colon and scheme.isidentifier():
        known = ", ".join(sorted(LIVE_GAZE_SOURCES))
        raise InputError(f"{scheme}:// is not a gaze source", hint=f"give a recording, or one of {known}")
    return None
