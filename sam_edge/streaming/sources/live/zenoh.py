"""Frames over Zenoh: `zenoh:PREFIX[?clock=unix&connect=...]`, JPEGs of docs/zenoh.md at PREFIX/frame."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from sam_edge.errors import InputError
from sam_edge.imaging.image import decode_image
from sam_edge.lazy import named_extras
from sam_edge.streaming.gaze.live.tracker import RejectedError
from sam_edge.streaming.slot import Slot
from sam_edge.streaming.sources.live.camera import CameraSource, Picture
from sam_edge.streaming.sources.live.reconnect import Pauses, Reconnecting
from sam_edge.streaming.zenoh.address import Clock, ZenohAddress, parse_zenoh, read_clock
from sam_edge.streaming.zenoh.messages import MAX_FRAME, parse_frame_header, unix_offset_ns
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session

READ_TIMEOUT_S = 5.0
PAUSES = Pauses(first_s=0.25, longest_s=1.0)
"""To subscribe again costs little, and the session finds its peers by itself."""


@dataclass(frozen=True)
class Message:
    """A frame as it came."""

    jpeg: bytes
    header: bytes | None
    receive_ns: int


class ZenohCamera:
    """A subscription to frames; see `Camera`. Of what comes, the newest waits."""

    fps = 0.0
    notes: tuple[str, ...] = ()

    def __init__(self, address: ZenohAddress, name: str, clock: Clock) -> None:
        """Subscribe.

        Raises:
            InputError: the address cannot be used now.
        """
        self.name = name
        self.on_host_clock = clock == "unix"
        self._undecoded = self._too_large = 0
        self._slot: Slot[Message] = Slot()
        with ExitStack() as opened:
            session = opened.enter_context(zenoh_session(address))
            opened.enter_context(
                subscribed(session, address.key("frame"), self._receive, self._oversized, MAX_FRAME)
            )
            self._opened = opened.pop_all()

    @property
    def lost_frames(self) -> int:
        return self._undecoded + self._too_large

    def read(self) -> Picture | None:
        while (message := self._slot.take(READ_TIMEOUT_S)) is not None:
            try:
                return self._picture(message)
            except (InputError, RejectedError):
                self._undecoded += 1
        return None

    def close(self) -> None:
        self._slot.close()
        self._opened.close()

    def _picture(self, message: Message) -> Picture:
        stamp = None if message.header is None else parse_frame_header(message.header).stamp
        source_ns = None
        if stamp is not None:
            source_ns = stamp.here_ns(unix_offset_ns()) if self.on_host_clock else stamp.own_ns
        return Picture(decode_image(message.jpeg, f"a frame of {self.name}"), message.receive_ns, source_ns)

    def _receive(self, payload: bytes, attachment: bytes | None, receive_ns: int) -> None:
        self._slot.put(Message(payload, attachment, receive_ns))

    def _oversized(self) -> None:
        self._too_large += 1


def open_zenoh_frames(name: str, *, rate_hz: float | None = None) -> Reconnecting:
    """The frames of a device, whenever it sends some.

    Raises:
        InputError: the address is wrong, or nothing comes.
        MissingExtraError: eclipse-zenoh is not installed.
    """
    if rate_hz is not None:
        raise InputError(f"{name} has a rate of its own", hint="leave --rate out")
    address, options = parse_zenoh(name, ("clock",))
    clock = read_clock(options, name)
    with named_extras("zenoh"):
        import zenoh  # noqa: F401
    return Reconnecting(name, lambda: CameraSource(ZenohCamera(address, name, clock)), pauses=PAUSES)
