"""Boxes and points of an object tracker elsewhere, from PREFIX/prompt into a stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from threading import Lock

from sam_edge.streaming.gaze.live.tracker import RejectedError
from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.zenoh.address import parse_zenoh
from sam_edge.streaming.zenoh.messages import MAX_PROMPT, parse_prompt, unix_offset_ns
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session


class ZenohPrompts:
    """Pushes what comes to `zenoh:PREFIX[?...]` into a stream, until either is closed. The newest boxes count;
    what cannot be understood is counted.

    Args:
        name: the address.
        stream: where boxes go.

    Raises:
        InputError: the address is wrong, or cannot be used now.
        MissingExtraError: eclipse-zenoh is not installed.
    """

    def __init__(self, name: str, stream: Stream) -> None:
        address, _ = parse_zenoh(name)
        self._stream = stream
        self._lock = Lock()
        self._dropped: dict[str, int] = {}
        with ExitStack() as opened:
            session = opened.enter_context(zenoh_session(address))
            opened.enter_context(
                subscribed(session, address.key("prompt"), self._receive, self._oversized, MAX_PROMPT)
            )
            self._opened = opened.pop_all()
        stream.on_close(self.close)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Why -> how many messages were thrown away so far."""
        with self._lock:
            return dict(self._dropped)

    def close(self) -> None:
        """Take no more; closing again does nothing."""
        self._opened.close()

    def _receive(self, payload: bytes, _: bytes | None, receive_ns: int) -> None:
        try:
            boxes = parse_prompt(payload, receive_ns, unix_offset_ns())
        except RejectedError as error:
            self._drop(str(error))
            return
        self._stream.push_boxes(boxes)

    def _oversized(self) -> None:
        self._drop("malformed")

    def _drop(self, reason: str) -> None:
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + 1
